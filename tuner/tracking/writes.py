"""Write the rows of a batch: one statement per table, in an order that cannot deadlock.

On PostgreSQL, one statement writes an ask or a tell. Such a write is small: separate statements
would spend most of their time on round trips, with the study locked meanwhile. The statement locks
the study first, because its other parts select from that part. Its snapshot may be older than the
lock. It therefore checks trials in the conditions of ON CONFLICT, where PostgreSQL looks at the
latest version of a row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from operator import attrgetter
from typing import Any, TypeVar

from sqlalchemy import (
    CTE,
    JSON,
    BigInteger,
    Boolean,
    Column,
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

from tuner.errors import StoreError
from tuner.records import Artifact, Report, Run, Trial
from tuner.records.bounds import check_length
from tuner.tracking import curves, leases, queries, rows, schema, upserts
from tuner.tracking.batch import Batch, TrialStatus
from tuner.tracking.lease import LeaseOwner

_R = TypeVar("_R", Trial, Run)

_number: Callable[[Trial], int] = attrgetter("number")
_uid: Callable[[Run], str] = attrgetter("uid")


@dataclass(frozen=True, slots=True)
class BatchWrite:
    """Writes batches of one study on a connection with an open transaction.

    Parameters
    ----------
    connection
        The connection; its transaction must be a writing one.
    store
        The store, whose text is its name in messages.
    study_id
        The id of the study's row.
    codec
        The codec of its params.
    known
        Ids of codes, environments and metrics by table and key. They never change, so each is
        looked up once.
    put
        Rows of codes and environments by table and key, to record again those that were collected
        as unused before this batch.
    """

    connection: Connection
    store: object
    study_id: int
    codec: rows.ParamsCodec
    known: dict[str, dict[str, int]] = field(default_factory=dict)
    put: Mapping[tuple[str, str], Mapping[str, Any]] = field(default_factory=dict)

    def write(self, batch: Batch) -> None:
        """Write all records of the batch."""
        for table, values in (
            (schema.trials, self._trial_rows(batch.trials)),
            (schema.runs, self._run_rows(batch.runs)),
        ):
            insert = upserts.unless_finished(self.connection, table)
            upserts.write_rows(self.connection, table, insert, values)
        self._write_reports_and_artifacts(batch)

    def write_if_epoch(
        self, batch: Batch, owner: LeaseOwner, expected: Mapping[int, TrialStatus | None] | None
    ) -> tuple[int, bool] | None:
        """Raise the study's epoch and write the batch, on PostgreSQL, in one round trip.

        Returns
        -------
        The new epoch, and whether each trial was as expected: if not, the transaction must be
        rolled back. None if a driver may hold the study; then nothing is written.
        """
        trials, runs = self._trial_rows(batch.trials), self._run_rows(batch.runs)
        done = advance_and_write(self.connection, self.study_id, owner, trials, runs, expected)
        if done is None:
            return None
        self._write_reports_and_artifacts(batch)
        epoch, written = done
        return epoch, written == len(trials)

    def _write_reports_and_artifacts(self, batch: Batch) -> None:
        run_ids = self._run_ids(batch)
        self._write_reports(run_ids, batch)
        self._write_artifacts(run_ids, batch.artifacts)

    def _trial_rows(self, trials: Iterable[Trial]) -> list[dict[str, Any]]:
        return [rows.trial_row(self.study_id, self.codec, t) for t in _settled(trials, _number)]

    def _run_rows(self, runs: Iterable[Run]) -> list[dict[str, Any]]:
        runs = _settled(runs, _uid)
        key_ids = {
            **self._recorded(schema.codes, {r.code for r in runs} - {""}),
            **self._recorded(schema.environments, {r.environment for r in runs} - {""}),
        }
        return [rows.run_row(self.study_id, run, key_ids) for run in runs]

    def _write_reports(self, run_ids: dict[str, int], batch: Batch) -> None:
        if not batch.reports:
            return
        metric_ids = self._metric_ids(batch.reports)
        # A run that ends in this batch, without earlier reports, is written directly as curves.
        ended = {run_ids[r.uid] for r in batch.runs if r.state.finished and r.uid in run_ids}
        whole = curves.without_any(self.connection, ended) if ended else set()
        series: dict[tuple[int, int], dict[int, float]] = {}
        points: list[tuple[int, int, int, float]] = []
        add = points.append
        for uid, report in batch.reports:
            run_id, step = run_ids[uid], report.step
            if run_id in whole:
                for name, value in report.metrics.items():
                    series.setdefault((run_id, metric_ids[name]), {})[step] = value
            else:  # the path of running trials: saving one function call per report matters
                for name, value in report.metrics.items():
                    add((run_id, step, metric_ids[name], value))
        curves.write(self.connection, series)
        upserts.replace_values(self.connection, schema.reports, points)

    def _write_artifacts(self, run_ids: dict[str, int], artifacts: Iterable[Artifact]) -> None:
        values = [rows.artifact_row(run_ids[a.run], a) for a in artifacts]
        if values:
            insert = upserts.insert(self.connection, schema.artifacts)
            self.connection.execute(insert.on_conflict_do_nothing(), values)

    # --- lookups ------------------------------------------------------------------------------

    def _recorded(self, table: Table, keys: Iterable[str]) -> dict[str, int]:
        """Return the ids of codes or environments, which must be recorded already."""
        known = self._looked_up(table, table.c.key, keys)
        again = [key for key in keys if key not in known and (table.name, key) in self.put]
        if again:
            insert = upserts.insert(self.connection, table).on_conflict_do_nothing()
            self.connection.execute(insert, [self.put[table.name, key] for key in again])
            known = {**known, **ids_of(self.connection, table, table.c.key, again)}
        for key in keys:
            if key not in known:
                raise StoreError(
                    f"store {self.store}: a run names {key!r} of {table.name}, which is not "
                    f"recorded; put it before the run"
                )
        return known

    def _metric_ids(self, reports: Sequence[tuple[str, Report]]) -> Mapping[str, int]:
        names = {name for _, report in reports for name in report.metrics}
        table = schema.metrics
        known = self._looked_up(table, table.c.name, names)
        new = sorted(names - known.keys())
        if not new:
            return known
        for name in new:
            check_length(name, "metric")
        insert = upserts.insert(self.connection, table)
        self.connection.execute(insert.on_conflict_do_nothing(), [{"name": n} for n in new])
        # Not cached yet: this transaction may still be rolled back.
        return {**known, **ids_of(self.connection, table, table.c.name, new)}

    def _looked_up(self, table: Table, column: Column[Any], keys: Iterable[str]) -> dict[str, int]:
        """Return the cached or queried ids of immutable rows; missing rows are left out."""
        known = self.known.setdefault(table.name, {})
        if unknown := [key for key in keys if key not in known]:
            known |= ids_of(self.connection, table, column, unknown)
        return known

    def _run_ids(self, batch: Batch) -> dict[str, int]:
        """Return the row ids of the runs that a batch's reports and artifacts belong to."""
        uids = {uid for uid, _ in batch.reports} | {a.run for a in batch.artifacts}
        ids = ids_of(self.connection, schema.runs, schema.runs.c.uid, uids)
        for uid in uids:
            if uid not in ids:
                raise StoreError(
                    f"store {self.store}: run {uid!r} reports or keeps something, but is not "
                    f"recorded; write the run first"
                )
        return ids


def ids_of(
    connection: Connection, table: Table, column: Column[Any], values: Iterable[str]
) -> dict[str, int]:
    """Return the ids of the rows that have these values in a column."""
    wanted = sorted(set(values))
    found: dict[str, int] = {}
    for is_one in queries.among(connection, column, wanted):
        query = select(column, table.c.id).where(is_one)
        found |= {row[0]: row[1] for row in connection.execute(query)}
    return found


def _settled(records: Iterable[_R], key: Callable[[_R], Any]) -> list[_R]:
    """Return the final record of each trial or run: the last one, but none after a finished one.

    The records are ordered by key, because writers that lock rows in the same order cannot
    deadlock.
    """
    settled: dict[Any, _R] = {}
    for record in records:
        known = settled.get(key(record))
        if known is None or not known.state.finished:
            settled[key(record)] = record
    return [settled[k] for k in sorted(settled)]


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
