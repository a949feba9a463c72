"""The write of an ask or a tell as one statement of PostgreSQL.

Such a write is small, so separate statements would spend most of their time on round trips, with
the study locked meanwhile. The statement locks the study first, because the other parts select from
that part. Its snapshot may be older than the lock. It therefore checks trials only where PostgreSQL
looks at the latest version of a row: in the conditions of ON CONFLICT.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from sqlalchemy import (
    ARRAY,
    CTE,
    JSON,
    BigInteger,
    Boolean,
    ColumnElement,
    Connection,
    Double,
    FromClause,
    Integer,
    Table,
    Text,
    bindparam,
    cast,
    exists,
    func,
    or_,
    select,
    tuple_,
)

from tuner.tracking import leases, queries, schema, upserts
from tuner.tracking.batch import TrialStatus
from tuner.tracking.lease import LeaseOwner


def advance_and_write(
    connection: Connection,
    study_id: int,
    owner: LeaseOwner,
    trials: Sequence[Mapping[str, Any]],
    runs: Sequence[Mapping[str, Any]],
    expected: Mapping[int, TrialStatus | None] | None,
) -> tuple[int, int] | None:
    """Raise the epoch of a study, and write rows of trials and runs.

    Parameters
    ----------
    connection
        A connection to PostgreSQL with an open transaction.
    study_id
        The id of the study's row.
    owner
        The writer.
    trials, runs
        The rows, each trial and run once.
    expected
        The present state and attempts of each trial, by number; None for one that does not exist.
        None as a whole accepts any.

    Returns
    -------
    The new epoch, and the number of trials that were written. None if a driver may hold the study;
    then nothing is written.
    """
    sql, names, defaults = _statement()
    values: dict[str, Any] = {
        **defaults,
        "study_id": study_id,
        "host": owner.host,
        "pid": owner.pid,
        "process": owner.process,
        "study": study_id,
        "any": expected is None,
        **queries.places("postgresql", expected or {}),
    }
    for table, rows in ((schema.trials, trials), (schema.runs, runs)):
        columns = upserts.converted(connection.dialect, table, rows) if rows else {}
        values |= {f"{table.name}.{name}": columns.get(name, []) for name in _names(table)}
    found = connection.exec_driver_sql(sql, tuple(values[name] for name in names)).first()
    return None if found is None else (found[0], found[1])


@cache
def _statement() -> tuple[str, Sequence[str], Mapping[str, Any]]:
    """Return the statement as SQL for the driver, its parameters in order, and their defaults."""
    advanced = leases.advancing().cte("advanced")
    trials, known = schema.trials, queries.known_trials("postgresql")
    place = tuple_(trials.c.number, trials.c.state, trials.c.attempts)
    as_expected = or_(bindparam("any", type_=Boolean), place.in_(select(known)))
    new = _rows_of(trials)
    is_there = exists().where(
        trials.c.study_id == bindparam("study", type_=BigInteger),
        trials.c.number == new.c.number,
    )
    is_new = new.c.number.not_in(select(known.c.number).where(known.c.state.is_not(None)))
    written = _written(trials, new, advanced, as_expected, where=or_(is_there, is_new))
    count = select(func.count()).select_from(written).scalar_subquery()
    recorded = _written(schema.runs, _rows_of(schema.runs), advanced)
    statement = select(advanced.c.epoch, count).add_cte(recorded)
    compiled = upserts.compiled("postgresql", statement)
    return str(compiled), tuple(compiled.positiontup or ()), compiled.params


def _names(table: Table) -> list[str]:
    return [column.name for column in table.columns if column.name != "id"]


def _rows_of(table: Table) -> FromClause:
    """Return the new rows of a table: one parameter for each column, an array of its values."""
    arrays = [
        bindparam(
            f"{table.name}.{name}",
            type_=ARRAY(kind if isinstance(kind := table.c[name].type, Integer | Double) else Text),
        )
        for name in _names(table)
    ]
    new = func.unnest(*arrays).table_valued(*_names(table))
    return new.render_derived(name=f"new_{table.name}")


def _written(
    table: Table,
    new: FromClause,
    advanced: CTE,
    *also: ColumnElement[bool],
    where: ColumnElement[bool] | None = None,
) -> CTE:
    """Return the upsert of new rows of a table, if the epoch was advanced."""
    columns = [
        cast(new.c[name], JSON) if isinstance(table.c[name].type, JSON) else new.c[name]
        for name in _names(table)
    ]
    rows = select(*columns).where(exists(select(advanced.c.epoch)))
    if where is not None:
        rows = rows.where(where)
    upsert = upserts.unless_finished_in("postgresql", table, *also)
    return (
        upsert.from_select(_names(table), rows)
        .returning(table.c.study_id)
        .cte(f"written_{table.name}")
    )
