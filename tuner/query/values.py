"""The SQL value of a field: a number, a string, a boolean, or, in JSON, any of these."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeAlias

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Double,
    Integer,
    case,
    exists,
    func,
    literal,
    select,
    true,
)
from sqlalchemy.sql.selectable import FromClause

Expression: TypeAlias = ColumnElement[Any]

_INT64 = 2**63


class Kind(StrEnum):
    """The type of a field, as worded in error messages."""

    NUMBER = "a number"
    TIME = "a time"
    DURATION = "a length of time in seconds"
    STRING = "a string"
    BOOLEAN = "a boolean"
    ANY = "any value"


@dataclass(frozen=True, slots=True)
class Value:
    """The SQL expressions of a field, one per type; each is NULL for values of another type.

    `boolean` is 1 or 0. `present` is never NULL. `options` are the allowed strings. `among` is set
    for a field with several values: a test holds if any of these rows passes it.
    """

    kind: Kind
    present: Expression
    number: Expression | None = None
    string: Expression | None = None
    boolean: Expression | None = None
    options: tuple[str, ...] = ()
    among: Callable[[Expression], Expression] | None = None

    @property
    def typed(self) -> list[tuple[type, Expression]]:
        """The available expressions, each with the Python type of its constants."""
        pairs = ((float, self.number), (str, self.string), (bool, self.boolean))
        return [(kind, expression) for kind, expression in pairs if expression is not None]


def number(column: Expression, kind: Kind = Kind.NUMBER) -> Value:
    """Return a numeric column as a field."""
    return Value(kind, column.is_not(None), number=column)


def string(column: Expression, options: tuple[str, ...] = ()) -> Value:
    """Return a string column as a field."""
    return Value(Kind.STRING, column.is_not(None), string=column, options=options)


def string_or_empty(column: Expression) -> Value:
    """Return a string column as a field in which an empty string counts as missing."""
    return string(func.nullif(column, literal("", column.type), type_=column.type))


def boolean(condition: Expression) -> Value:
    """Return a condition as a boolean field; the condition must never be NULL."""
    return Value(Kind.BOOLEAN, true(), boolean=case((condition, 1), else_=0))


def several(column: Expression, rows: FromClause, belongs: Expression) -> Value:
    """Return a multi-valued field: `column` of the `rows` for which `belongs` holds."""

    def among(condition: Expression) -> Expression:
        return exists(select(1).select_from(rows).where(belongs, condition))

    return Value(Kind.STRING, among(column.is_not(None)), string=column, among=among)


def as_number(value: float, beside: Expression) -> Expression:
    """Bind a number; compared with an integer column it stays an integer, so indexes apply."""
    if isinstance(beside.type, Integer) and isinstance(value, int) and abs(value) < _INT64:
        return literal(value, BigInteger)
    return literal(float(value), Double)
