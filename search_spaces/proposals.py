"""Draw points that satisfy relaxed linear constraints, for exact rejection sampling.

A proposal is uniform on a set of boxes that covers the feasible set of some columns. Each column
is divided into cells. Dynamic programming over the columns counts the boxes, so a box is drawn
column by column, without rejection. Points that violate a constraint are rejected later, so the
result is uniform on the feasible set. Where the cells are the values of grids, nothing is rejected.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tuner.search_spaces.column_numbers import ColumnCells, cells_of, merged, scale_of
from tuner.search_spaces.domains import Domain
from tuner.search_spaces.values import Array

SLACK = 1e-12
"""Bound of the rounding error of a sum, as a share of the size of its terms."""

STATES = 2_048
"""Number of values that a sum of continuous columns is rounded to."""

MAX_STATES = 20_000
"""Maximum number of values of a sum of grid columns that is counted exactly."""

MAX_WORK = 200_000_000
"""Maximum number of additions for the tables of one exactly counted sum."""


class Proposal(Protocol):
    """A distribution on some columns that covers their feasible set uniformly."""

    columns: tuple[int, ...]
    mass: float
    """The share of the cube of these columns that the boxes cover."""

    def draw(self, rng: np.random.Generator, n: int) -> Array:
        """Return `n` rows for these columns, before the prior transforms them."""


@dataclass(frozen=True, slots=True)
class SumBounds:
    """The constraint ``low <= sum of weights * columns <= high``."""

    weights: Mapping[int, Fraction]
    low: Fraction | None = None
    high: Fraction | None = None

    def within(self, other: SumBounds) -> SumBounds:
        """Return the intersection with bounds of the same sum."""
        lows = [b for b in (self.low, other.low) if b is not None]
        highs = [b for b in (self.high, other.high) if b is not None]
        return SumBounds(self.weights, max(lows, default=None), min(highs, default=None))


def cut_cells(
    domains: Mapping[int, Domain], columns: Sequence[int], bounds: Mapping[int, SumBounds],
    *, exact: bool,
) -> dict[int, ColumnCells] | None:  # fmt: skip
    """Return the cells of columns without those outside of their own `bounds`; None if unknown."""
    found: dict[int, ColumnCells] = {}
    for j in columns:
        cells = cells_of(domains[j], exact=exact)
        if cells is None:
            return None
        if j in bounds:
            low, high = float_bounds(bounds[j])
            weight = float(bounds[j].weights[j])
            ends = weight * cells.low, weight * cells.high
            cells = cells.kept((np.minimum(*ends) <= high) & (np.maximum(*ends) >= low))
        found[j] = cells
    return found


def float_bounds(bounds: SumBounds) -> tuple[float, float]:
    """Return the bounds as floats, slightly widened."""
    low = -math.inf if bounds.low is None else float(bounds.low)
    high = math.inf if bounds.high is None else float(bounds.high)
    return low - SLACK * abs(low), high + SLACK * abs(high)


class SumProposal:
    """Boxes that a bounded sum of columns can reach.

    Parameters
    ----------
    cells
        The cells of each column.
    steps
        The contribution of each cell to the sum, as a number of steps from 0, by column.
    low, high
        The bounds of the sum of the steps.
    """

    def __init__(
        self,
        cells: Mapping[int, ColumnCells],
        steps: Mapping[int, NDArray[np.int64]],
        low: int,
        high: int,
    ) -> None:
        self.columns = tuple(cells)
        self._cells, self._steps, self._high = cells, steps, high
        last = np.zeros(high + 2)  # the last entry stands for all larger sums
        last[max(low, 0) : high + 1] = 1.0
        self._tables = [last]
        for j in reversed(self.columns):
            self._tables.append(_shifted(self._tables[-1], steps[j], cells[j].shares, high))
        self._tables.reverse()
        self.mass = float(self._tables[0][0])

    def draw(self, rng: np.random.Generator, n: int) -> Array:
        """Return `n` rows; see `Proposal`."""
        total = np.zeros(n, dtype=np.int64)
        rows = np.empty((n, len(self.columns)))
        for k, j in enumerate(self.columns):
            cells, steps = self._cells[j], self._steps[j]
            after = np.minimum(total[:, None] + steps, self._high + 1)
            weights = cells.shares * self._tables[k + 1][after]
            chosen = draw_cells(rng, np.cumsum(weights, axis=1))
            total += steps[chosen]
            rows[:, k] = cells.positions(rng, chosen)
        return rows


def _shifted(table: Array, steps: NDArray[np.int64], shares: Array, high: int) -> Array:
    """Return the mass of the completions by the sum before a column, given that after it."""
    before = np.zeros_like(table)
    for step, share in zip(*_summed(steps, shares), strict=True):
        if step <= high:
            before[: high + 1 - step] += share * table[step : high + 1]
    return before


def _summed(steps: NDArray[np.int64], shares: Array) -> tuple[list[int], list[float]]:
    unique, places = np.unique(steps, return_inverse=True)
    return unique.tolist(), np.bincount(places, weights=shares).tolist()


def draw_cells(rng: np.random.Generator, ends: Array) -> NDArray[np.intp]:
    """Draw a column index for each row of cumulated weights (n, k)."""
    at = rng.random(len(ends)) * ends[:, -1]
    return np.asarray(np.minimum((ends <= at[:, None]).sum(axis=1), ends.shape[1] - 1))


def sum_proposal(
    domains: Mapping[int, Domain], bounds: SumBounds, own: Mapping[int, SumBounds]
) -> SumProposal | None:
    """Return a proposal for a bounded sum; None if a column is not supported or nothing fits."""
    columns = list(bounds.weights)
    equal = bounds.low is not None and bounds.low == bounds.high
    cells = cut_cells(domains, columns, own, exact=True)
    found = None if cells is None else _exact_sum(domains, bounds, cells)
    if found is not None:
        return found
    return None if cells is None or equal else _relaxed_sum(domains, bounds, own)


def _exact_sum(
    domains: Mapping[int, Domain], bounds: SumBounds, cells: Mapping[int, ColumnCells]
) -> SumProposal | None:
    """Return the proposal for a sum over grids, counted on a common integer scale."""
    if any(c.raw is None or not len(c.raw) for c in cells.values()):
        return None
    factors, offset = {}, Fraction(0)
    for j, weight in bounds.weights.items():
        scale = scale_of(domains[j])
        assert scale is not None
        factors[j] = weight * scale.factor
        offset += weight * scale.offset
    unit = 1 / Fraction(math.lcm(*(f.denominator for f in factors.values())))
    unit *= math.gcd(*(int(f / unit) for f in factors.values()))
    steps: dict[int, NDArray[np.int64]] = {}
    for j, c in cells.items():
        factor = int(factors[j] / unit)
        if abs(factor) > 2**20 or c.raw is None or np.abs(c.raw).max() > 2**40:
            return None
        raw = factor * c.raw
        steps[j] = raw - raw.min()
        offset += int(raw.min()) * unit
    most = sum(int(s.max()) for s in steps.values())
    low = 0 if bounds.low is None else math.ceil((bounds.low - offset) / unit)
    high = most if bounds.high is None else min(most, math.floor((bounds.high - offset) / unit))
    work = high * sum(len(s) for s in steps.values())
    if not 0 <= high <= MAX_STATES or work > MAX_WORK or low > high:
        return None
    return SumProposal(cells, steps, low, high)


def _relaxed_sum(
    domains: Mapping[int, Domain], bounds: SumBounds, own: Mapping[int, SumBounds]
) -> SumProposal | None:
    """Return the proposal for a sum of ranges, rounded down to `STATES` steps."""
    low, high = float_bounds(bounds)
    sign = 1.0
    if not math.isfinite(high):
        low, high, sign = -high, -low, -1.0
    cells = cut_cells(domains, list(bounds.weights), own, exact=False)
    if cells is None or not all(len(c.low) for c in cells.values()):
        return None
    weights = {j: sign * float(w) for j, w in bounds.weights.items()}
    least = {j: np.minimum(w * cells[j].low, w * cells[j].high) for j, w in weights.items()}
    start = sum(float(part.min()) for part in least.values())
    error = SLACK * (abs(high) + sum(float(np.abs(part).max()) for part in least.values()))
    room = high - start + error
    if room <= 0 or not math.isfinite(room):
        return None
    count = max(64, 8 * len(cells))
    steps: dict[int, NDArray[np.int64]] = {}
    widest = 0.0
    for j, w in weights.items():
        cells[j] = c = merged(cells[j].kept(least[j] - least[j].min() <= room), count)
        parts = np.minimum(w * c.low, w * c.high)
        widest += float((np.maximum(w * c.low, w * c.high) - parts).max())
        steps[j] = np.floor((parts - parts.min()) / room * STATES * (1 - 1e-12)).astype(np.int64)
    missing = (low - start - error - widest) / room * STATES - len(cells)
    fewest = math.floor(missing) if math.isfinite(missing) else 0
    return SumProposal(cells, steps, fewest, STATES) if fewest <= STATES else None


class TreeProposal:
    """Boxes that constraints of pairs of columns allow, where the pairs form a tree.

    Parameters
    ----------
    cells
        The cells of each column.
    parents
        The columns in an order in which parents precede children: ``{column: parent or None}``.
    allowed
        For each child, whether each pair of a parent's cell and a child's cell is allowed.
    """

    def __init__(
        self,
        cells: Mapping[int, ColumnCells],
        parents: Mapping[int, int | None],
        allowed: Mapping[int, NDArray[np.bool_]],
    ) -> None:
        self.columns = tuple(parents)
        self._cells, self._parents = cells, parents
        weights = {j: cells[j].shares.copy() for j in parents}
        self._tables: dict[int, Array] = {}
        for j, parent in reversed(list(parents.items())):
            if parent is None:
                self._root = weights[j]
                continue
            self._tables[j] = np.cumsum(allowed[j] * weights[j], axis=1)
            weights[parent] *= self._tables[j][:, -1]
        self.mass = float(self._root.sum())

    def draw(self, rng: np.random.Generator, n: int) -> Array:
        """Return `n` rows; see `Proposal`."""
        rows = np.empty((n, len(self.columns)))
        chosen: dict[int, NDArray[np.intp]] = {}
        for k, (j, parent) in enumerate(self._parents.items()):
            if parent is None:
                ends = np.broadcast_to(np.cumsum(self._root), (n, len(self._root)))
            else:
                ends = self._tables[j][chosen[parent]]
            chosen[j] = draw_cells(rng, ends)
            rows[:, k] = self._cells[j].positions(rng, chosen[j])
        return rows


def tree_proposal(
    domains: Mapping[int, Domain],
    columns: Sequence[int],
    pairs: Sequence[SumBounds],
    own: Mapping[int, SumBounds],
) -> TreeProposal | None:
    """Return a proposal for connected columns with bounded sums of pairs; None if unsupported.

    Pairs that close a circle are left out; the proposal still covers the feasible set.
    """
    cells = cut_cells(domains, columns, own, exact=False)
    if cells is None or not all(len(c.low) for c in cells.values()):
        return None
    cells = {j: merged(c, max(64, 8 * len(columns))) for j, c in cells.items()}
    parents: dict[int, int | None] = {columns[0]: None}
    allowed: dict[int, NDArray[np.bool_]] = {}
    waiting = [columns[0]]
    while waiting:
        parent = waiting.pop()
        for pair in pairs:
            others = [j for j in pair.weights if j != parent]
            if parent not in pair.weights or others[0] in parents:
                continue
            (child,) = others
            parents[child] = parent
            waiting.append(child)
            allowed[child] = np.logical_and.reduce(
                [
                    _allowed(p, parent, child, cells)
                    for p in pairs
                    if {parent, child} == p.weights.keys()
                ]
            )
    return TreeProposal(cells, parents, allowed)


def _allowed(
    pair: SumBounds, parent: int, child: int, cells: Mapping[int, ColumnCells]
) -> NDArray[np.bool_]:
    low, high = float_bounds(pair)
    a, b = float(pair.weights[parent]), float(pair.weights[child])
    first = a * cells[parent].low[:, None], a * cells[parent].high[:, None]
    second = b * cells[child].low, b * cells[child].high
    least = np.minimum(*first) + np.minimum(*second)
    most = np.maximum(*first) + np.maximum(*second)
    # The terms can cancel, so the rounding error follows from their size, not from their sum.
    slack = SLACK * (np.maximum(*map(np.abs, first)) + np.maximum(*map(np.abs, second)))
    return np.asarray((least - slack <= high) & (most + slack >= low))


class SortedProposal:
    """Boxes of a sum whose columns are interchangeable, with the positions sorted.

    Each sorted point has equally many permutations in the boxes, so the sorted points are uniform.
    On a grid this does not hold, because equal values have fewer permutations.
    """

    def __init__(self, proposal: SumProposal, order: Sequence[int]) -> None:
        self.columns = tuple(order)
        self.mass = proposal.mass / math.factorial(len(order))
        self._proposal = proposal

    def draw(self, rng: np.random.Generator, n: int) -> Array:
        """Return `n` rows; see `Proposal`."""
        return np.sort(self._proposal.draw(rng, n), axis=1)


def sorted_proposal(
    domains: Mapping[int, Domain],
    proposal: SumProposal,
    bounds: SumBounds,
    pairs: Sequence[SumBounds],
    own: Mapping[int, SumBounds],
) -> SortedProposal | None:
    """Return a proposal for a sum in the order of `pairs`; None if the columns differ."""
    columns = set(proposal.columns)
    kinds = {domains[j] for j in columns}
    domain = next(iter(kinds))
    alike = len(kinds) == 1 and len(set(bounds.weights.values())) == 1 and not columns & own.keys()
    if not alike or domain.size < math.inf or domain.prior is not None:
        return None
    following: dict[int, int] = {}
    for pair in pairs:
        (a, first), (b, second) = pair.weights.items()
        if not {a, b} <= columns or first != -second:
            continue
        if pair.high == 0:
            following[a if first > 0 else b] = b if first > 0 else a
        elif pair.low == 0:
            following[b if first > 0 else a] = a if first > 0 else b
    starts = columns - set(following.values())
    if len(starts) != 1:
        return None
    order = list(starts)
    while order[-1] in following and len(order) <= len(columns):
        order.append(following[order[-1]])
    complete = len(order) == len(columns) and set(order) == columns
    return SortedProposal(proposal, order) if complete else None
