"""INSERT ... ON CONFLICT, the same on SQLite and PostgreSQL."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from itertools import chain
from typing import Any, TypeAlias

from sqlalchemy import (
    ARRAY,
    JSON,
    BindParameter,
    ClauseElement,
    ColumnElement,
    Connection,
    Dialect,
    Double,
    String,
    Table,
    and_,
    bindparam,
    func,
    literal_column,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql import psycopg
from sqlalchemy.sql.compiler import SQLCompiler

from tuner.tracking import schema
from tuner.tracking.json_text import dumps
from tuner.tracking.queries import FINISHED

Insert: TypeAlias = sqlite.Insert | postgresql.Insert

TOGETHER = 16
"""Rows in one statement for PostgreSQL, where several rows take about as long as one."""

# Literals, because an executemany takes no parameters besides its rows.
_FINISHED = [literal_column(f"'{state}'", String) for state in FINISHED]


def insert(connection: Connection, table: Table) -> Insert:
    """Return an INSERT that can be given an ON CONFLICT clause."""
    return _insert(connection.dialect.name, table)


def unless_finished(connection: Connection, table: Table) -> Insert:
    """Return an upsert that does not change a row once its state is final.

    An earlier attempt of a trial never overwrites a later one either.
    """
    return unless_finished_in(connection.dialect.name, table)


def replacing(connection: Connection, table: Table) -> Insert:
    """Return an upsert that replaces the values of a row."""
    return _replacing(connection.dialect.name, table)


def replacing_in(dialect: str, table: Table) -> Insert:
    """Return `replacing` for the dialect of that name."""
    return _replacing(dialect, table)


def write_rows(
    connection: Connection, table: Table, statement: Insert, rows: Sequence[Mapping[str, Any]]
) -> None:
    """Run an INSERT into a table for many rows, all with the same columns.

    SQLAlchemy's work for each row would take longer than the database's. Here rows are tuples, and
    values are converted column by column.
    """
    if not rows:
        return
    dialect = connection.dialect
    names = tuple(rows[0])
    columns: list[Iterable[Any]] = []
    for name in names:
        values = [row[name] for row in rows]
        convert = _conversions(dialect.name, table)[name]
        columns.append(values if convert is None else map(convert, values))
    tuples = list(zip(*columns, strict=True))
    at_once = TOGETHER if dialect.name == "postgresql" else 1
    whole = len(tuples) - len(tuples) % at_once
    if whole:
        parts = (tuples[start : start + at_once] for start in range(0, whole, at_once))
        sql = _by_place(dialect.name, statement, names, at_once)
        connection.exec_driver_sql(sql, [tuple(chain.from_iterable(part)) for part in parts])
    if whole < len(tuples):
        connection.exec_driver_sql(_by_place(dialect.name, statement, names), tuples[whole:])


def as_json(table: Table, rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows as JSON for PostgreSQL's function ``json_to_recordset``.

    The value of a JSON column is its text, because the function cannot decode a NUL within it.
    """
    converts = _to_json(table).items()
    return dumps(
        [{**row, **{name: convert(row[name]) for name, convert in converts}} for row in rows]
    )


@cache
def _to_json(table: Table) -> dict[str, Callable[[Any], Any]]:
    """Return the converters of the columns whose values JSON does not hold as they are."""
    numbers = [column.name for column in table.columns if isinstance(column.type, Double)]
    converts = _conversions("postgresql", table) | dict.fromkeys(numbers, _infinite_as_text)
    return {name: convert for name, convert in converts.items() if convert is not None}


def _infinite_as_text(value: float | None) -> float | str | None:
    return value if value is None or math.isfinite(value) else str(value)


