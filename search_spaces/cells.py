"""Partition the range of a numeric column into cells, with bounds of the values in each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tuner.search_spaces.arithmetic import log
from tuner.search_spaces.column_numbers import scale_of
from tuner.search_spaces.domains import Domain
from tuner.search_spaces.numeric import Numeric
from tuner.search_spaces.priors import UNIFORM
from tuner.search_spaces.values import Array

MAX_EXACT = 2_048
"""Maximum number of values of a column with one cell for each value."""

SLACK = 1e-9
"""Share of the range by which the bounds of a cell are widened, against rounding errors."""


@dataclass(frozen=True, slots=True)
class ColumnCells:
    """K cells of a column, in the positions before the prior transforms them.

    Attributes
    ----------
    starts, shares
        The lower end and the width of each cell, shape (K,).
    low, high
        Bounds of the values in each cell, shape (K,).
    raw
        The raw number of the value of each cell, see `Scale`; None if cells contain several values.
    """

    starts: Array
    shares: Array
    low: Array
    high: Array
    raw: NDArray[np.int64] | None = None

    def kept(self, mask: NDArray[np.bool_]) -> ColumnCells:
        """Return the cells of a mask."""
        raw = None if self.raw is None else self.raw[mask]
        return ColumnCells(
            self.starts[mask], self.shares[mask], self.low[mask], self.high[mask], raw
        )

    def positions(self, rng: np.random.Generator, cells: NDArray[np.intp]) -> Array:
        """Draw a uniform position in each of the given cells."""
        inside = rng.random(len(cells))
        return np.asarray(self.starts[cells] + inside * self.shares[cells])


def cells_of(domain: Domain, *, exact: bool) -> ColumnCells | None:
    """Return fine cells of a column; None if its values are not numbers or are not in order.

    Parameters
    ----------
    domain
        The domain of the column.
    exact
        Whether to prefer one cell for each value, even for many values.
    """
    scale = scale_of(domain)
    if scale is None:
        return None
    if domain.prior is None and domain.size <= (MAX_EXACT if exact else FINE):
        n = int(domain.size)
        edges = _edges_of_values(domain, n)
        raw = np.arange(n) if scale.table is None else scale.table.astype(np.int64)
        values = np.array(domain.grid(1), dtype=float)  # the nearest floats: 0.0 is not 5e-17
        return ColumnCells(edges[:-1], np.diff(edges), values, values, raw)
    if not isinstance(domain, Numeric):
        return None
    edges = np.linspace(0.0, 1.0, FINE + 1)
    if domain.density is not None:  # the uniform share of a prior comes first
        edges = np.concatenate([UNIFORM * edges, UNIFORM + (1.0 - UNIFORM) * edges[1:]])
    return _bounded_cells(domain, edges)


FINE = 1_024
"""Number of cells of a column with many values, before cells that cannot be feasible are left."""


def _edges_of_values(domain: Domain, n: int) -> Array:
    """Return the edges of the cells of n values in [0, 1], shape (n + 1,)."""
    if not isinstance(domain, Numeric) or not domain.log or n == 1:
        return np.linspace(0.0, 1.0, n + 1)
    values = np.array(domain.grid(1), dtype=float)
    middles = log((values[1:] + values[:-1]) / 2)
    low, high = domain.edges
    return np.concatenate([[0.0], (middles - low) / (high - low), [1.0]])


def _bounded_cells(domain: Numeric, edges: Array) -> ColumnCells:
    density = domain.density
    starts, ends = edges[:-1], edges[1:]
    if density is None:
        low, high = _values(domain, starts), _values(domain, ends)
    else:
        # `places` jumps at the end of the uniform share, where the last of its cells ends.
        low = _values(domain, density.places(starts))
        high = _values(domain, density.places(np.nextafter(ends, 0.0)))
    slack = SLACK * (float(domain.high) - float(domain.low))
    return ColumnCells(starts, ends - starts, low - slack, high + slack)


def _values(domain: Numeric, unit: Array) -> Array:
    return np.array(domain.from_unit(unit), dtype=float)


def merged(cells: ColumnCells, count: int) -> ColumnCells:
    """Join neighboring cells until about `count` are left; their bounds cover all parts."""
    n = len(cells.starts)
    if n <= count or cells.raw is not None:
        return cells
    ends = cells.starts + cells.shares
    holes = np.flatnonzero(np.abs(cells.starts[1:] - ends[:-1]) > 1e-12) + 1
    firsts = np.union1d(np.linspace(0, n, count + 1).astype(int)[:-1], holes)
    return ColumnCells(
        cells.starts[firsts],
        np.add.reduceat(cells.shares, firsts),
        np.minimum.reduceat(cells.low, firsts),
        np.maximum.reduceat(cells.high, firsts),
    )
