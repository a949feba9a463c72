"""Log expected improvement, and where it is largest in a mixed, conditional space.

The logarithm of expected improvement (Ament et al. 2023, "Unexpected Improvements to Expected
Improvement", arXiv:2310.20708) has its maximum where expected improvement has it, but neither
underflows nor loses its gradient far from it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import erfcx, log_ndtr, ndtr

from tuner.optimizers.ascent import ascend
from tuner.optimizers.embedding import Bools, Floats
from tuner.optimizers.gaussian_process import GaussianProcess

Snap: TypeAlias = Callable[[Floats], tuple[Floats, Bools, Bools]]
"""Moves rows of the unit cube to the nearest points of the space: (X, active, feasible)."""

SMOOTH_FROM = 8
"""An ordered column with more values than this is searched as if it were continuous."""

WORTHWHILE = 1e-3
"""A climb that gains less than this of the logarithm is over."""

_HALF_LOG_2PI = 0.5 * math.log(2.0 * math.pi)
_HALF_LOG_PI_2 = 0.5 * math.log(0.5 * math.pi)


@dataclass(frozen=True, slots=True)
class Columns:
    """How the search may move in each column of the unit cube.

    `levels` has for each column the places of its values, rising, or None if it is continuous or
    has too many to list; `categorical` (d,) tells the columns whose values have no order.
    """

    levels: tuple[Floats | None, ...]
    categorical: Bools

    @property
    def smooth(self) -> Bools:
        """Columns, shape (d,), with order and enough values to follow a gradient and round."""
        many = np.array([v is None or len(v) > SMOOTH_FROM for v in self.levels], dtype=bool)
        return np.asarray(many & ~self.categorical)


@dataclass(frozen=True, slots=True)
class Candidates:
    """Points of the space, best first: `X` (m, d), `active` (m, d), `scores` (m,)."""

    X: Floats
    active: Bools
    scores: Floats

    def take(self, rows: Sequence[int] | NDArray[np.intp]) -> Candidates:
        """Return those at `rows`, in that order."""
        at = np.asarray(rows, dtype=np.intp)
        return Candidates(self.X[at], self.active[at], self.scores[at])


def log_h(z: Floats) -> Floats:
    """Return ``log(phi(z) + z Phi(z))`` for z from -1e300 to 1e300 (Ament et al. 2023, eq. 9).

    Examples
    --------
    >>> log_h(np.array([0.0, -40.0])).round(4).tolist()
    [-0.9189, -808.2986]
    """
    z = np.asarray(z, dtype=float)
    result = np.empty_like(z)
    near, far = z > -1.0, z < -1e5
    middle = ~near & ~far

    x = z[near]
    density = np.exp(-0.5 * np.minimum(x, 40.0) ** 2 - _HALF_LOG_2PI)  # 0 from about 38
    result[near] = np.log(density + x * ndtr(x))
    x = z[middle]
    ratio = np.log(erfcx(-x / math.sqrt(2.0)) * np.abs(x)) + _HALF_LOG_PI_2
    result[middle] = -0.5 * x * x - _HALF_LOG_2PI + np.log(-np.expm1(ratio))
    x = z[far]
    result[far] = -0.5 * np.minimum(np.abs(x), 1e150) ** 2 - _HALF_LOG_2PI - 2.0 * np.log(-x)
    return result


class Acquisition(Protocol):
    """What is maximised over the space: larger is better."""

    def __call__(self, X: Floats, active: Bools) -> Floats:
        """Return the values at `X` (m, d), shape (m,)."""

    def with_gradient(self, X: Floats, active: Bools) -> tuple[Floats, Floats]:
        """Return the values, shape (m,), and their gradients, shape (m, d), at `X` (m, d)."""


@dataclass(frozen=True, slots=True)
class Success:
    """The probability that a trial at a point succeeds: that `model` exceeds `threshold`."""

    model: GaussianProcess
    threshold: float

    def log_probability(self, X: Floats, active: Bools) -> Floats:
        """Return the log probability at `X` (m, d), shape (m,)."""
        mean, variance = self.model.predict(X, active)
        return np.asarray(log_ndtr((mean - self.threshold) / np.sqrt(variance + self._noise)))

    def with_gradient(self, X: Floats, active: Bools) -> tuple[Floats, Floats]:
        """Return the log probability, shape (m,), and its gradient, shape (m, d), at `X`."""
        mean, variance, mean_gradient, variance_gradient = self.model.predict_with_gradient(
            X, active
        )
        deviation = np.sqrt(variance + self._noise)
        z = (mean - self.threshold) / deviation
        value = log_ndtr(z)
        slope = np.exp(np.minimum(-0.5 * z * z - _HALF_LOG_2PI - value, 700.0))  # phi(z) / Phi(z)
        gradient = mean_gradient - (z / (2.0 * deviation))[:, None] * variance_gradient
        return value, (slope / deviation)[:, None] * gradient

    @property
    def _noise(self) -> float:
        return self.model.hyperparameters.noise


@dataclass(frozen=True, slots=True)
class LogExpectedImprovement:
    """The log of the expected improvement of `model` below `incumbent`.

    With `success`, of the improvement times the probability of success (Schonlau et al. 1998,
    "Global versus local search in constrained optimization of computer models", section 4).
    """

    model: GaussianProcess
    incumbent: float
    success: Success | None = None

    def __call__(self, X: Floats, active: Bools) -> Floats:
        """Return the values at `X` (m, d), shape (m,)."""
        mean, variance = self.model.predict(X, active)
        deviation = np.sqrt(variance)
        values = log_h((self.incumbent - mean) / deviation) + np.log(deviation)
        return values + self.success.log_probability(X, active) if self.success else values

    def with_gradient(self, X: Floats, active: Bools) -> tuple[Floats, Floats]:
        """Return the values, shape (m,), and their gradients, shape (m, d), at `X` (m, d)."""
        mean, variance, mean_gradient, variance_gradient = self.model.predict_with_gradient(
            X, active
        )
        deviation = np.sqrt(variance)
        z = (self.incumbent - mean) / deviation
        log_value = log_h(z)
        # d log h / dz = Phi(z) / h(z); with dz = -(d mean + z d deviation) / deviation
        slope = np.exp(np.minimum(log_ndtr(z) - log_value, 700.0))
        by_variance = (1.0 - slope * z) / (2.0 * variance)
        gradient = -(slope / deviation)[:, None] * mean_gradient
        gradient += by_variance[:, None] * variance_gradient
        value = log_value + np.log(deviation)
        if self.success is None:
            return value, gradient
        probability, probability_gradient = self.success.with_gradient(X, active)
        return value + probability, gradient + probability_gradient


def maximise(
    acquisition: Acquisition,
    columns: Columns,
    snap: Snap,
    starts: Floats,
    *,
    refined: int = 6,
    rounds: int = 3,
) -> Candidates:
    """Return points of the space in falling order of `acquisition`.

    All `starts` are scored; the best few of them climb abreast by the gradient in their smooth
    columns and by single moves in the others.

    Parameters
    ----------
    starts
        Rows of the unit cube to begin from, shape (m, d).
    refined
        How many of them climb.
    rounds
        How often each climbs.
    """
    pool = _score(acquisition, snap, starts)
    points = _spread(pool, refined)
    found = [pool]
    for _ in range(rounds):
        if not len(points.X):
            break
        moves = [neighbours(x, columns) for x in points.X]
        climbs = np.repeat(np.arange(len(points.X)), [len(rows) for rows in moves])
        proposals = np.concatenate([_climb(acquisition, columns, points), *moves])
        climbs = np.concatenate([np.arange(len(points.X)), climbs])
        X, active, feasible = snap(proposals)
        X, active, climbs = X[feasible], active[feasible], climbs[feasible]
        tried = Candidates(X, active, acquisition(X, active))
        found.append(tried)
        points = _risen(points, tried, climbs)
    return _merge(found)


def neighbours(x: Floats, columns: Columns) -> Floats:
    """Return the points one move from `x` (d,) in one discrete column, shape (m, d).

    Every other option of a categorical column, one and two values up and down in an ordered one.
    """
    moves: list[Floats] = []
    for j, levels in enumerate(columns.levels):
        if levels is None:
            continue
        here = int(np.argmin(np.abs(levels - x[j])))
        reach = len(levels) if columns.categorical[j] else 2
        targets = levels[max(here - reach, 0) : here + reach + 1]
        only = np.arange(len(x)) == j
        moves += [np.where(only, level, x) for level in targets if level != levels[here]]
    return np.array(moves).reshape(-1, len(x))


def _score(acquisition: Acquisition, snap: Snap, rows: Floats) -> Candidates:
    """Return the feasible points nearest to `rows`, without repeats, best first."""
    X, active, feasible = snap(rows)
    X, active = X[feasible], active[feasible]
    _, unique = np.unique(X, axis=0, return_index=True)
    unique.sort()
    X, active = X[unique], active[unique]
    scores = acquisition(X, active)
    order = np.argsort(-scores, kind="stable")
    return Candidates(X[order], active[order], scores[order])


def _spread(pool: Candidates, n: int) -> Candidates:
    """Return the `n` best points that are not all in one place."""
    chosen: list[int] = []
    for i in range(min(len(pool.X), 200)):
        if not chosen or np.abs(pool.X[chosen] - pool.X[i]).max(axis=1).min() > 0.05:
            chosen.append(i)
        if len(chosen) == n:
            break
    return pool.take(chosen)


def _climb(acquisition: Acquisition, columns: Columns, points: Candidates) -> Floats:
    """Return where each point ends that climbs in its smooth active columns, shape (m, d)."""
    free = columns.smooth & points.active
    if not free.any():
        return points.X
    return ascend(
        lambda rows, X: acquisition.with_gradient(X, points.active[rows]),
        points.X,
        free,
        tolerance=WORTHWHILE,
    )


def _risen(points: Candidates, tried: Candidates, climbs: NDArray[np.intp]) -> Candidates:
    """Return the best that each climb tried, of those climbs that rose."""
    order = np.lexsort((-tried.scores, climbs))
    _, first = np.unique(climbs[order], return_index=True)
    best = order[first]
    return tried.take(best[tried.scores[best] > points.scores[climbs[best]] + WORTHWHILE])


def _merge(parts: Sequence[Candidates]) -> Candidates:
    """Return all candidates in one falling order."""
    scores = np.concatenate([part.scores for part in parts])
    order = np.argsort(-scores, kind="stable")
    return Candidates(
        np.concatenate([part.X for part in parts])[order],
        np.concatenate([part.active for part in parts])[order],
        scores[order],
    )
