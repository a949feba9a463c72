"""The unit-cube representation of a space, for the model and the acquisition search."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tuner.optimizers.bayesian.acquisition import Columns
from tuner.optimizers.bayesian.embedding import Bools, Embedding, Floats
from tuner.optimizers.feasible_rows import move_inside
from tuner.search_spaces import Bool, Choice, Const, Domain, Space

LISTED = 256
"""Maximum number of values of a column whose values are listed, for moves between them."""

BESIDE = 0.01
"""Maximum distance in each column of two points that are next to each other."""


class UnitCube:
    """The columns of `space` in the unit cube, and operations on rows of the unit cube.

    Examples
    --------
    >>> from tuner.search_spaces import Float, Int
    >>> cube = UnitCube(Space({"lr": Float(0.0, 1.0), "depth": Int(1, 2)}))
    >>> X, active, feasible = cube.snap(np.array([[0.3, 0.4]]))
    >>> X.tolist(), active.tolist(), feasible.tolist()
    ([[0.3, 0.25]], [[True, True]], [True])
    """

    def __init__(self, space: Space) -> None:
        self.space = space
        domains = [column.domain for column in space.columns]
        categorical = np.array([isinstance(d, Choice | Bool | Const) for d in domains], dtype=bool)
        self.columns = Columns(tuple(_levels(d) for d in domains), categorical)
        self._steps = np.array([_step(values) for values in self.columns.levels])
        self.embedding = Embedding(
            options=[int(d.size) if c else 0 for d, c in zip(domains, categorical, strict=True)],
            conditional=[bool(column.parents) for column in space.columns],
        )

    def snap(self, rows: Floats) -> tuple[Floats, Bools, Bools]:
        """Snap `rows` (m, d) to points; return X, active and a mask of the feasible points."""
        X, active = self.space.snap(rows)
        return X, active, self.space.feasible_rows(X, active)

    def spread(self, rng: np.random.Generator, m: int) -> Floats:
        """Draw `m` random feasible rows, shape (m, d)."""
        return self.space.sample_rows(rng, m)

    def nearby(self, rng: np.random.Generator, X: Floats, active: Bools, m: int) -> Floats:
        """Draw `m` rows near the rows of `X` (k, d): some columns change, by random distances.

        Inactive columns get random values, so a change of branch reaches any point of the branch.
        """
        d = X.shape[1]
        origin = rng.integers(len(X), size=m)
        rows = np.where(active[origin], X[origin], rng.random((m, d)))
        width = 10.0 ** rng.uniform(-3.0, -0.5, (m, 1))
        moved = np.clip(rows + width * rng.standard_normal((m, d)), 0.0, 1.0)
        moved = np.where(self.columns.categorical, rng.random((m, d)), moved)
        changed = rng.random((m, d)) < rng.uniform(1.0 / d, 1.0, (m, 1))
        return move_inside(self.space, np.where(changed, moved, rows), X[origin], rng)

    def beside(self, rng: np.random.Generator, x: Floats, active: Bools, m: int) -> Floats:
        """Draw at most `m` feasible points next to the point `x` (d,); see `adjoins`."""
        free, several = self._free(active)
        rows = np.repeat(x[None, :], m, axis=0)
        if free.size:
            far = self._steps[free] * rng.uniform(0.5, 1.0, (m, len(free)))
            far = np.where(several, far, self._steps[free]) * rng.choice([-1.0, 1.0], far.shape)
            moved = several | (rng.integers(len(free), size=(m, 1)) == np.arange(len(free)))
            rows[:, free] = np.clip(rows[:, free] + moved * far, 0.0, 1.0)
        X, on, feasible = self.snap(rows)
        return X[feasible & self.adjoins(x, active, X, on)]

    def adjoins(self, x: Floats, active: Bools, X: Floats, on: Bools) -> Bools:
        """Return which points `X` (m, d), with the masks `on`, are next to the point `x` (d,).

        Their fine numbers are at most `BESIDE` apart, and all else is equal. In a point without
        fine numbers, one number has the next value. A point is not next to itself.
        """
        free, several = self._free(active)
        gaps = np.abs(X - x)
        near = gaps[:, free] <= self._steps[free] + 1e-9
        moved = np.sum(gaps[:, free] > 0.0, axis=1)
        fixed = np.delete(gaps, free, axis=1) == 0.0
        found = near.all(axis=1) & fixed.all(axis=1) & (on == active).all(axis=1) & (moved > 0)
        return np.asarray(found if several else found & (moved == 1))

    def _free(self, active: Bools) -> tuple[NDArray[np.intp], bool]:
        """Return the columns that differ between adjoining points, and whether several may."""
        numbers = active & ~self.columns.categorical & (self._steps < 1.0)
        fine = np.flatnonzero(numbers & (self._steps <= BESIDE))
        return (fine, True) if fine.size else (np.flatnonzero(numbers), False)


def _step(levels: Floats | None) -> float:
    """Return the largest distance of two neighboring values, at least `BESIDE`; 1 if only one."""
    if levels is None:
        return BESIDE
    return max(float(np.max(np.diff(levels), initial=0.0)), BESIDE) if len(levels) > 1 else 1.0


def _levels(domain: Domain) -> Floats | None:
    """Return the ascending positions of the values of a discrete domain; None if too many."""
    if domain.size > LISTED:
        return None
    return np.unique(domain.to_unit(domain.grid(int(domain.size))))
