"""What goes wrong in a simulation, and how often."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from tuner.errors import ArgumentError


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """What goes wrong with simulated workers. Nothing does unless it is said here.

    Parameters
    ----------
    crash
        Probability that the worker dies while its trial works on a step.
    freeze
        Probability that it hangs at a step, until it is ended because of `trial_timeout`.
    lost
        Probability that a trial ends but its outcome does not arrive, as when a machine leaves the
        network just then; then the worker counts as lost.
    delay
        Mean seconds that a message is on its way, drawn from an exponential distribution. Those of
        one trial keep their order, those of different trials do not.
    duplicate
        Probability that the end of a trial is heard of once more later on.
    restart
        Seconds until another worker stands in for one that died.

    Examples
    --------
    >>> Faults(crash=0.01, delay=2.0)
    Faults(crash=0.01, freeze=0.0, lost=0.0, delay=2.0, duplicate=0.0, restart=0.0)
    """

    crash: float = 0.0
    freeze: float = 0.0
    lost: float = 0.0
    delay: float = 0.0
    duplicate: float = 0.0
    restart: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            highest = math.inf if field.name in ("delay", "restart") else 1.0
            if not 0 <= value <= highest or math.isinf(value):
                what = "seconds from 0 up" if highest > 1 else "a probability from 0 to 1"
                raise ArgumentError(f"Faults({field.name}={value!r}): write {what}")
