"""Maximize an acquisition function in a mixed, conditional space."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tuner.optimizers.bayesian.embedding import Bools, Floats
from tuner.optimizers.bayesian.maximize import ascend
from tuner.optimizers.bayesian.rounding import to_bits, to_grid

Snap: TypeAlias = Callable[[Floats], tuple[Floats, Bools, Bools]]
"""Snaps rows of the unit cube to the nearest points of the space: (X, active, feasible)."""

SMOOTH_FROM = 8
"""Number of values above which an ordered column is searched as continuous."""

WORTHWHILE = 1e-2
"""Minimum gain in log acquisition; an ascent with a smaller gain ends."""


SCORE_BITS, SLOPE_BITS, PLACE_BITS = 16, 14, 20
"""Scores and end points of ascents are rounded to multiples of 2**-bits, gradients to this number
of significant bits; see `tuner.optimizers.bayesian.rounding`. Equal scores keep their order."""


class Acquisition(Protocol):
    """A function to maximize over the space; the built-in ones are logarithms."""

    def __call__(self, X: Floats, active: Bools) -> Floats:
        """Return the values at `X` (m, d), shape (m,)."""

    def with_gradient(self, X: Floats, active: Bools) -> tuple[Floats, Floats]:
        """Return the values, shape (m,), and their gradients, shape (m, d), at `X` (m, d)."""


@dataclass(frozen=True, slots=True)
class Product:
    """The product of acquisition functions, as the sum of their logarithms."""

    factors: Sequence[Acquisition]

    def __call__(self, X: Floats, active: Bools) -> Floats:
        """Return the values at `X` (m, d), shape (m,)."""
        return np.asarray(np.sum([factor(X, active) for factor in self.factors], axis=0))

    def with_gradient(self, X: Floats, active: Bools) -> tuple[Floats, Floats]:
        """Return the values, shape (m,), and their gradients, shape (m, d), at `X` (m, d)."""
        values, gradients = zip(
            *(factor.with_gradient(X, active) for factor in self.factors), strict=True
        )
        return np.sum(values, axis=0), np.sum(gradients, axis=0)


@dataclass(frozen=True, slots=True)
class Rounded:
    """An acquisition function rounded to the digits that are equal on all CPUs."""

    exact: Acquisition

    def __call__(self, X: Floats, active: Bools) -> Floats:
        """Return the values at `X` (m, d), shape (m,)."""
        return to_grid(self.exact(X, active), SCORE_BITS)

    def with_gradient(self, X: Floats, active: Bools) -> tuple[Floats, Floats]:
        """Return the values, shape (m,), and their gradients, shape (m, d), at `X` (m, d)."""
        values, gradients = self.exact.with_gradient(X, active)
        return to_grid(values, SCORE_BITS), to_bits(gradients, SLOPE_BITS)


@dataclass(frozen=True, slots=True)
class Columns:
    """The possible moves in each column of the unit cube.

    `levels` contains the ascending positions of the values of each column; None if it is
    continuous or has too many values to list. `categorical` (d,) is the mask of unordered columns.
    """

    levels: tuple[Floats | None, ...]
    categorical: Bools

    @property
    def smooth(self) -> Bools:
        """Mask of the ordered columns with many values, searched by gradient and rounding; (d,)."""
        many = np.array([v is None or len(v) > SMOOTH_FROM for v in self.levels], dtype=bool)
        return np.asarray(many & ~self.categorical)


@dataclass(frozen=True, slots=True)
class Candidates:
    """Points of the space, best first: `X` (m, d), `active` (m, d), `scores` (m,)."""

    X: Floats
    active: Bools
    scores: Floats

    def take(self, rows: Sequence[int] | NDArray[np.intp]) -> Candidates:
        """Return the candidates at `rows`, in that order."""
        at = np.asarray(rows, dtype=np.intp)
        return Candidates(self.X[at], self.active[at], self.scores[at])


def maximise(
    acquisition: Acquisition,
    columns: Columns,
    snap: Snap,
    starts: Floats,
    *,
    refined: int = 5,
    rounds: int = 2,
) -> Candidates:
    """Return points of the space in descending order of `acquisition`.

    All `starts` are scored. The best few are then improved in one batch: by gradient ascent in
    their smooth columns, and by single moves in the other columns.

    Parameters
    ----------
    starts
        The initial rows of the unit cube, shape (m, d).
    refined
        The number of starts to improve.
    rounds
        The number of improvement rounds.
    """
    acquisition = Rounded(acquisition)
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
    """Return the points that differ from `x` (d,) by one move in a discrete column, shape (m, d).

    Moves lead to every other option of a categorical column, and one or two values up or down in an
    ordered column.
    """
    changed: list[int] = []
    targets: list[Floats] = []
    for j, levels in enumerate(columns.levels):
        if levels is None:
            continue
        here = int(np.argmin(np.abs(levels - x[j])))
        reach = len(levels) if columns.categorical[j] else 2
        low = max(here - reach, 0)
        near = np.delete(levels[low : here + reach + 1], here - low)
        changed += [j] * len(near)
        targets.append(near)
    rows = np.repeat(x[None, :], len(changed), axis=0)
    if changed:
        rows[np.arange(len(changed)), changed] = np.concatenate(targets)
    return rows


def _score(acquisition: Acquisition, snap: Snap, rows: Floats) -> Candidates:
    """Return the feasible points nearest to `rows`, best first."""
    X, active, feasible = snap(rows)
    X, active = X[feasible], active[feasible]
    scores = acquisition(X, active)
    order = np.argsort(-scores, kind="stable")
    return Candidates(X[order], active[order], scores[order])


def _spread(pool: Candidates, n: int) -> Candidates:
    """Return the `n` best points with a minimum distance from each other."""
    chosen: list[int] = []
    for i in range(min(len(pool.X), 200)):
        if not chosen or np.abs(pool.X[chosen] - pool.X[i]).max(axis=1).min() > 0.05:
            chosen.append(i)
        if len(chosen) == n:
            break
    return pool.take(chosen)


def _climb(acquisition: Acquisition, columns: Columns, points: Candidates) -> Floats:
    """Return the end points of ascents in the smooth active columns, shape (m, d)."""
    free = columns.smooth & points.active
    if not free.any():
        return points.X
    ends = ascend(
        lambda rows, X: acquisition.with_gradient(X, points.active[rows]),
        points.X,
        free,
        tolerance=WORTHWHILE,
    )
    return np.where(free, to_grid(ends, PLACE_BITS), ends)


def _risen(points: Candidates, tried: Candidates, climbs: NDArray[np.intp]) -> Candidates:
    """Return the best candidate of each ascent that improved on its point."""
    order = np.lexsort((-tried.scores, climbs))
    _, first = np.unique(climbs[order], return_index=True)
    best = order[first]
    return tried.take(best[tried.scores[best] > points.scores[climbs[best]] + WORTHWHILE])


def _merge(parts: Sequence[Candidates]) -> Candidates:
    """Merge candidates, in descending order of score."""
    scores = np.concatenate([part.scores for part in parts])
    order = np.argsort(-scores, kind="stable")
    return Candidates(
        np.concatenate([part.X for part in parts])[order],
        np.concatenate([part.active for part in parts])[order],
        scores[order],
    )
