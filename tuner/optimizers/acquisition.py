"""Where an acquisition function is largest in a mixed, conditional space."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tuner.optimizers.ascent import ascend
from tuner.optimizers.embedding import Bools, Floats
from tuner.optimizers.rounding import to_bits, to_grid

Snap: TypeAlias = Callable[[Floats], tuple[Floats, Bools, Bools]]
"""Moves rows of the unit cube to the nearest points of the space: (X, active, feasible)."""

SMOOTH_FROM = 8
"""An ordered column with more values than this is searched as if it were continuous."""

WORTHWHILE = 1e-2
"""A climb that gains less than this of the logarithm is over."""


SCORE_BITS, SLOPE_BITS, PLACE_BITS = 16, 14, 20
"""Multiples of 2**-bits to which scores and the places where climbs end are rounded, and the
significant bits of gradients; see `tuner.optimizers.rounding`. Equal scores go by their order."""


class Acquisition(Protocol):
    """What is maximised over the space: larger is better. Ours are logarithms."""

    def __call__(self, X: Floats, active: Bools) -> Floats:
        """Return the values at `X` (m, d), shape (m,)."""

    def with_gradient(self, X: Floats, active: Bools) -> tuple[Floats, Floats]:
        """Return the values, shape (m,), and their gradients, shape (m, d), at `X` (m, d)."""


@dataclass(frozen=True, slots=True)
class Product:
    """The product of acquisition functions that are logarithms: their sum."""

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
    """An acquisition function without the digits that differ between CPUs."""

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


def maximise(
    acquisition: Acquisition,
    columns: Columns,
    snap: Snap,
    starts: Floats,
    *,
    refined: int = 5,
    rounds: int = 2,
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
    """Return the points one move from `x` (d,) in one discrete column, shape (m, d).

    Every other option of a categorical column, one and two values up and down in an ordered one.
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
    ends = ascend(
        lambda rows, X: acquisition.with_gradient(X, points.active[rows]),
        points.X,
        free,
        tolerance=WORTHWHILE,
    )
    return np.where(free, to_grid(ends, PLACE_BITS), ends)


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
