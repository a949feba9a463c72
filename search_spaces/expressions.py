"""Constraints as expressions over parameters, with evaluation and a textual form.

``P("min_leaf") <= P("min_split")`` builds a tree of `Expression` nodes. Conditions follow
three-valued logic (Kleene 1938): an expression with an inactive parameter is unknown, ``&``, ``|``
and ``~`` combine the three values, and an unknown constraint counts as satisfied. Arithmetic
without a result, such as division by zero, is also unknown. Values compare as in Python:
1 == 1.0 == True. Arithmetic is exact on the decimals as they are written, so 0.1 + 0.2 == 0.3; see
`tuner.search_spaces.arithmetic`.
"""

from __future__ import annotations

import keyword
import operator
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any, Final, NoReturn

from tuner.errors import SpaceError
from tuner.search_spaces.arithmetic import divide, exact, power, rounded
from tuner.search_spaces.values import is_scalar, leaves, plain

UNKNOWN: Final = object()
"""The value of an expression with an inactive parameter; distinct from the value None."""

_BINARY: dict[str, tuple[Callable[[Any, Any], Any], int]] = {
    "or": (operator.or_, 1),
    "and": (operator.and_, 2),
    "==": (operator.eq, 4),
    "!=": (operator.ne, 4),
    "<=": (operator.le, 4),
    ">=": (operator.ge, 4),
    "<": (operator.lt, 4),
    ">": (operator.gt, 4),
    "+": (operator.add, 5),
    "-": (operator.sub, 5),
    "*": (operator.mul, 6),
    "/": (divide, 6),
    "//": (operator.floordiv, 6),
    "%": (operator.mod, 6),
    "**": (power, 8),
}
"""Operator symbol to its function and its precedence, as in Python."""

COMPARISONS = frozenset({"==", "!=", "<=", ">=", "<", ">"})
ORDERINGS = frozenset({"<=", ">=", "<", ">"})
LOGIC = frozenset({"and", "or", "not"})
ARITHMETIC = frozenset({"+", "-", "*", "/", "//", "%", "**", "abs"})

_UNARY: dict[str, tuple[Callable[[Any], Any], int]] = {
    "not": (operator.not_, 3),
    "-": (operator.neg, 7),
    "abs": (abs, 10),
}


