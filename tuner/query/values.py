"""The SQL value of a field: a number, a string, a boolean, or, in JSON, any of these.

Names and values are bound parameters. SQLite and PostgreSQL read the numbers in JSON columns as
doubles, infinities included, and treat NaN and null as missing.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain, product
from typing import Any, Protocol, TypeAlias

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Double,
    Integer,
    Text,
    and_,
    case,
    cast,
    exists,
    func,
    literal,
    literal_column,
    or_,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import JSON as POSTGRES_JSON
from sqlalchemy.sql.selectable import FromClause

from tuner.query.syntax import pattern_parts

Expression: TypeAlias = ColumnElement[Any]

INFINITY = float("inf")

TAGS = frozenset({"float", "base64", "tuple", "dict"})
"""Keys that `records` reserves; it stores an object with such a key below the key ``dict``."""

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


class Dialect(Protocol):
    """The SQL expressions that differ between SQLite and PostgreSQL."""

    def value(self, document: Expression, keys: tuple[str, ...]) -> Value:
        """Return the value at the path `keys` of a JSON column."""

    def any_positive(self, document: Expression) -> Expression:
        """Return whether a JSON object has a number above 0; never NULL."""

    def first(self, documents: Expression, key: str) -> Expression:
        """Return the string at `key` of the first object of a JSON list."""

    def matches(self, text: Expression, pattern: str) -> Expression:
        """Return whether a string matches a LIKE pattern, case-sensitively."""

    def sorted(self, text: Expression) -> Expression:
        """Return an expression that sorts a string by code points."""


def dialect_of(name: str) -> Dialect:
    """Return the dialect for SQLAlchemy's name of a database."""
    return Postgres() if name == "postgresql" else Sqlite()


class Sqlite:
    """JSON stored as text and read with SQLite's JSON1 functions."""

    def value(self, document: Expression, keys: tuple[str, ...]) -> Value:
        """Return the value at the path `keys` of a JSON column."""
        places = [_sqlite_place(document, path) for path in _places(keys)]
        kind, atom, mark = (
            parts[0] if len(parts) == 1 else func.coalesce(*parts)
            for parts in zip(*places, strict=True)
        )
        infinite = case((mark == "inf", INFINITY), (mark == "-inf", -INFINITY))
        present = case(
            (kind == "null", 0),
            (kind == "object", func.coalesce(mark != "nan", 1)),
            (kind.is_not(None), 1),
            else_=0,
        )
        return Value(
            Kind.ANY,
            present == 1,
            number=case(
                (kind.in_(["integer", "real"]), cast(atom, Double)),
                (kind == "object", infinite),
            ),
            string=case((kind == "text", cast(atom, Text))),
            boolean=case((kind == "true", 1), (kind == "false", 0)),
        )

    def any_positive(self, document: Expression) -> Expression:
        """Return whether a JSON object has a number above 0."""
        inner = func.coalesce(func.json_extract(document, "$.dict"), document)
        each = func.json_each(inner).table_valued("type", "atom", "value")
        infinite = and_(
            each.c.type == "object", func.json_extract(each.c.value, "$.float") == "inf"
        )
        positive = and_(each.c.type.in_(["integer", "real"]), each.c.atom > 0)
        return select(1).select_from(each).where(or_(positive, infinite)).exists()

    def first(self, documents: Expression, key: str) -> Expression:
        """Return the string at `key` of the first object of a JSON list."""
        return func.json_extract(documents, f"$[0].{key}", type_=Text())

    def matches(self, text: Expression, pattern: str) -> Expression:
        """Return whether a string matches a LIKE pattern; GLOB, as SQLite's LIKE ignores case."""
        signs = {"any": "*", "one": "?"}
        glob = "".join(
            signs.get(kind) or (f"[{c}]" if c in "*?[" else c) for kind, c in pattern_parts(pattern)
        )
        return text.op("GLOB", is_comparison=True)(literal(glob, text.type))

    def sorted(self, text: Expression) -> Expression:
        """Return the string itself: SQLite sorts by bytes."""
        return text


