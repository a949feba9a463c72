"""INSERT ... ON CONFLICT, the same on SQLite and PostgreSQL."""

from __future__ import annotations

from functools import cache
from typing import TypeAlias

from sqlalchemy import Connection, String, Table, and_, literal_column
from sqlalchemy.dialects import postgresql, sqlite

from tuner.records import State
from tuner.tracking import schema

Insert: TypeAlias = sqlite.Insert | postgresql.Insert

# Literals, because the rows of an executemany are its only parameters.
_FINISHED = [literal_column(f"'{s.value}'", String) for s in State if s.finished]


def insert(connection: Connection, table: Table) -> Insert:
    """Return an INSERT that can be given an ON CONFLICT clause."""
    return _insert(connection.dialect.name, table)


def unless_finished(connection: Connection, table: Table) -> Insert:
    """Return an upsert that leaves a row alone once its state is final.

    Nor does an earlier attempt of a trial ever overwrite what a later one has begun.
    """
    return _unless_finished(connection.dialect.name, table)


def replacing(connection: Connection, table: Table) -> Insert:
    """Return an upsert that replaces what a row says."""
    return _replacing(connection.dialect.name, table)


def _insert(dialect: str, table: Table) -> Insert:
    return sqlite.insert(table) if dialect == "sqlite" else postgresql.insert(table)


@cache
def _unless_finished(dialect: str, table: Table) -> Insert:
    statement = _insert(dialect, table)
    allowed = [table.c.state != state for state in _FINISHED]
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
    """Return the columns by which a record is known outside."""
    if table is schema.runs:
        return ["uid"]
    return [c.name for c in table.primary_key]


def _others(table: Table, statement: Insert) -> dict[str, object]:
    keys = {"id", *_identity(table)}
    return {c.name: statement.excluded[c.name] for c in table.columns if c.name not in keys}
