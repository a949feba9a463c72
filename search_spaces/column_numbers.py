"""Columns as numbers: read rows of the unit cube as arrays, and divide a range into cells."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuner.search_spaces.arithmetic import Bounded, exact, exp, log
from tuner.search_spaces.categorical import Bool, Listed
from tuner.search_spaces.domains import Domain
from tuner.search_spaces.numeric import Numeric
from tuner.search_spaces.points import Column
from tuner.search_spaces.priors import UNIFORM
from tuner.search_spaces.values import Array


@dataclass(frozen=True, slots=True)
class Scale:
    """The relation of a column's raw numbers to its values: value = offset + factor * raw.

    The raw numbers of a grid are its indices; for listed numbers they are integers. Both are
    `exact`; the raw numbers of a continuous range are its values. `largest` bounds their magnitude.
    """

    offset: Fraction
    factor: Fraction
    largest: Fraction
    exact: bool
    table: Array | None = None

    @property
    def whole(self) -> bool:
        """Whether all values are integers."""
        return self.exact and self.offset.denominator == self.factor.denominator == 1


def scale_of(domain: Domain) -> Scale | None:
    """Return the scale of a domain; None if its values are not all numbers."""
    if isinstance(domain, Numeric):
        grid = domain.exact_grid
        if grid is None:
            largest = max(abs(Fraction(domain.low)), abs(Fraction(domain.high)))
            return Scale(Fraction(0), Fraction(1), largest, exact=False)
        return Scale(*grid, Fraction(int(domain.size) - 1), exact=True)
    if not isinstance(domain, Listed | Bool):
        return None
    values = [exact(value) for value in domain.grid(1)]
    if not all(isinstance(value, int | Fraction) for value in values):
        return None
    common = math.lcm(*(Fraction(value).denominator for value in values))
    raw = [int(value * common) for value in values]
    reach = max(map(abs, raw))
    if reach >= 2**53:
        return None
    return Scale(
        Fraction(0), Fraction(1, common), Fraction(reach), exact=True,
        table=np.array(raw, dtype=float),
    )  # fmt: skip


class ColumnReader:
    """Converts positions in the columns of a space to numbers and indices.

    Parameters
    ----------
    columns
        The columns of the space.
    """

    def __init__(self, columns: Sequence[Column]) -> None:
        self.domains = [column.domain for column in columns]
        self.conditional = [bool(column.parents) for column in columns]
        self._scales: dict[int, Scale | None] = {}
        self._blocks: dict[tuple[int, ...], _Block] = {}

    def is_numeric(self, j: int) -> bool:
        """Return whether all values of column `j` are numbers."""
        if j not in self._scales:
            self._scales[j] = scale_of(self.domains[j])
        return self._scales[j] is not None

    def scale(self, j: int) -> Scale:
        """Return the scale of numeric column `j`."""
        assert self.is_numeric(j)
        scale = self._scales[j]
        assert scale is not None
        return scale

    def count(self, j: int) -> float:
        """Return the number of values that an index distinguishes; infinite without an index."""
        domain = self.domains[j]
        return domain.size if isinstance(domain, Numeric | Listed | Bool) else math.inf

    def values(self, j: int) -> list[Any]:
        """Return the values of column `j` by index."""
        return self.domains[j].grid(1)

    def index(self, j: int, unit: Array) -> NDArray[np.intp]:
        """Return the indices of the values at positions in [0, 1]."""
        domain = self.domains[j]
        if isinstance(domain, Numeric):
            return domain.indices(unit).astype(np.intp)
        n = int(domain.size)
        return np.clip((unit * n).astype(np.intp), 0, n - 1)

    def raw(self, j: int, unit: Array) -> Array:
        """Return the raw numbers of column `j` at positions in [0, 1]; see `Scale`."""
        domain, table = self.domains[j], self.scale(j).table
        if table is not None:
            return np.asarray(table[self.index(j, unit)])
        assert isinstance(domain, Numeric)
        return domain.indices(unit) if self.scale(j).exact else domain.numbers(unit)

    def raw_block(self, columns: Sequence[int], X: Array) -> Array:
        """Return the raw numbers of several columns, shape (n, k)."""
        key = tuple(columns)
        if key not in self._blocks:
            self._blocks[key] = _Block([self.domains[j] for j in columns])
        block = self._blocks[key]
        return block.read(X[:, columns], [(k, j) for k, j in enumerate(columns)], self)


class _Block:
    """Several numeric columns: ranges and plain grids are read together, others one by one."""

    def __init__(self, domains: Sequence[Domain]) -> None:
        kinds = [_kind(domain) for domain in domains]
        self._ranges, self._grids, self._others = (
            [k for k, kind in enumerate(kinds) if kind == wanted]
            for wanted in ("range", "grid", "")
        )
        ranges = [domains[k] for k in self._ranges]
        self._logs = [k for k, d in enumerate(ranges) if isinstance(d, Numeric) and d.log]
        self._bounds = np.array([[d.low, d.high] for d in ranges]).reshape(-1, 2).T  # type: ignore[attr-defined]
        self._edges = np.array([d.edges for d in ranges]).reshape(-1, 2).T  # type: ignore[attr-defined]
        self._sizes = np.array([domains[k].size for k in self._grids])

    def read(self, unit: Array, columns: Sequence[tuple[int, int]], reader: ColumnReader) -> Array:
        """Return the raw numbers at positions `unit` (n, k), by the operations of `Numeric`."""
        if len(self._ranges) == len(columns):
            return self._read_ranges(unit)
        raw = np.empty_like(unit)
        raw[:, self._ranges] = self._read_ranges(unit[:, self._ranges])
        sizes = self._sizes
        raw[:, self._grids] = np.clip(np.floor(unit[:, self._grids] * sizes), 0, sizes - 1)
        for k, j in columns:
            if k in self._others:
                raw[:, k] = reader.raw(j, unit[:, k])
        return raw

    def _read_ranges(self, unit: Array) -> Array:
        (low, high), (first, last) = self._bounds, self._edges
        values = first * (1 - unit) + last * unit
        if self._logs:
            values[:, self._logs] = exp(values[:, self._logs])
        values = np.where(unit <= 0, low, np.where(unit >= 1, high, values))
        return np.asarray(np.clip(values, low, high))


def _kind(domain: Domain) -> str:
    if not isinstance(domain, Numeric):
        return ""
    if domain.size == math.inf:
        return "range"
    return "" if domain.log else "grid"


class Batch:
    """Rows of the unit cube, whose columns are read when they are needed."""

    def __init__(self, reader: ColumnReader, X: Array, active: NDArray[np.bool_]) -> None:
        self._reader, self._X, self._active = reader, X, active
        self._blocks: dict[tuple[int, ...], Array] = {}

    @property
    def size(self) -> int:
        """The number of rows."""
        return len(self._X)

    @cached_property
    def _all_active(self) -> NDArray[np.bool_]:
        return np.ones(self.size, dtype=bool)

    def active(self, columns: Sequence[int]) -> NDArray[np.bool_] | None:
        """Return the mask of the rows in which all columns are active; None for all rows."""
        conditional = [j for j in columns if self._reader.conditional[j]]
        return np.asarray(self._active[:, conditional].all(axis=1)) if conditional else None

    def numbers(self, columns: Sequence[int]) -> Array:
        """Return the raw numbers of columns, shape (n, k)."""
        key = tuple(columns)
        if key not in self._blocks:
            self._blocks[key] = self._reader.raw_block(columns, self._X)
        return self._blocks[key]

    def index(self, j: int) -> NDArray[np.intp]:
        """Return the indices of the values of a column; their number for inactive rows."""
        index = self._reader.index(j, self._X[:, j])
        return np.where(self._active[:, j], index, int(self._reader.count(j)))

    def bounded(self, j: int) -> Bounded:
        """Return the values of a numeric column with their rounding errors."""
        scale = self._reader.scale(j)
        values = float(scale.offset) + float(scale.factor) * self.numbers([j])[:, 0]
        return Bounded.of(
            values, self._active[:, j] if self._reader.conditional[j] else self._all_active,
            whole=scale.whole and abs(scale.offset) + abs(scale.factor) * scale.largest < 2**53,
        )  # fmt: skip


# --- cells ----------------------------------------------------------------------------------------

MAX_EXACT = 2_048
"""Maximum number of values of a column with one cell for each value."""

FINE = 1_024
"""Number of cells of a column with many values, before cells that cannot be feasible are left."""

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
