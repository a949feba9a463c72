"""Faults of a simulation and their probabilities."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from tuner.errors import ArgumentError


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """Faults of simulated workers. All faults are off by default.

    Parameters
    ----------
    crash
        Probability that the worker dies while its trial works on a step.
    freeze
        Probability that it hangs at a step, until `trial_timeout` ends it.
    lost
        Probability that a trial ends but its outcome does not arrive, as when a machine leaves the
        network at that moment; then the worker counts as lost.
    delay
        Mean delay of a message in seconds, drawn from an exponential distribution. Messages of one
        trial keep their order, messages of different trials do not.
    duplicate
        Probability that the end of a trial is reported again later.
    restart
        Seconds until a dead worker is replaced.

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