class Expression:
    """A node of an expression tree; built from `P` with operators, or by `parse_constraint`.

    Examples
    --------
    >>> rule = (P("a") + 2 * P("b") <= 10) | P("kind").isin(["x", "y"])
    >>> print(rule)
    a + 2 * b <= 10 or kind in ['x', 'y']
    >>> rule.evaluate({"a": 9, "b": 1, "kind": "z"})
    False
    >>> print(rule.evaluate({"b": 1}))
    None
    """

    precedence = 10

    def evaluate(self, flat: Mapping[str, Any]) -> Any:
        """Return the value for ``{path: value}`` of the active parameters; None if unknown."""
        value = self._value(flat)
        return None if value is UNKNOWN else rounded(value)

    def _value(self, flat: Mapping[str, Any]) -> Any:
        """Return the exact value; `UNKNOWN` if it depends on an inactive parameter."""
        raise NotImplementedError

    def children(self) -> tuple[Expression, ...]:
        """Return the direct child nodes."""
        return ()

    def walk(self) -> Iterator[Expression]:
        """Yield this node and all its descendants."""
        yield self
        for child in self.children():
            yield from child.walk()

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths of its parameters, in the order of first appearance."""
        return tuple(dict.fromkeys(n.path for n in self.walk() if isinstance(n, P)))

    @property
    def is_condition(self) -> bool:
        """Whether the expression evaluates to a boolean."""
        return False

    def same_as(self, other: object) -> bool:
        """Return whether both expressions have the same text; ``==`` builds a comparison."""
        return isinstance(other, Expression) and str(self) == str(other)

    def isin(self, values: Sequence[Any]) -> Expression:
        """Return the condition that the value is one of `values`."""
        return IsIn(self, tuple(values))

    def __bool__(self) -> NoReturn:
        raise SpaceError(
            f"constraint: {str(self)!r} has no truth value before it is evaluated; combine "
            f"conditions with & | ~ and parentheses instead of and, or, not, and write a chain "
            f"a < b < c as (a < b) & (b < c)"
        )

    __hash__ = None  # type: ignore[assignment]

    def __add__(self, other: Any) -> Expression:
        return Binary("+", self, other)

    def __radd__(self, other: Any) -> Expression:
        return Binary("+", other, self)

    def __sub__(self, other: Any) -> Expression:
        return Binary("-", self, other)

    def __rsub__(self, other: Any) -> Expression:
        return Binary("-", other, self)

    def __mul__(self, other: Any) -> Expression:
        return Binary("*", self, other)

    def __rmul__(self, other: Any) -> Expression:
        return Binary("*", other, self)

    def __truediv__(self, other: Any) -> Expression:
        return Binary("/", self, other)

    def __rtruediv__(self, other: Any) -> Expression:
        return Binary("/", other, self)

    def __floordiv__(self, other: Any) -> Expression:
        return Binary("//", self, other)

    def __rfloordiv__(self, other: Any) -> Expression:
        return Binary("//", other, self)

    def __mod__(self, other: Any) -> Expression:
        return Binary("%", self, other)

    def __rmod__(self, other: Any) -> Expression:
        return Binary("%", other, self)

    def __pow__(self, other: Any) -> Expression:
        return Binary("**", self, other)

    def __rpow__(self, other: Any) -> Expression:
        return Binary("**", other, self)

    def __neg__(self) -> Expression:
        return Unary("-", self)

    def __abs__(self) -> Expression:
        return Unary("abs", self)

    def __invert__(self) -> Expression:
        return Unary("not", self)

    def __and__(self, other: Any) -> Expression:
        return Binary("and", self, other)

    def __rand__(self, other: Any) -> Expression:
        return Binary("and", other, self)

    def __or__(self, other: Any) -> Expression:
        return Binary("or", self, other)

    def __ror__(self, other: Any) -> Expression:
        return Binary("or", other, self)

    def __eq__(self, other: object) -> Expression:  # type: ignore[override]
        return Binary("==", self, other)

    def __ne__(self, other: object) -> Expression:  # type: ignore[override]
        return Binary("!=", self, other)

    def __le__(self, other: Any) -> Expression:
        return Binary("<=", self, other)

    def __ge__(self, other: Any) -> Expression:
        return Binary(">=", self, other)

    def __lt__(self, other: Any) -> Expression:
        return Binary("<", self, other)

    def __gt__(self, other: Any) -> Expression:
        return Binary(">", self, other)

    def __repr__(self) -> str:
        return f"parse_constraint({str(self)!r})"


class P(Expression):
    """A parameter in an expression, by its path: ``P("C")``, ``P("model.svm.C")``."""

    def __init__(self, path: str) -> None:
        if not isinstance(path, str) or not path:
            raise SpaceError(
                f"constraint: P({path!r}): the path of a parameter must be a non-empty string"
            )
        self.path = path

    def _value(self, flat: Mapping[str, Any]) -> Any:
        return exact(flat.get(self.path, UNKNOWN))

    def __str__(self) -> str:
        return self.path if all(map(_is_name, self.path.split("."))) else f"P({self.path!r})"


class Literal(Expression):
    """A constant in an expression."""

    def __init__(self, value: Any) -> None:
        value = plain(value)
        for item in leaves(value):
            if not is_scalar(item):
                raise SpaceError(
                    f"constraint: {item!r} is a {type(item).__name__}; compare parameters with "
                    f"None, finite numbers, strings, booleans or tuples of these"
                )
        self.value = value
        self._exact = exact(value)
        if isinstance(value, int | float) and value < 0:
            self.precedence = _UNARY["-"][1]

    def _value(self, flat: Mapping[str, Any]) -> Any:  # noqa: ARG002 (a constant)
        return self._exact

    @property
    def is_condition(self) -> bool:
        """Whether the value is a boolean."""
        return isinstance(self.value, bool)

    def __str__(self) -> str:
        return repr(self.value)


class Unary(Expression):
    """``-a``, ``abs(a)`` or ``not a``."""

    def __init__(self, operation: str, inner: Any) -> None:
        self.operation = operation
        self.inner = _node(inner)
        self.precedence = _UNARY[operation][1]
        if (operation == "not") is not self.inner.is_condition and not isinstance(self.inner, P):
            raise SpaceError(
                f"constraint: {_SIGNS[operation]} cannot be applied to {str(self.inner)!r}"
            )

    def children(self) -> tuple[Expression, ...]:
        """Return the operand."""
        return (self.inner,)

    @property
    def is_condition(self) -> bool:
        """Whether the operation is ``not``."""
        return self.operation == "not"

    def _value(self, flat: Mapping[str, Any]) -> Any:
        value = self.inner._value(flat)
        if value is UNKNOWN or (self.operation in ARITHMETIC and not _is_number(value)):
            return UNKNOWN
        return _UNARY[self.operation][0](value)

    def __str__(self) -> str:
        if self.operation == "abs":
            return f"abs({self.inner})"
        space = " " if self.operation == "not" else ""
        return f"{self.operation}{space}{_bracketed(self.inner, self.precedence)}"


class Binary(Expression):
    """A binary operation: arithmetic, a comparison, ``and`` or ``or``."""

    def __init__(self, operation: str, left: Any, right: Any) -> None:
        self.operation = operation
        self.left, self.right = _node(left), _node(right)
        self.precedence = _BINARY[operation][1]
        for side in (self.left, self.right):
            fits = side.is_condition or isinstance(side, P)
            if operation in LOGIC and not fits:
                raise SpaceError(
                    f"constraint: {_SIGNS[operation]} combines conditions, but {str(side)!r} is "
                    f"not a condition; put parentheses around each comparison: "
                    f"(P('a') < 1) & (P('b') < 2)"
                )
            if operation not in LOGIC and operation not in ("==", "!=") and side.is_condition:
                raise SpaceError(
                    f"constraint: {operation} cannot be applied to the condition {str(side)!r}; "
                    f"combine conditions with & | ~"
                )

    def children(self) -> tuple[Expression, ...]:
        """Return both operands."""
        return (self.left, self.right)

    @property
    def is_condition(self) -> bool:
        """Whether the operation is a comparison or a logical one."""
        return self.operation in LOGIC or self.operation in COMPARISONS

    def _value(self, flat: Mapping[str, Any]) -> Any:
        left, right = self.left._value(flat), self.right._value(flat)
        if self.operation in LOGIC:
            decisive = self.operation == "or"  # one true side decides "or", one false side "and"
            if decisive in (left, right):
                return decisive
            return UNKNOWN if left is UNKNOWN or right is UNKNOWN else not decisive
        if left is UNKNOWN or right is UNKNOWN:
            return UNKNOWN
        if self.operation in ARITHMETIC and not (_is_number(left) and _is_number(right)):
            return UNKNOWN
        try:
            result = _BINARY[self.operation][0](left, right)
        except (ArithmeticError, TypeError, ValueError):
            return UNKNOWN
        return UNKNOWN if isinstance(result, complex) else result

    def __str__(self) -> str:
        # a - (b - c) needs its parentheses, (a - b) - c does not; ** associates to the right.
        tight = self.precedence + 1
        left, right = (
            (tight, self.precedence) if self.operation == "**" else (self.precedence, tight)
        )
        if self.operation in COMPARISONS:
            left = tight  # no chains
        return f"{_bracketed(self.left, left)} {self.operation} {_bracketed(self.right, right)}"


class IsIn(Expression):
    """A membership test: ``a in [x, y]``."""

    precedence = 4

    def __init__(self, inner: Any, values: tuple[Any, ...]) -> None:
        self.inner = _node(inner)
        if not values:
            raise SpaceError(
                f"constraint: {str(self.inner)!r}.isin([]) is never true; write at least one value"
            )
        self.values = tuple(Literal(value).value for value in values)
        self._exact = tuple(map(exact, self.values))

    def children(self) -> tuple[Expression, ...]:
        """Return the tested node."""
        return (self.inner,)

    @property
    def is_condition(self) -> bool:
        """Always True."""
        return True

    def _value(self, flat: Mapping[str, Any]) -> Any:
        value = self.inner._value(flat)
        return UNKNOWN if value is UNKNOWN else value in self._exact

    def __str__(self) -> str:
        return f"{_bracketed(self.inner, self.precedence + 1)} in {list(self.values)!r}"


_SIGNS = {"and": "&", "or": "|", "not": "~", "-": "-", "abs": "abs"}


def _node(value: Any) -> Expression:
    return value if isinstance(value, Expression) else Literal(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | Fraction)


def _is_name(part: str) -> bool:
    """Return whether Python parses a part of a path unchanged; it normalizes identifiers."""
    normal = unicodedata.normalize("NFKC", part) == part
    return normal and part.isidentifier() and not keyword.iskeyword(part)


def _bracketed(node: Expression, at_least: int) -> str:
    return str(node) if node.precedence >= at_least else f"({node})"
