"""Densities on a space: mixtures of one product kernel per trial, all columns at once."""

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
"""No kernel is narrower than this share of the range, however many there are."""

LISTED = 64
"""A grid of up to this many values has each value's cell; a finer one counts as continuous."""


class KernelColumns:
    """What the kernels need to know of the columns of a space, sorted by kind.

    Attributes
    ----------
    categories, options
        Which columns have no order, shape (c,), and how many options each has; those with one
        option are left out, as they say nothing.
    numbers
        Which columns have an order, shape (d,) as a mask; among them are the next two.
    grids, edges
        Which have few values, and for each the edges of the values' cells in [0, 1], rising.
    continuous
        Which have many, shape (k,).
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
        """Return which option each category has, shape (n, c)."""
        levels = (X[:, self.categories] * self.options).astype(int)
        return np.asarray(np.minimum(levels, self.options - 1))


class ParzenDensity:
    """A mixture of one kernel per trial, and of the space's prior with the weight of one.

    A kernel is a product over the parameters that its trial had; in those it did not have it is
    uniform, so that one density covers a space with conditions. A number's kernel is a normal
    distribution cut off at the bounds, as wide as it is far to the trial's neighbours (Bergstra et
    al. 2011, section 4.2), but no narrower than the number of trials warrants ("magic clipping",
    see Watanabe 2023, arXiv:2304.11127). On a grid it is what falls into a value's cell. A
    category's kernel keeps its option, the more surely the more kernels there are.

    Parameters
    ----------
    columns
        The columns of the space.
    X, active
        The points, shape (n, d); n may be 0.
    weights
        The weight of each point, shape (n,); that of the prior is 1.
    prior
        The priors of the domains, None for the uniform density.
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
        self._stay = n / (n + columns.options)  # how likely a kernel keeps its option

    def sample(self, rng: np.random.Generator, m: int) -> Floats:
        """Return `m` rows of the unit cube; what no kernel speaks of is of the prior."""
        from scipy.special import ndtr, ndtri

        uniform = rng.random((m, self._X.shape[1]))
        rows = uniform if self._prior is None else self._prior.places(uniform)
        kernels = rng.choice(len(self._weights), size=m, p=self._weights)
        keeps = rng.random((m, len(self._stay))) < self._stay
        own = np.flatnonzero(kernels < len(self._X))
        kernels = kernels[own]
        numbers, categories = np.flatnonzero(self._columns.numbers), self._columns.categories

        at, of = np.ix_(own, numbers), np.ix_(kernels, numbers)
        centre, width = self._X[of], self._widths[of]
        low, high = ndtr(-centre / width), ndtr((1.0 - centre) / width)
        drawn = np.clip(centre + width * ndtri(low + uniform[at] * (high - low)), 0.0, 1.0)
        rows[at] = np.where(self._active[of], drawn, rows[at])

        at, of = np.ix_(own, categories), np.ix_(kernels, categories)
        rows[at] = np.where(self._active[of] & keeps[own], self._X[of], rows[at])
        return rows

    def log_density(self, X: Floats, active: Bools) -> Floats:
        """Return the log density at points of shape (m, d); shape (m,).

        Relative to the uniform density: 0 everywhere if there is no trial.
        """
        logs = np.zeros((len(X), len(self._weights)))  # the prior is the last
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
        """Add the log of the normal kernels: quadratic in x, hence one product of matrices."""
        from scipy.special import ndtr

        columns = self._columns.continuous
        if not len(columns):
            return
        # About the middle of the range, so that little is lost to rounding.
        x, a = X[:, columns] - 0.5, active[:, columns]
        centre, own = self._X[:, columns] - 0.5, self._active[:, columns]
        width = self._widths[:, columns]
        mass = ndtr((0.5 - centre) / width) - ndtr((-0.5 - centre) / width)
        precision = own / width**2
        height = own * np.log(mass * width * math.sqrt(2 * math.pi))
        terms = [-0.5 * precision, precision * centre, -0.5 * precision * centre**2 - height]
        logs += np.hstack([a * x**2, a * x, a]) @ np.hstack(terms).T

    def _add_grids(self, logs: Floats, X: Floats, active: Bools) -> None:
        """Add the log of what of the normal kernels falls into cells, looked up by cell."""
        from scipy.special import ndtr

        for j, edges in zip(self._columns.grids, self._columns.edges, strict=True):
            below = ndtr((edges[:, None] - self._X[:, j]) / self._widths[:, j])
            # What is lost to rounding in a far tail is nothing beside the uniform density.
            inside = np.maximum(np.diff(below, axis=0), 1e-300)
            table = np.zeros((len(edges), len(self._X)))  # the last row is for inactive points
            table[:-1] = np.log(inside / ((below[-1] - below[0]) * np.diff(edges)[:, None]))
            table[:, ~self._active[:, j]] = 0.0
            cell = np.clip(np.searchsorted(edges, X[:, j]) - 1, 0, len(edges) - 2)
            logs += table[np.where(active[:, j], cell, -1)]

    def _add_categories(self, logs: Floats, X: Floats, active: Bools) -> None:
        """Add the log of the kernels of categories: a term for both active, one for the same."""
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
    """Return rows of `length` that are 1 at the active of `places` (n, c), else 0.

    Examples
    --------
    >>> one_hot(np.array([[0, 2], [1, 3]]), np.array([[True, True], [True, False]]), 4).tolist()
    [[1.0, 0.0, 1.0, 0.0], [0.0, 1.0, 0.0, 0.0]]
    """
    rows = np.zeros((len(places), length))
    np.put_along_axis(rows, places, active.astype(float), axis=1)
    return rows


def neighbour_widths(places: Floats, active: Bools) -> Floats:
    """Return for each place in [0, 1] the larger of its distances to its neighbours, clipped.

    The bounds count as neighbours where there is no other.

    Parameters
    ----------
    places, active
        Shape (n, d): each column is looked at for itself, and only where it is active. Elsewhere
        the width is 1.

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
    order = np.lexsort((shown, ~active), axis=0)  # the inactive last, at the upper bound
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
