"""Evaluation of constraints for many points at once, with the results of `Expression.evaluate`.

Expressions are evaluated on arrays of floats with a bound of their rounding error. Points whose
comparison lies within this bound are evaluated again in exact arithmetic. Sums over grids of
numbers are computed on scaled integers, which are exact.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from tuner.search_spaces.arithmetic import EPSILON, Bounded, binary, unary
from tuner.search_spaces.column_numbers import Batch, ColumnReader
from tuner.search_spaces.expressions import (
    COMPARISONS,
    LOGIC,
    Binary,
    Expression,
    IsIn,
    Literal,
    P,
    Unary,
)
from tuner.search_spaces.linear import LinearRule, conjuncts, linear_rule
from tuner.search_spaces.points import Column
from tuner.search_spaces.values import Array

Bools: TypeAlias = NDArray[np.bool_]
Truth: TypeAlias = NDArray[np.int8]

FALSE, NOT_KNOWN, TRUE = 0, 1, 2
"""The three truth values, in the order of Kleene's logic: "and" is the minimum."""

MAX_TABLE = 1_024
"""Maximum number of combinations of options for which an expression is tabulated."""


Rule: TypeAlias = Callable[[Batch], tuple[Truth, Bools]]
"""Returns the truth of one expression for a batch, and the points whose truth is in doubt."""


class Feasibility:
    """Tests which rows of the unit cube satisfy constraints.

    Parameters
    ----------
    columns
        The columns of the space.
    constraints
        The constraints, over paths of these columns.

    Examples
    --------
    >>> from tuner.search_spaces import Float, P, Space
    >>> space = Space({"a": Float(0, 1, step=0.1), "b": Float(0, 1, step=0.1)})
    >>> X, active = space.encode([{"a": 0.1, "b": 0.2}, {"a": 0.1, "b": 0.3}])
    >>> Feasibility(space.columns, [P("a") + P("b") <= 0.3])(X, active).tolist()
    [True, False]
    """

    def __init__(self, columns: Sequence[Column], constraints: Iterable[Expression]) -> None:
        self._columns = columns
        self._index = {column.path: j for j, column in enumerate(columns)}
        self._reader = ColumnReader(columns)
        self._parts = list(conjuncts(constraints))

    def __call__(self, X: Array, active: Bools) -> Bools:
        """Return the mask of the rows of `X` (n, d) that violate no constraint, shape (n,)."""
        batch = Batch(self._reader, X, active)
        feasible = np.ones(len(X), dtype=bool)
        with np.errstate(all="ignore"):
            for parts, rule in self._rules:
                if isinstance(rule, LinearBlock):
                    kept, doubtful = rule(batch)
                else:
                    truth, unsure = rule(batch)
                    kept, doubtful = (truth != FALSE)[:, None], unsure[:, None]
                for i, k in np.argwhere(doubtful & feasible[:, None]).tolist():
                    kept[i, k] = self._is_kept(parts[k], X[i], active[i])
                feasible &= kept.all(axis=1)
        return feasible

    @cached_property
    def _rules(self) -> list[tuple[list[Expression], Rule | LinearBlock]]:
        """The parts with their rules; linear parts over unconditional columns share one."""
        together: list[tuple[Expression, LinearRule]] = []
        others: list[Expression] = []
        for part in self._parts:
            linear = self._linear(part)
            if linear is None or any(self._columns[self._index[p]].parents for p in part.paths):
                others.append(part)
            else:
                together.append((part, linear))
        rules: list[tuple[list[Expression], Rule | LinearBlock]] = []
        if together:
            parts, linears = zip(*together, strict=True)
            rules.append((list(parts), LinearBlock(linears, self._index, self._reader)))
        return rules + [([part], self._rule(part)) for part in others]

    def _linear(self, node: Expression) -> LinearRule | None:
        """Return a comparison of sums of numeric columns, at least one; None for others."""
        if not all(self._reader.is_numeric(self._index[path]) for path in node.paths):
            return None
        linear = linear_rule(node)
        return linear if linear is not None and linear.total.weights else None

    def _is_kept(self, part: Expression, x: Array, active: Bools) -> bool:
        flat = {
            path: self._columns[j].domain.from_unit([x[j]])[0]
            for path in part.paths
            if active[j := self._index[path]]
        }
        return part.evaluate(flat) is not False

    def _rule(self, node: Expression) -> Rule:
        numeric = all(self._reader.is_numeric(self._index[path]) for path in node.paths)
        linear = self._linear(node)
        if linear is not None:
            return LinearRows(linear, self._index, self._reader)
        columns = [self._index[path] for path in node.paths]
        sizes = [self._reader.count(j) + 1 for j in columns]
        if math.prod(sizes) <= MAX_TABLE:
            return TableRows(node, columns, self._reader)
        if isinstance(node, Binary | Unary) and node.operation in LOGIC:
            return LogicRows(node.operation, [self._rule(side) for side in node.children()])
        if numeric and isinstance(node, IsIn | Binary):
            return NumberRows(node, self._index)
        return everything_in_doubt


