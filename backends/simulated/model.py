"""The model of a simulation: virtual time, the durations of trials, and the faults of workers."""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import TypeAlias

from numpy.random import Generator

from tuner.errors import ArgumentError
from tuner.records import Trial

EPOCH = 946_684_800.0
"""When virtual time begins: the year 2000, in seconds since the epoch."""


class VirtualClock:
    """Seconds since the epoch, advanced explicitly; several backends may share one clock.

    Examples
    --------
    >>> clock = VirtualClock()
    >>> began = clock()
    >>> clock.advance_to(began + 3600)
    >>> clock() - began
    3600.0
    """

    __slots__ = ("_now",)

    def __init__(self, now: float = EPOCH) -> None:
        self._now = now

    def __call__(self) -> float:
        """Return the current virtual time."""
        return self._now

    def now(self) -> float:
        """Return the wall-clock time; virtual time is never adjusted."""
        return self._now

    def elapsed(self) -> float:
        """Return the monotonic time, which equals the wall-clock time."""
        return self._now

    def advance_to(self, time: float) -> None:
        """Advance to `time`, unless the clock is already later."""
        self._now = max(self._now, time)


class EventQueue:
    """A queue of actions ordered by time, then by insertion.

    An action with ``after`` runs after all other actions of the same time.
    """

    __slots__ = ("_entries", "_order")

    def __init__(self) -> None:
        self._entries: list[tuple[float, bool, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def __len__(self) -> int:
        return len(self._entries)

    def put(self, time: float, action: Callable[[], None], *, after: bool = False) -> None:
        """Schedule `action` at `time`."""
        heapq.heappush(self._entries, (time, after, next(self._order), action))

    @property
    def next_time(self) -> float:
        """Return the time of the next action; the queue must not be empty."""
        return self._entries[0][0]

    @property
    def next_is_after(self) -> bool:
        """Whether the next action was put with ``after``; the queue must not be empty."""
        return self._entries[0][1]

    def take(self) -> Callable[[], None]:
        """Remove and return the next action."""
        return heapq.heappop(self._entries)[-1]


# --- durations -----------------------------------------------------------------------------------

Duration: TypeAlias = Callable[[Trial, int, Generator], float]
"""A function of a trial, a step and the trial's generator that returns the step's seconds."""


def lognormal(median: float, sigma: float = 1.0) -> Duration:
    """Return durations drawn from a log-normal distribution, independently for each step.

    Parameters
    ----------
    median
        Median in seconds, above 0.
    sigma
        Standard deviation of the logarithm: at 1, one in six takes over 2.7 times the median.

    Examples
    --------
    >>> import numpy as np
    >>> from tuner.records import Trial
    >>> duration = lognormal(60.0, sigma=0.5)
    >>> 20 < duration(Trial(0, {}), 0, np.random.default_rng(0)) < 200
    True
    """
    if not (0 < median < math.inf and 0 <= sigma < math.inf):
        raise ArgumentError(
            f"lognormal({median!r}, {sigma!r}): write a median above 0 and a sigma from 0 up"
        )
    mean = math.log(median)
    return lambda _trial, _step, rng: float(rng.lognormal(mean, sigma))


def as_duration(duration: float | Duration) -> Duration:
    """Return `duration` as a function; a number is the duration of every step in seconds.

    Raises
    ------
    ArgumentError
        If it is neither; also raised by the returned function if its result is not a number.
    """
    if not callable(duration):
        seconds = _checked(duration)
        return lambda _trial, _step, _rng: seconds
    return lambda trial, step, rng: _checked(duration(trial, step, rng))


def _checked(seconds: float) -> float:
    if not isinstance(seconds, int | float) or not 0 <= seconds < math.inf:
        raise ArgumentError(
            f"SimulatedBackend: a duration is {seconds!r}; write a number of seconds from 0 up, or "
            f"a function of trial, step, rng that returns one"
        )
    return float(seconds)


# --- faults --------------------------------------------------------------------------------------


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
