"""Read the first page of trials sorted by value from an index, without reading every trial.

Indexes on study, state and value yield the trials of one study in order. The first page of each
study is read: completed trials, then others with a value, then trials without. The pages are
merged.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection, Row, Select, and_, select, true

from tuner.query.compiler import Compiler
from tuner.query.fields import visible
from tuner.query.syntax import Query
from tuner.query.values import Expression
from tuner.records import State
from tuner.tracking.schema import studies, trials

LONGEST = 1000
"""Maximum number of rows of a page, including the rows skipped by OFFSET."""

MOST_STUDIES = 50
"""Maximum number of studies to read one by one; a store with more has small studies."""


def has_pages(query: Query) -> bool:
    """Return whether a query of trials has a small limit and sorts by value first."""
    return (
        query.limit is not None
        and query.limit + query.offset <= LONGEST
        and bool(query.order)
        and query.order[0].field.path == ("value",)
    )


def page(
    connection: Connection, compiler: Compiler, query: Query, study: str | None
) -> Sequence[Row[Any]] | None:
    """Return the rows of a page, or None if the store has more than `MOST_STUDIES` studies.

    Parameters
    ----------
    connection
        A connection that reads one snapshot.
    compiler
        A compiler for trials.
    query
        A query for which `has_pages` is true.
    study
        The uid of the only study to search; None searches all studies.
    """
    shown = visible(query) if study is None else [studies.c.uid == study]
    ids = select(studies.c.id).where(*shown).limit(MOST_STUDIES + 1)
    numbers = list(connection.execute(ids).scalars())
    if len(numbers) > MOST_STUDIES:
        return None
    assert query.limit is not None
    wanted = query.limit + query.offset
    keys = [key for each in query.order for key in compiler.keys(each)]
    read = _of_all if connection.dialect.name == "postgresql" else _one_by_one
    found: list[Row[Any]] = []
    value, completed = trials.c.value, trials.c.state == State.COMPLETED.value
    for part in (
        and_(completed, value.is_not(None)),
        and_(~completed, value.is_not(None)),
        value.is_(None),
    ):
        if len(found) < wanted:
            found += read(connection, _part(compiler, query, keys, part), numbers, wanted)
    if len(numbers) > 1:
        _sort(found, [descending for _, descending in keys])
    return found[query.offset : wanted]


def _one_by_one(
    connection: Connection, part: Select[Any], numbers: Sequence[int], n: int
) -> list[Row[Any]]:
    """Return the first `n` rows of each study."""
    found: list[Row[Any]] = []
    for number in numbers:
        found += connection.execute(part.where(trials.c.study_id == number).limit(n)).all()
    return found


def _of_all(
    connection: Connection, part: Select[Any], numbers: Sequence[int], n: int
) -> Sequence[Row[Any]]:
    """Return the first `n` rows of all studies in one PostgreSQL statement, to save round trips.

    The planner lacks statistics of JSON values, underestimates the number of matches, and would
    sort all of them instead of scanning the index. Sorting is therefore disabled. The inflated
    cost estimate would then trigger JIT compilation, which takes longer than the query itself, so
    JIT is disabled too.
    """
    connection.exec_driver_sql(
        "SELECT set_config('enable_sort', 'off', true), set_config('jit', 'off', true)"
    )
    study = studies.alias()
    rows = part.where(trials.c.study_id == study.c.id).limit(n).lateral()
    query = select(rows).select_from(study.join(rows, true())).where(study.c.id.in_(numbers))
    return connection.execute(query).all()


def _part(
    compiler: Compiler, query: Query, keys: list[tuple[Expression, bool]], part: Expression
) -> Select[Any]:
    """Return a part of the trials in the sort order of the query.

    Whether a trial is in the part, the first key, is the same for all of them.
    """
    value = trials.c.value
    statement = compiler.subject.rows.where(part).add_columns(
        *(key.label(f"key_{i}") for i, (key, _) in enumerate(keys))
    )
    if query.condition is not None:
        statement = statement.where(compiler.condition(query.condition))
    _, (_, descending), *others = keys
    # NULLS LAST is omitted: in a part, all rows have a value or none has, and the clause would
    # disable the index.
    first = [value.desc() if descending else value.asc()]
    rest = [(key.desc() if down else key.asc()).nulls_last() for key, down in others]
    return statement.order_by(*first, *rest, *compiler.subject.identity)


def _sort(rows: list[Row[Any]], descending: list[bool]) -> None:
    """Sort rows by their last columns, the sort keys; rows with a missing key come last."""
    rows.sort(key=lambda row: (row.study_id, row.number))
    for i, down in reversed(list(enumerate(descending))):
        place = i - len(descending)
        # Sorting is stable, also in reverse, so equal rows keep their order.
        some = [row for row in rows if row[place] is not None]
        some.sort(key=itemgetter(place), reverse=down)
        rows[:] = [*some, *(row for row in rows if row[place] is None)]