def everything_in_doubt(batch: Batch) -> tuple[Truth, Bools]:
    """Leave all points to exact evaluation."""
    return np.full(batch.size, TRUE, dtype=np.int8), np.ones(batch.size, dtype=bool)


class LinearRows:
    """A comparison of weighted sums of numeric columns, some of which can be inactive."""

    def __init__(self, rule: LinearRule, index: dict[str, int], reader: ColumnReader) -> None:
        self._columns = [index[path] for path in rule.total.weights]
        self._block = LinearBlock([rule], index, reader)

    def __call__(self, batch: Batch) -> tuple[Truth, Bools]:
        """Return the truth and the doubtful points; see `Rule`."""
        holds, doubtful = self._block(batch)
        truth = np.where(holds[:, 0], TRUE, FALSE).astype(np.int8)
        known = batch.active(self._columns)
        if known is None:
            return truth, doubtful[:, 0]
        truth[~known] = NOT_KNOWN
        return truth, doubtful[:, 0] & known


class LinearBlock:
    """Several comparisons of weighted sums of numeric columns, computed as one matrix product."""

    def __init__(
        self, rules: Sequence[LinearRule], index: dict[str, int], reader: ColumnReader
    ) -> None:
        paths = dict.fromkeys(path for rule in rules for path in rule.total.weights)
        self._columns = [index[path] for path in paths]
        scaled = [_on_raw_numbers(rule, index, reader) for rule in rules]
        self._weights = np.array(
            [[_as_float(row.get(j, 0)) for row, _, _ in scaled] for j in self._columns]
        )
        self._constants = np.array([_as_float(constant) for _, constant, _ in scaled])
        self._exact = np.array([exact for _, _, exact in scaled])
        self._operations = [rule.operation for rule in rules]
        self._tolerance = EPSILON * (len(self._columns) + 4)

    def __call__(self, batch: Batch) -> tuple[Bools, Bools]:
        """Return whether each rule holds, and whether that is in doubt, both of shape (n, k)."""
        V = batch.numbers(self._columns)
        totals = V @ self._weights + self._constants
        holds = np.column_stack(
            [compared(op, totals[:, k]) for k, op in enumerate(self._operations)]
        )
        if self._exact.all():
            return holds, np.zeros_like(holds)
        sizes = np.abs(V) @ np.abs(self._weights) + np.abs(self._constants)
        return holds, ~(np.abs(totals) > self._tolerance * sizes) & ~self._exact


def _on_raw_numbers(
    rule: LinearRule, index: dict[str, int], reader: ColumnReader
) -> tuple[dict[int, Fraction], Fraction, bool]:
    """Return the weights by column, the constant, and whether floats compute the sum exactly."""
    weights, constant, reach = {}, rule.total.constant, Fraction(0)
    exact = True
    for path, weight in rule.total.weights.items():
        scale = reader.scale(index[path])
        weights[index[path]] = weight * scale.factor
        constant += weight * scale.offset
        reach += abs(weight * scale.factor) * scale.largest
        exact &= scale.exact
    common = math.lcm(*(part.denominator for part in (*weights.values(), constant)))
    if not exact or (reach + abs(constant)) * common >= 2**53:
        return weights, constant, False
    return {j: w * common for j, w in weights.items()}, constant * common, True


