"""Durations of simulated trials, in virtual seconds."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

from numpy.random import Generator

from tuner.errors import ArgumentError
from tuner.records import Trial

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
