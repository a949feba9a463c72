"""What a field of a query is in SQL: a number, a text, a truth, or, in JSON, any of them."""

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
    """What a field holds, as messages call it."""

    NUMBER = "a number"
    TIME = "a time"
    DURATION = "a length of time in seconds"
    STRING = "a string"
    BOOLEAN = "a boolean"
    ANY = "any value"


@dataclass(frozen=True, slots=True)
class Value:
    """The SQL expressions of a field: each is NULL where the field is of another type.

    `boolean` is 1 or 0. `present` is never NULL. `options` are the only texts that it can be.
    `among` is set where there are several: a test holds if one of these rows passes it.
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
        """The expressions that there are, each with the Python type of what it compares with."""
        pairs = ((float, self.number), (str, self.string), (bool, self.boolean))
        return [(kind, expression) for kind, expression in pairs if expression is not None]


def number(column: Expression, kind: Kind = Kind.NUMBER) -> Value:
    """Return a column of numbers."""
    return Value(kind, column.is_not(None), number=column)


def string(column: Expression, options: tuple[str, ...] = ()) -> Value:
    """Return a column of texts."""
    return Value(Kind.STRING, column.is_not(None), string=column, options=options)


def string_or_empty(column: Expression) -> Value:
    """Return a column of texts in which an empty one stands for none."""
    return string(func.nullif(column, literal("", column.type), type_=column.type))


def boolean(condition: Expression) -> Value:
    """Return a condition that is never NULL as a field."""
    return Value(Kind.BOOLEAN, true(), boolean=case((condition, 1), else_=0))


def several(column: Expression, rows: FromClause, belongs: Expression) -> Value:
    """Return the texts in `column` of those `rows` of which `belongs` is true."""

    def among(condition: Expression) -> Expression:
        return exists(select(1).select_from(rows).where(belongs, condition))

    return Value(Kind.STRING, among(column.is_not(None)), string=column, among=among)


def as_number(value: float, beside: Expression) -> Expression:
    """Return a number as a parameter; beside integers one stays an integer, so an index is used."""
    if isinstance(beside.type, Integer) and isinstance(value, int) and abs(value) < _INT64:
        return literal(value, BigInteger)
    return literal(float(value), Double)
