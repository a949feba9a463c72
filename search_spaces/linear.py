"""Linear constraints: the conjunctive parts of constraints, and their exact coefficients."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction

from tuner.search_spaces.arithmetic import exact
from tuner.search_spaces.expressions import (
    COMPARISONS,
    ORDERINGS,
    Binary,
    Expression,
    Literal,
    P,
    Unary,
)


@dataclass(frozen=True, slots=True)
class Sum:
    """A weighted sum of parameters: ``{path: coefficient}`` and a constant."""

    weights: dict[str, Fraction]
    constant: Fraction

    def plus(self, other: Sum, factor: Fraction) -> Sum:
        """Return this sum plus `factor` times another one."""
        weights = dict(self.weights)
        for path, weight in other.weights.items():
            weights[path] = weights.get(path, Fraction(0)) + factor * weight
        return Sum(weights, self.constant + factor * other.constant)


@dataclass(frozen=True, slots=True)
class LinearRule:
    """The constraint ``total operation 0``, where `operation` is a comparison."""

    total: Sum
    operation: str


def conjuncts(constraints: Iterable[Expression]) -> Iterator[Expression]:
    """Yield the parts of constraints; a point satisfies a constraint if it satisfies all parts.

    The parts are joined by ``&`` or by a negated ``|``, or bound an absolute value on both sides.

    Examples
    --------
    >>> [str(part) for part in conjuncts([(P("a") < P("b")) & (abs(P("b") - P("c")) <= 1)])]
    ['a < b', 'b - c <= 1', '-(b - c) <= 1']
    """
    for constraint in constraints:
        parts = _parts(constraint)
        if len(parts) == 1 and parts[0] is constraint:
            yield constraint
        else:
            yield from conjuncts(parts)


def _parts(node: Expression) -> tuple[Expression, ...]:
    """Return the parts of one constraint, with negations resolved; itself if it has none."""
    if isinstance(node, Unary) and node.operation == "not":
        return _negated(node.inner) or (node,)
    if not isinstance(node, Binary):
        return (node,)
    if node.operation == "and":
        return node.left, node.right
    small, large = (
        (node.left, node.right) if node.operation in ("<=", "<") else (node.right, node.left)
    )
    if node.operation in ORDERINGS and isinstance(small, Unary) and small.operation == "abs":
        operation = "<=" if "=" in node.operation else "<"
        return tuple(Binary(operation, side, large) for side in (small.inner, -small.inner))
    return (node,)


def _negated(node: Expression) -> tuple[Expression, ...]:
    """Return the parts of the negation of a condition; none if it lacks a simpler form."""
    if isinstance(node, Unary) and node.operation == "not":
        return (node.inner,)
    if isinstance(node, Binary) and node.operation == "or":
        return ~node.left, ~node.right
    if isinstance(node, Binary) and node.operation in _OPPOSITES:
        return (Binary(_OPPOSITES[node.operation], node.left, node.right),)
    return ()


_OPPOSITES = {"==": "!=", "!=": "==", "<": ">=", ">=": "<", ">": "<=", "<=": ">"}


def linear_rule(node: Expression) -> LinearRule | None:
    """Return a comparison of linear expressions as a `LinearRule`; None for other expressions.

    Examples
    --------
    >>> rule = linear_rule(2 * (P("a") - 0.1) <= P("b") / 4)
    >>> [(path, str(weight)) for path, weight in rule.total.weights.items()], rule.operation
    ([('a', '2'), ('b', '-1/4')], '<=')
    """
    if not isinstance(node, Binary) or node.operation not in COMPARISONS:
        return None
    left, right = _sum(node.left), _sum(node.right)
    if left is None or right is None:
        return None
    return LinearRule(left.plus(right, Fraction(-1)), node.operation)


def _sum(node: Expression) -> Sum | None:
    if isinstance(node, P):
        return Sum({node.path: Fraction(1)}, Fraction(0))
    if isinstance(node, Literal):
        value = exact(node.value)
        return Sum({}, Fraction(value)) if isinstance(value, int | Fraction) else None
    if isinstance(node, Unary) and node.operation == "-":
        return _scaled(_sum(node.inner), Fraction(-1))
    if isinstance(node, Binary):
        return _binary(node.operation, _sum(node.left), _sum(node.right))
    return None


def _binary(operation: str, left: Sum | None, right: Sum | None) -> Sum | None:
    if left is None or right is None:
        return None
    if operation in ("+", "-"):
        return left.plus(right, Fraction(1 if operation == "+" else -1))
    if operation == "*":
        factor, scaled = (left, right) if not left.weights else (right, left)
        return None if factor.weights else _scaled(scaled, factor.constant)
    if operation == "/" and not right.weights and right.constant:
        return _scaled(left, 1 / right.constant)
    return None


def _scaled(total: Sum | None, factor: Fraction) -> Sum | None:
    if total is None:
        return None
    weights = {path: factor * weight for path, weight in total.weights.items()}
    return Sum(weights, factor * total.constant)