class Postgres:
    """JSON stored in columns of type json."""

    def value(self, document: Expression, keys: tuple[str, ...]) -> Value:
        """Return the value at the path `keys` of a JSON column."""
        places = [_below(_legible(document), path) for path in _places(keys)]
        found = places[0] if len(places) == 1 else func.coalesce(*places)
        kind, mark = func.json_typeof(found), found.op("->>")(literal("float", Text))
        atom = _unwrapped(found)
        return Value(
            Kind.ANY,
            case(
                (kind == "null", False),
                (kind == "object", func.coalesce(mark != "nan", True)),
                else_=kind.is_not(None),
            ),
            number=_postgres_number(kind, atom, mark),
            string=case((kind == "string", atom)),
            boolean=case((kind == "boolean", case((atom == "true", 1), else_=0))),
        )

    def any_positive(self, document: Expression) -> Expression:
        """Return whether a JSON object has a number above 0."""
        document = _legible(document)
        inner = func.coalesce(_below(document, ("dict",)), document)
        each = func.json_each(inner).table_valued("key", "value")
        value = cast(each.c.value, POSTGRES_JSON)
        mark = value.op("->>")(literal("float", Text))
        number = _postgres_number(func.json_typeof(value), _unwrapped(value), mark)
        return select(1).select_from(each).where(number > 0).exists()

    def first(self, documents: Expression, key: str) -> Expression:
        """Return the string at `key` of the first object of a JSON list."""
        first = _legible(documents).op("->", return_type=POSTGRES_JSON())(literal_column("0"))
        return _unwrapped(_below(first, (key,)))

    def matches(self, text: Expression, pattern: str) -> Expression:
        """Return whether a string matches a LIKE pattern."""
        signs = {"any": "%", "one": "_"}
        like = "".join(
            signs.get(kind) or (f"\\{c}" if c in "%_\\" else c)
            for kind, c in pattern_parts(pattern)
        )
        return text.like(literal(like, text.type), escape="\\")

    def sorted(self, text: Expression) -> Expression:
        """Return the string with the C collation, which sorts by bytes."""
        return cast(text, Text).collate("C")


def _places(keys: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Return the possible paths of a value: `records` wraps each object that has a reserved key."""
    steps = [[("dict", key)] if key in TAGS else [(key,), ("dict", key)] for key in keys]
    return [tuple(chain.from_iterable(way)) for way in product(*steps)]


# --- SQLite ---------------------------------------------------------------------------------------

# Older versions compare a key in a path with the escaped form of the key in JSON.
_IN_A_PATH = re.compile(r"[ !#-\[\]-~]*")


def _sqlite_place(
    document: Expression, keys: tuple[str, ...]
) -> tuple[Expression, Expression, Expression]:
    """Return the JSON type at a path, the value, and the value of its key ``float``."""
    *above, last = keys
    for key in above:
        document = _sqlite_object(document, key)
    if _IN_A_PATH.fullmatch(last):
        path = f'$."{last}"'
        return (
            func.json_type(document, path),
            func.json_extract(document, path),
            func.json_extract(document, f"{path}.float"),
        )
    each = func.json_each(document).table_valued("key", "type", "atom", "value")

    def found(column: Expression) -> Expression:
        return select(column).where(each.c.key == last).limit(1).scalar_subquery()

    marked = case((each.c.type == "object", func.json_extract(each.c.value, "$.float")))
    return found(each.c.type), found(each.c.atom), found(marked)


def _sqlite_object(document: Expression, key: str) -> Expression:
    """Return the object at a key of a document, or NULL."""
    if _IN_A_PATH.fullmatch(key):
        path = f'$."{key}"'
        return case((func.json_type(document, path) == "object", func.json_extract(document, path)))
    each = func.json_each(document).table_valued("key", "type", "value")
    return (
        select(each.c.value)
        .where(each.c.key == key, each.c.type == "object")
        .limit(1)
        .scalar_subquery()
    )


# --- PostgreSQL -----------------------------------------------------------------------------------

# After an even number of backslashes: NUL, or a lone surrogate.
_ILLEGIBLE = (
    r"(?<!\\)((?:\\\\)*)(?:\\u0000|\\ud[89ab][0-9a-f]{2}(?!\\ud[c-f])"
    r"|(?<!\\ud[89ab][0-9a-f]{2})\\ud[c-f][0-9a-f]{2})"
)
_LONGEST_NUMBER = 308
"""Maximum length of a number in characters; the largest double has 309 digits."""


def _legible(document: Expression) -> Expression:
    """Return a JSON column without the escapes that PostgreSQL rejects.

    They encode NUL and lone surrogates, which a PostgreSQL string cannot contain.
    """
    source = cast(document, Text)
    suspect = or_(func.strpos(source, r"\u0000") > 0, func.strpos(source, r"\ud") > 0)
    cleaned = func.regexp_replace(source, _ILLEGIBLE, r"\1\\ufffd", "g")
    return case((suspect, cast(cleaned, POSTGRES_JSON)), else_=document)


def _below(document: Expression, keys: tuple[str, ...]) -> Expression:
    for key in keys:
        document = document.op("->", return_type=POSTGRES_JSON())(literal(key, Text))
    return document


def _unwrapped(value: Expression) -> Expression:
    """Return a JSON scalar as text; a string loses its quotes."""
    return value.op("#>>", return_type=Text())(literal_column("'{}'::text[]"))


def _postgres_number(kind: Expression, atom: Expression, mark: Expression) -> Expression:
    """Return a JSON value as a double; an integer beyond the range of doubles is infinite."""
    beyond = case((func.strpos(atom, "-") > 0, -INFINITY), else_=INFINITY)
    double = case((func.length(atom) <= _LONGEST_NUMBER, cast(atom, Double)), else_=beyond)
    infinite = case((mark == "inf", INFINITY), (mark == "-inf", -INFINITY))
    return case((kind == "number", double), (kind == "object", infinite))