def replace_values(
    connection: Connection, table: Table, rows: Sequence[tuple[int, int, int, float]]
) -> None:
    """Write rows of a key and a value, replacing the rows of the same key; NaN becomes NULL.

    Of several rows with one key, the last one counts. With hundreds of thousands of rows, a dict
    for each row would take more time than the database.
    """
    if not rows:
        return
    names = tuple(column.name for column in table.columns)
    if connection.dialect.name == "sqlite":
        # SQLite stores NaN as NULL, and takes one row after the other.
        sql = _by_place("sqlite", _replacing("sqlite", table), names)
        connection.exec_driver_sql(sql, list(rows))
        return
    latest = {row[:-1]: None if row[-1] != row[-1] else row[-1] for row in rows}
    # All writers lock rows in the same order, so they cannot deadlock.
    columns = zip(*((*key, latest[key]) for key in sorted(latest)), strict=True)
    arrays = dict(zip(names, map(list, columns), strict=True))
    connection.execute(_replacing_arrays(table), arrays)


@cache
def _by_place(dialect: str, statement: Insert, names: tuple[str, ...], rows: int = 1) -> str:
    """Return an INSERT as SQL for the driver, with positional parameters in this column order."""
    places: list[dict[str, BindParameter[Any]]] = [
        {name: bindparam(f"{name} {row}") for name in names} for row in range(rows)
    ]
    sql = compiled(dialect, statement.values(places))
    assert sql.positiontup == [place.key for row in places for place in row.values()]
    return str(sql)


def compiled(dialect: str, statement: ClauseElement) -> SQLCompiler:
    """Return a statement as SQL for the driver, with positional parameters."""
    sql = statement.compile(dialect=_dialect(dialect))
    assert isinstance(sql, SQLCompiler)
    return sql


@cache
def _dialect(name: str) -> Dialect:
    speaks: Callable[..., Dialect] = sqlite.dialect if name == "sqlite" else psycopg.dialect
    return speaks(paramstyle="qmark" if name == "sqlite" else "format")


@cache
def _conversions(dialect: str, table: Table) -> dict[str, Callable[[Any], Any] | None]:
    """Return the converters from a column's values to the driver's, None if none is needed."""
    speaks = _dialect(dialect)
    return {
        column.name: _json_or_null
        if isinstance(column.type, JSON)
        else column.type.dialect_impl(speaks).bind_processor(speaks)
        for column in table.columns
    }


def _json_or_null(value: Any) -> str | None:
    return None if value is None else dumps(value)


@cache
def _replacing_arrays(table: Table) -> Insert:
    """Return a statement for PostgreSQL that takes an array for each column."""
    arrays = [bindparam(c.name, type_=ARRAY(c.type)) for c in table.columns]
    names = [c.name for c in table.columns]
    rows = func.unnest(*arrays).table_valued(*names).render_derived()
    statement = postgresql.insert(table).from_select(names, select(*rows.columns))
    return statement.on_conflict_do_update(
        index_elements=_identity(table), set_=_others(table, statement)
    )


def _insert(dialect: str, table: Table) -> Insert:
    return sqlite.insert(table) if dialect == "sqlite" else postgresql.insert(table)


@cache
def unless_finished_in(dialect: str, table: Table, *also: ColumnElement[bool]) -> Insert:
    """Return `unless_finished` for the dialect of that name, with conditions on the present row."""
    statement = _insert(dialect, table)
    allowed = [*also, *(table.c.state != state for state in _FINISHED)]
    if table is schema.trials:
        allowed.append(statement.excluded.attempts >= table.c.attempts)
    return statement.on_conflict_do_update(
        index_elements=_identity(table),
        set_=_others(table, statement),
        where=and_(*allowed),
    )


@cache
def _replacing(dialect: str, table: Table) -> Insert:
    statement = _insert(dialect, table)
    return statement.on_conflict_do_update(
        index_elements=_identity(table), set_=_others(table, statement)
    )


def _identity(table: Table) -> list[str]:
    """Return the columns that identify a record outside the database."""
    if table is schema.runs:
        return ["uid"]
    return [c.name for c in table.primary_key]


def _others(table: Table, statement: Insert) -> dict[str, object]:
    keys = {"id", *_identity(table)}
    return {c.name: statement.excluded[c.name] for c in table.columns if c.name not in keys}
