"""Densities on a space: mixtures of one product kernel per trial."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tuner.search_spaces import Bool, Choice, Column, Const

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

NARROWEST = 0.01
"""No kernel is narrower than this share of the range, however many there are."""

LISTED = 256
"""A grid of up to this many values has each value's cell; a finer one counts as continuous."""


@dataclass(frozen=True, slots=True)
class KernelColumn:
    """What the kernels of one parameter need to know.

    `options` is how many there are of a parameter without an order, else 0. `edges` are those of
    the cells of a grid in [0, 1], rising, or None for a continuum.
    """

    options: int
    edges: Floats | None

    @classmethod
    def of(cls, column: Column) -> KernelColumn:
        """Return what describes a column of a space."""
        domain = column.domain
        if isinstance(domain, Choice | Bool | Const):
            return cls(int(domain.size), None)
        if domain.size > LISTED:
            return cls(0, None)
        places = np.unique(domain.to_unit(domain.grid(int(domain.size))))
        return cls(0, np.concatenate([[0.0], (places[1:] + places[:-1]) / 2, [1.0]]))


class ParzenDensity:
    """A mixture of one kernel per trial, and of the uniform density with the weight of one.

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
        The weight of each point, shape (n,); that of the uniform density is 1.
    """

    def __init__(
        self, columns: list[KernelColumn], X: Floats, active: Bools, weights: Floats
    ) -> None:
        self._columns = columns
        self._X, self._active = X, active
        total = np.append(weights, 1.0)
        self._weights = total / total.sum()
        self._widths = np.ones_like(X)
        for j, column in enumerate(columns):
            if not column.options:
                own = active[:, j]
                self._widths[own, j] = neighbour_widths(X[own, j])

    def sample(self, rng: np.random.Generator, m: int) -> Floats:
        """Return `m` rows of the unit cube; what no kernel speaks of is uniform."""
        from scipy.special import ndtr, ndtri

        rows = rng.random((m, len(self._columns)))
        kernels = rng.choice(len(self._weights), size=m, p=self._weights)
        own = np.flatnonzero(kernels < len(self._X))
        for j, column in enumerate(self._columns):
            at = own[self._active[kernels[own], j]]
            centre = self._X[kernels[at], j]
            u = rows[at, j]
            if column.options:
                stay = u < self._stay(column.options)
                rows[at, j] = np.where(stay, centre, rng.random(len(at)))
            else:
                width = self._widths[kernels[at], j]
                low, high = ndtr(-centre / width), ndtr((1 - centre) / width)
                rows[at, j] = np.clip(centre + width * ndtri(low + u * (high - low)), 0.0, 1.0)
        return rows

    def log_density(self, X: Floats, active: Bools) -> Floats:
        """Return the log density at points of shape (m, d); shape (m,).

        Relative to the uniform density: 0 everywhere if there is no trial.
        """
        from scipy.special import logsumexp

        log_kernels = np.zeros((len(X), len(self._X)))
        for j, column in enumerate(self._columns):
            points, kernels = np.flatnonzero(active[:, j]), np.flatnonzero(self._active[:, j])
            if not len(points) or not len(kernels):
                continue
            # Points of a discrete column share few values: each is looked at once.
            x, place = np.unique(X[points, j], return_inverse=True)
            values = self._log_kernel(column, x, j, kernels)[place]
            if len(points) == len(X) and len(kernels) == len(self._X):
                log_kernels += values
            else:
                log_kernels[np.ix_(points, kernels)] += values
        log_kernels = np.column_stack([log_kernels, np.zeros(len(X))])
        return np.asarray(logsumexp(log_kernels + np.log(self._weights), axis=1))

    def _log_kernel(
        self, column: KernelColumn, x: Floats, j: int, kernels: NDArray[np.intp]
    ) -> Floats:
        """Return the log density of kernels at places `x` of column `j`, over the uniform one."""
        from scipy.special import ndtr

        centre = self._X[kernels, j]
        if column.options:
            k, stay = column.options, self._stay(column.options)
            same = np.floor(x[:, None] * k) == np.floor(centre * k)
            return np.asarray(np.log(np.where(same, stay * k + (1 - stay), 1 - stay)))
        width = self._widths[kernels, j]
        mass = ndtr((1 - centre) / width) - ndtr(-centre / width)
        if column.edges is None:
            z = (x[:, None] - centre) / width
            z *= z
            return np.asarray(-0.5 * z - np.log(mass * width * math.sqrt(2 * math.pi)))
        cell = np.clip(np.searchsorted(column.edges, x) - 1, 0, len(column.edges) - 2)
        low, high = column.edges[cell][:, None], column.edges[cell + 1][:, None]
        inside = ndtr((high - centre) / width) - ndtr((low - centre) / width)
        # What is lost to rounding in a far tail is nothing beside the uniform density.
        return np.asarray(np.log(np.maximum(inside, 1e-300) / (mass * (high - low))))

    def _stay(self, options: int) -> float:
        """Return how likely a kernel keeps its option rather than draws one."""
        n = len(self._X) + 1
        return n / (n + options)


def neighbour_widths(places: Floats) -> Floats:
    """Return for each place in [0, 1] the larger of its distances to its neighbours, clipped.

    The bounds count as neighbours where there is no other.

    Examples
    --------
    >>> neighbour_widths(np.array([0.1, 0.9, 0.4])).round(2).tolist()
    [0.3, 0.5, 0.5]
    """
    n = len(places)
    if n == 0:
        return places
    order = np.argsort(places, kind="stable")
    ends = np.concatenate([[0.0], places[order], [1.0]])
    gaps = np.diff(ends)
    if n > 1:
        gaps[0] = gaps[-1] = 0.0
    widths = np.empty(n)
    widths[order] = np.maximum(gaps[:-1], gaps[1:])
    return np.clip(widths, max(NARROWEST, 1.0 / (n + 2)), 1.0)