class TableRows:
    """An expression over few combinations of options, evaluated once for each."""

    def __init__(self, node: Expression, columns: Sequence[int], reader: ColumnReader) -> None:
        self._node, self._columns, self._reader = node, columns, reader

    def __call__(self, batch: Batch) -> tuple[Truth, Bools]:
        """Return the truth and the doubtful points; see `Rule`."""
        places = [batch.index(j) for j in self._columns]
        truth = self._table[tuple(places)] if places else np.repeat(self._table, batch.size)
        return truth, np.zeros(batch.size, dtype=bool)

    @cached_property
    def _table(self) -> Truth:
        """The truth by the indices of the options; the last index is for inactive parameters."""
        listed = [self._reader.values(j) for j in self._columns]
        table = np.empty([len(values) + 1 for values in listed], dtype=np.int8)
        for place in itertools.product(*(range(n) for n in table.shape)):
            flat = {
                path: values[i]
                for path, values, i in zip(self._node.paths, listed, place, strict=True)
                if i < len(values)
            }
            truth = self._node.evaluate(flat)
            table[place] = NOT_KNOWN if truth is None else TRUE if truth else FALSE
        return table


class LogicRows:
    """Conditions joined by ``and``, ``or`` or ``not``, in Kleene's three-valued logic."""

    def __init__(self, operation: str, sides: Sequence[Rule]) -> None:
        self._operation, self._sides = operation, sides

    def __call__(self, batch: Batch) -> tuple[Truth, Bools]:
        """Return the truth and the doubtful points; see `Rule`."""
        truths, doubts = zip(*(side(batch) for side in self._sides), strict=True)
        doubtful = np.logical_or.reduce(doubts)
        if self._operation == "not":
            return TRUE - truths[0], doubtful
        joined = np.minimum if self._operation == "and" else np.maximum
        return joined(*truths), doubtful


class NumberRows:
    """A comparison of arithmetic expressions, or a membership test of one."""

    def __init__(self, node: IsIn | Binary, index: dict[str, int]) -> None:
        self._node, self._index = node, index

    def __call__(self, batch: Batch) -> tuple[Truth, Bools]:
        """Return the truth and the doubtful points; see `Rule`."""
        node = self._node
        if isinstance(node, Binary):
            return self._compare(batch, node.operation, node.left, node.right)
        truth = np.full(batch.size, FALSE, dtype=np.int8)
        doubtful = np.zeros(batch.size, dtype=bool)
        for value in node.values:
            one, unsure = self._compare(batch, "==", node.inner, Literal(value))
            truth, doubtful = np.maximum(truth, one), doubtful | unsure
        return truth, doubtful

    def _compare(
        self, batch: Batch, operation: str, left: Expression, right: Expression
    ) -> tuple[Truth, Bools]:
        a, b = self._number(batch, left), self._number(batch, right)
        if operation not in COMPARISONS or a is None or b is None:
            return everything_in_doubt(batch)
        difference = binary("-", a, b)
        truth = np.where(compared(operation, difference.values), TRUE, FALSE).astype(np.int8)
        truth[~difference.known] = NOT_KNOWN
        unsure = ~(np.abs(difference.values) > difference.errors) & (difference.errors != 0)
        return truth, difference.doubtful | (unsure & difference.known)

    def _number(self, batch: Batch, node: Expression) -> Bounded | None:
        """Return the values of an expression; None if it has other operations than arithmetic."""
        if isinstance(node, P):
            return batch.bounded(self._index[node.path])
        if isinstance(node, Literal):
            return Bounded.constant(node.value, batch.size)
        if isinstance(node, Unary):
            inner = self._number(batch, node.inner)
            return None if inner is None else unary(node.operation, inner)
        if not isinstance(node, Binary) or node.is_condition:
            return None
        left, right = self._number(batch, node.left), self._number(batch, node.right)
        return None if left is None or right is None else binary(node.operation, left, right)


def compared(operation: str, difference: Array) -> Bools:
    """Return whether a comparison holds for each difference of its two sides."""
    function = {
        "==": np.equal,
        "!=": np.not_equal,
        "<=": np.less_equal,
        ">=": np.greater_equal,
        "<": np.less,
        ">": np.greater,
    }[operation]
    return np.asarray(function(difference, 0.0))


def _as_float(value: Fraction | int) -> float:
    """Return the nearest float; a number beyond all floats becomes infinite, which is in doubt."""
    try:
        return float(value)
    except OverflowError:
        return math.copysign(math.inf, value)
