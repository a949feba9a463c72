"""Find names in a query that no record has, such as a misspelt parameter, and similar names."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, Table, literal, select

from tuner.errors import QueryError
from tuner.query.compiler import Compiler
from tuner.query.syntax import Field, Query
from tuner.records import decode_params
from tuner.search_spaces import Space
from tuner.tracking.schema import models, studies

LABELS = ("tags", "notes")
"""Groups of names that users add to records at any time, so that a new name is not an error."""

LISTED = 8
"""Number of known names in a message if none is similar."""

_TITLES: dict[tuple[str, ...], Any] = {("study",): studies.c.name, ("model",): models.c.name}
"""The fields with names of studies and models; ``name`` is one of these, too."""

_OWNERS = {"studies": "study", "runs": "run", "environments": "run"}
"""The record that has the names of a table; a trial for all other tables."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """A name that no record has. It is `certain` to be an error unless users may add it later."""

    error: QueryError
    certain: bool


def unknown_names(
    connection: Connection, compiler: Compiler, query: Query, study: str | None
) -> list[Unknown]:
    """Return each name that no record has, although others of its group exist.

    A name that is only compared with null may be missing everywhere.

    Parameters
    ----------
    connection
        A connection that reads one snapshot.
    compiler
        A compiler for the subject of the query.
    query
        A query that compiles.
    study
        The uid of the only study to search; None searches all studies.
    """
    subject = compiler.subject
    groups = {**subject.documents, **subject.trees}
    found = list(_unknown_titles(connection, compiler, query))
    for field in query.compared:
        group, *rest = field.path
        if group not in groups or not rest:
            continue
        column = groups[group]
        keys = tuple(rest) if group in subject.trees else (".".join(rest),)
        present = compiler.dialect.value(column, keys).present
        if connection.execute(_of(column, study, literal(1)).where(present).limit(1)).first():
            continue
        known = set(_known(connection, group, column, study))
        name = ".".join(rest)
        if known and name not in known:
            owner = _OWNERS.get(_table(column).name, "trial")
            problem = f"no {owner} has {field}; {_nearest(group, name, known)}"
            error = QueryError(compiler.text, field.position, problem)
            found.append(Unknown(error, group not in LABELS))
    return found


def _unknown_titles(connection: Connection, compiler: Compiler, query: Query) -> Iterator[Unknown]:
    """Yield the names of studies and models that a query asks for and that do not exist."""
    for field, title in query.equalities:
        column = _TITLES.get(field.path)
        if field.path == ("name",):
            column = models.c.name if "version" in compiler.subject.fields else studies.c.name
        if column is None or not isinstance(title.value, str):
            continue
        if connection.execute(select(column).where(column == title.value)).first():
            continue
        if known := list(connection.execute(select(column)).scalars()):
            kind = "study" if column.table is studies else "model"
            close = difflib.get_close_matches(title.value, known, n=3)
            hint = f"; did you mean {' or '.join(map(repr, close))}?" if close else ""
            problem = f"no {kind} is named {title.value!r}{hint}"
            yield Unknown(QueryError(compiler.text, title.position, problem), certain=False)


def _of(column: ColumnElement[Any], study: str | None, what: ColumnElement[Any]) -> Select[Any]:
    """Select from the table with a JSON column, within one study if given."""
    table = _table(column)
    query = select(what).select_from(table)
    if study is None:
        return query
    if table is studies:
        return query.where(studies.c.uid == study)
    if "study_id" not in table.c:
        return query
    row = select(studies.c.id).where(studies.c.uid == study).scalar_subquery()
    return query.where(table.c.study_id == row)


def _table(column: Any) -> Table:
    table: Table = column.table
    return table


def _known(
    connection: Connection, group: str, column: ColumnElement[Any], study: str | None
) -> Iterator[str]:
    """Yield the names of a group; names of params also where no trial has them yet."""
    if group == "params":
        for (space,) in connection.execute(_of(studies.c.space, study, studies.c.space)):
            if space:
                yield from (c.path for c in Space.from_dict(decode_params(space)).columns)
    rows = connection.execution_options(yield_per=1000).execute(
        _of(column, study, column).where(column.is_not(None))
    )
    for (stored,) in rows:
        yield from _paths(decode_params(stored))


def _paths(values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for name, value in values.items():
        yield f"{prefix}{name}"
        if isinstance(value, dict):
            yield from _paths(value, f"{prefix}{name}.")


def _nearest(group: str, name: str, known: set[str]) -> str:
    """Return a hint: similar names, names with the same end, or the first of all names."""
    last = name.rpartition(".")[2]
    close = [k for k in sorted(known) if k.casefold() == name.casefold()]
    near = difflib.get_close_matches(name, sorted(known), n=3)
    near += [k for k in sorted(known) if k.rpartition(".")[2].casefold() == last.casefold()]
    close = list(dict.fromkeys(close + near))
    shown = [str(Field((group, *each.split(".")))) for each in close or sorted(known)[:LISTED]]
    if close:
        return f"did you mean {' or '.join(shown[:3])}?"
    more = f" and {len(known) - LISTED} more" if len(known) > LISTED else ""
    return f"known: {', '.join(shown)}{more}"
