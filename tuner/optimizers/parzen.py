"""Parzen densities on a space: mixtures with one product kernel per trial."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tuner.search_spaces import Bool, Choice, Column, Const
from tuner.search_spaces.priors import SpacePrior

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Places = NDArray[np.intp]

NARROWEST = 0.01
"""Minimum width of a kernel, as a share of the range."""

LISTED = 64
"""Maximum number of grid values that are modeled as cells; a finer grid counts as continuous."""


class KernelColumns:
    """The columns of a space by type.

    Attributes
    ----------
    categories, options
        Indices of the unordered columns, shape (c,), and the number of options of each. Columns
        with a single option are excluded.
    numbers
        Mask of the ordered columns, shape (d,); `grids` and `continuous` partition them.
    grids, edges
        Indices of the ordered columns with few values, and for each the ascending edges of the
        values' cells in [0, 1].
    continuous
        Indices of the ordered columns with many values, shape (k,).
    """

    def __init__(self, columns: Sequence[Column]) -> None:
        domains = [column.domain for column in columns]
        unordered = [isinstance(domain, Choice | Bool | Const) for domain in domains]
        sizes = np.array([domain.size for domain in domains])
        self.numbers = ~np.array(unordered, dtype=bool)
        self.categories = np.flatnonzero(~self.numbers & (sizes > 1))
        self.options = sizes[self.categories].astype(int)
        self.grids = np.flatnonzero(self.numbers & (sizes <= LISTED))
        self.continuous = np.flatnonzero(self.numbers & (sizes > LISTED))
        self.edges: list[Floats] = []
        for j in self.grids:
            places = np.unique(domains[j].to_unit(domains[j].grid(int(sizes[j]))))
            self.edges.append(np.concatenate([[0.0], (places[1:] + places[:-1]) / 2, [1.0]]))

    def options_at(self, X: Floats) -> Places:
        """Return the option index of each categorical column, shape (n, c)."""
        levels = (X[:, self.categories] * self.options).astype(int)
        return np.asarray(np.minimum(levels, self.options - 1))


class ParzenDensity:
    """A mixture of one kernel per trial and, with weight 1, the prior of the space.

    A kernel is a product over the active parameters of its trial. It is uniform in inactive
    parameters, so one density covers a conditional space. The kernel of a number is a normal
    distribution truncated at the bounds. Its width is the distance to the neighboring trials
    (Bergstra et al. 2011, section 4.2), with a lower bound that depends on the number of trials
    ("magic clipping", see Watanabe 2023, arXiv:2304.11127). On a grid, the kernel is integrated
    over the cell of each value. The kernel of a category keeps its option with a probability that
    rises with the number of kernels.

    Parameters
    ----------
    columns
        The columns of the space.
    X, active
        The points, shape (n, d); n may be 0.
    weights
        The weight of each point, shape (n,); the prior has weight 1.
    prior
        The priors of the domains; None for the uniform density.
    """

    def __init__(
        self,
        columns: KernelColumns,
        X: Floats,
        active: Bools,
        weights: Floats,
        prior: SpacePrior | None = None,
    ) -> None:
        self._columns = columns
        self._X, self._active = X, active
        self._prior = prior
        total = np.append(weights, 1.0)
        self._weights = total / total.sum()
        self._widths = np.ones_like(X)
        numbers = columns.numbers
        self._widths[:, numbers] = neighbour_widths(X[:, numbers], active[:, numbers])
        n = len(X) + 1
        self._stay = n / (n + columns.options)  # probability that a kernel keeps its option

    def sample(self, rng: np.random.Generator, m: int) -> Floats:
        """Draw `m` rows of the unit cube; parameters outside the drawn kernel follow the prior."""
        return self.sample_around(rng, m)[0]

    def sample_around(self, rng: np.random.Generator, m: int) -> tuple[Floats, Floats]:
        """Return rows as by `sample`, and the trial of each row's kernel, both of shape (m, d).

        A row of the prior is its own trial.
        """
        from scipy.special import ndtr, ndtri

        uniform = rng.random((m, self._X.shape[1]))
        rows = uniform if self._prior is None else self._prior.places(uniform)
        kernels = rng.choice(len(self._weights), size=m, p=self._weights)
        keeps = rng.random((m, len(self._stay))) < self._stay
        own = np.flatnonzero(kernels < len(self._X))
        kernels = kernels[own]
        numbers, categories = np.flatnonzero(self._columns.numbers), self._columns.categories

        at, of = np.ix_(own, numbers), np.ix_(kernels, numbers)
        center, width = self._X[of], self._widths[of]
        low, high = ndtr(-center / width), ndtr((1.0 - center) / width)
        drawn = np.clip(center + width * ndtri(low + uniform[at] * (high - low)), 0.0, 1.0)
        rows[at] = np.where(self._active[of], drawn, rows[at])

        at, of = np.ix_(own, categories), np.ix_(kernels, categories)
        rows[at] = np.where(self._active[of] & keeps[own], self._X[of], rows[at])
        origins = rows.copy()
        origins[own] = self._X[kernels]
        return rows, origins

    def log_density(self, X: Floats, active: Bools) -> Floats:
        """Return the log density at points of shape (m, d); shape (m,).

        The density is relative to the uniform density: 0 everywhere without trials.
        """
        logs = np.zeros((len(X), len(self._weights)))  # the last column is the prior
        if self._prior is not None:
            logs[:, -1] = self._prior.log(X, active)
        kernels = logs[:, :-1]
        self._add_continuous(kernels, X, active)
        self._add_grids(kernels, X, active)
        self._add_categories(kernels, X, active)
        logs += np.log(self._weights)
        top = logs.max(axis=1, keepdims=True)
        logs -= top
        return np.asarray(np.log(np.exp(logs, out=logs).sum(axis=1)) + top[:, 0])

    def _add_continuous(self, logs: Floats, X: Floats, active: Bools) -> None:
        """Add the logs of the normal kernels, which are quadratic in x, as one matrix product."""
        from scipy.special import ndtr

        columns = self._columns.continuous
        if not len(columns):
            return
        # Centered on the range, to reduce rounding errors.
        x, a = X[:, columns] - 0.5, active[:, columns]
        center, own = self._X[:, columns] - 0.5, self._active[:, columns]
        width = self._widths[:, columns]
        mass = ndtr((0.5 - center) / width) - ndtr((-0.5 - center) / width)
        precision = own / width**2
        height = own * np.log(mass * width * math.sqrt(2 * math.pi))
        terms = [-0.5 * precision, precision * center, -0.5 * precision * center**2 - height]
        logs += np.hstack([a * x**2, a * x, a]) @ np.hstack(terms).T

    def _add_grids(self, logs: Floats, X: Floats, active: Bools) -> None:
        """Add the logs of the normal kernels integrated over grid cells, from a table by cell."""
        from scipy.special import ndtr

        for j, edges in zip(self._columns.grids, self._columns.edges, strict=True):
            below = ndtr((edges[:, None] - self._X[:, j]) / self._widths[:, j])
            # Rounding errors in the far tail are negligible compared with the uniform density.
            inside = np.maximum(np.diff(below, axis=0), 1e-300)
            table = np.zeros((len(edges), len(self._X)))  # the last row is for inactive points
            table[:-1] = np.log(inside / ((below[-1] - below[0]) * np.diff(edges)[:, None]))
            table[:, ~self._active[:, j]] = 0.0
            cell = np.clip(np.searchsorted(edges, X[:, j]) - 1, 0, len(edges) - 2)
            logs += table[np.where(active[:, j], cell, -1)]

    def _add_categories(self, logs: Floats, X: Floats, active: Bools) -> None:
        """Add the logs of the categorical kernels: one term if both are active, one if equal."""
        columns, options = self._columns.categories, self._columns.options
        if not len(columns):
            return
        a, own = active[:, columns], self._active[:, columns]
        other = np.log1p(-self._stay)
        gain = np.log(self._stay * options + (1.0 - self._stay)) - other
        starts = np.cumsum(options) - options
        here = one_hot(self._columns.options_at(X) + starts, a, int(options.sum()))
        there = one_hot(self._columns.options_at(self._X) + starts, own, int(options.sum()))
        there *= np.repeat(gain, options)
        logs += np.hstack([a, here]) @ np.hstack([own * other, there]).T


def one_hot(places: Places, active: Bools, length: int) -> Floats:
    """Return rows of `length` that are 1 at the active entries of `places` (n, c), else 0.

    Examples
    --------
    >>> one_hot(np.array([[0, 2], [1, 3]]), np.array([[True, True], [True, False]]), 4).tolist()
    [[1.0, 0.0, 1.0, 0.0], [0.0, 1.0, 0.0, 0.0]]
    """
    rows = np.zeros((len(places), length))
    np.put_along_axis(rows, places, active.astype(float), axis=1)
    return rows


def neighbour_widths(places: Floats, active: Bools) -> Floats:
    """Return the larger distance of each position in [0, 1] to its two neighbors, clipped.

    The bounds count as neighbors only in a column with a single active position.

    Parameters
    ----------
    places, active
        Shape (n, d): each column is treated separately. Inactive entries are ignored and have
        width 1.

    Examples
    --------
    >>> places = np.array([[0.1], [0.9], [0.4]])
    >>> neighbour_widths(places, np.ones((3, 1), dtype=bool))[:, 0].round(2).tolist()
    [0.3, 0.5, 0.5]
    """
    n, d = places.shape
    if n == 0:
        return places
    shown = np.where(active, places, 1.0)
    order = np.lexsort((shown, ~active), axis=0)  # inactive entries last, at the upper bound
    ends = np.ones((n + 2, d))
    ends[0] = 0.0
    ends[1:-1] = np.take_along_axis(shown, order, axis=0)
    gaps = np.diff(ends, axis=0)
    count = active.sum(axis=0)
    several = np.flatnonzero(count > 1)
    gaps[0, several] = gaps[count[several], several] = 0.0
    widths = np.empty((n, d))
    np.put_along_axis(widths, order, np.maximum(gaps[:-1], gaps[1:]), axis=0)
    narrowest = np.maximum(NARROWEST, 1.0 / (count + 2.0))
    return np.where(active, np.clip(widths, narrowest, 1.0), 1.0)
