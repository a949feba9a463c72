"""The write of an ask or a tell as one statement of PostgreSQL.

Such a write is small. Separate statements would spend most of their time on round trips, with the
study locked meanwhile.

The statement locks the study first, because its other parts select from that part. Its snapshot may
be older than the lock. It therefore checks trials in the conditions of ON CONFLICT, where
PostgreSQL looks at the latest version of a row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from sqlalchemy import (
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
    column,
    exists,
    func,
    or_,
    select,
    true,
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
    values = {
        **defaults,
        **leases.holding(study_id, owner),
        "any": expected is None,
        "trials": upserts.as_json(schema.trials, trials),
        "runs": upserts.as_json(schema.runs, runs),
        **queries.places(expected or {}),
    }
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
    # A trial that should exist, but does not, would not get into a conflict.
    is_there = exists().where(
        trials.c.study_id == bindparam("study_id", type_=BigInteger),
        trials.c.number == new.c.number,
    )
    is_new = new.c.number.not_in(select(known.c.number).where(known.c.state.is_not(None)))
    written = _written(trials, new, advanced, or_(is_there, is_new), as_expected)
    recorded = _written(schema.runs, _rows_of(schema.runs), advanced)
    count = select(func.count()).select_from(written).scalar_subquery()
    sql = upserts.compiled("postgresql", select(advanced.c.epoch, count).add_cte(recorded))
    return str(sql), tuple(sql.positiontup or ()), sql.params


def _written(
    table: Table,
    new: FromClause,
    advanced: CTE,
    condition: ColumnElement[bool] | None = None,
    *on_present: ColumnElement[bool],
) -> CTE:
    """Return the upsert of those new rows of a table that meet a condition.

    It writes none if the epoch was not advanced.
    """
    values = [cast(c, JSON) if isinstance(table.c[c.name].type, JSON) else c for c in new.columns]
    rows = select(*values).where(
        exists(select(advanced.c.epoch)), true() if condition is None else condition
    )
    upsert = upserts.unless_finished_in("postgresql", table, *on_present)
    upsert = upsert.from_select([c.name for c in new.columns], rows)
    return upsert.returning(table.c.study_id).cte(f"written_{table.name}")


def _rows_of(table: Table) -> FromClause:
    """Return the new rows of a table, which one parameter holds as JSON.

    With a parameter for each column, or a longer name, the statement would be too long for the
    cache of the driver.
    """
    columns = [
        column(c.name, c.type if isinstance(c.type, Integer | Double) else Text)
        for c in table.columns
        if c.name != "id"
    ]
    rows = func.json_to_recordset(cast(bindparam(table.name, type_=Text), JSON))
    return rows.table_valued(*columns).render_derived(name="n", with_types=True)
