"""The store on SQLite and PostgreSQL, through SQLAlchemy Core."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from operator import attrgetter, itemgetter
from pathlib import Path
from typing import Any, TypeVar, overload

from sqlalchemy import Column, Connection, Row, Select, Table, select, update

from tuner.errors import StoreError, StudyExists, StudyNotFound
from tuner.records import (
    Artifact,
    Code,
    Environment,
    Record,
    Report,
    Run,
    State,
    StudyInfo,
    Trial,
    Upload,
    decode_params,
)
from tuner.tracking import leases, queries, rows, schema, upserts
from tuner.tracking.artifacts import ArtifactFolder
from tuner.tracking.database import Database
from tuner.tracking.lease import Holder, Lease
from tuner.tracking.location import Location, locate
from tuner.tracking.protocol import Batch, Store

STREAMED = 1000
"""Rows fetched at a time by a read that streams."""

_LOOKED_UP = 500
"""Values in one IN (...); SQLite takes 32,766, older ones 999."""

_S = TypeVar("_S", bound=Store)
_R = TypeVar("_R", Trial, Run)

_number: Callable[[Trial], int] = attrgetter("number")
_uid: Callable[[Run], str] = attrgetter("uid")


@overload
def open_store(store: str | Path | None = None) -> SqlStore: ...
@overload
def open_store(store: _S) -> _S: ...
def open_store(store: str | Path | _S | None = None) -> SqlStore | _S:
    """Open the store that keeps the record of studies, trials and runs.

    Nothing is created before the first write: until then, a store that is not there reads as an
    empty one.

    Parameters
    ----------
    store
        A folder; an SQLAlchemy URL of SQLite or PostgreSQL; a SQLite file that is there; a store,
        which is returned as it is; or None for the environment variable ``TUNER_STORE``, else for
        the folder ``./.tuner``.

    Raises
    ------
    ArgumentError
        If `store` is none of these.
    StoreCorrupt, StoreVersion
        If what is there is no store of ours, or of another version of tuner.
    MissingExtra
        If the driver of PostgreSQL is not installed.

    Examples
    --------
    >>> import tempfile
    >>> store = open_store(tempfile.mkdtemp())
    >>> list(store.studies())
    []
    """
    if store is not None and not isinstance(store, str | os.PathLike) and isinstance(store, Store):
        return store
    return SqlStore(locate(store))


class SqlStore:
    """The `Store` protocol on a SQL database; see `open_store`.

    `clock` tells when leases lapse; None is the clock of the database.
    """

    def __init__(self, location: Location, clock: leases.Clock | None = None) -> None:
        self._database = Database(location)
        self._clock = clock
        self._files = ArtifactFolder(location.artifact_root)
        self._study_ids: dict[str, int] = {}
        self._codecs: dict[str, rows.ParamsCodec] = {}
        self._key_ids: dict[str, dict[str, int]] = {}
        self.url = location.url.render_as_string(hide_password=False)
        self.artifact_root = location.artifact_root

    def __str__(self) -> str:
        """Where the store is, to be shown: without a password."""
        return str(self._database.location)

    def __repr__(self) -> str:
        return f"<SqlStore {self}>"

    def reading(self) -> AbstractContextManager[Connection]:
        """Give a connection that sees one snapshot of the store.

        For the tables of others in the same database, such as the registry's.
        """
        return self._database.reading()

    def writing(self) -> AbstractContextManager[Connection]:
        """Give a connection whose transaction is committed at the end, or rolled back.

        SQLite takes the lock of the only writer at once, so what is read in it holds until the
        end. PostgreSQL runs it at READ COMMITTED: lock the rows that a decision rests on.
        """
        return self._database.writing()

    def close(self) -> None:
        """Release the connections; they are made again when needed."""
        self._database.close()

    # --- studies ------------------------------------------------------------------------------

    def create_study(self, info: StudyInfo) -> StudyInfo:
        """Record a study, or return the one that has its name already."""
        with self.writing() as connection:
            return rows.study_of(self._put_study(connection, info))

    def _put_study(self, connection: Connection, info: StudyInfo) -> Row[Any]:
        insert = upserts.insert(connection, schema.studies)
        connection.execute(insert.on_conflict_do_nothing(), rows.study_row(info))
        found = connection.execute(_studies().where(schema.studies.c.name == info.name)).first()
        if found is None:
            raise StoreError(
                f"store {self}: study {info.name!r} has the uid {info.uid} of another study"
            )
        return found

    def update_study(self, info: StudyInfo) -> None:
        """Replace what may change about a study: its optimizer, data fingerprint and tags."""
        changes = {k: rows.study_row(info)[k] for k in ("optimizer", "data", "tags")}
        with self.writing() as connection:
            table = schema.studies
            done = connection.execute(update(table).where(table.c.uid == info.uid).values(changes))
        if done.rowcount == 0:
            raise StudyNotFound(f"store {self} has no study {info.name!r} with uid {info.uid}")

    def find_study(self, name: str) -> StudyInfo | None:
        """Return the study of that name, None if there is none."""
        with self.reading() as connection:
            found = connection.execute(_studies().where(schema.studies.c.name == name)).first()
        return None if found is None else rows.study_of(found)

    def studies(self) -> Iterator[StudyInfo]:
        """Yield every study, oldest first."""
        for row in self._stream(_studies().order_by(schema.studies.c.id)):
            yield rows.study_of(row)

    # --- who writes a study -------------------------------------------------------------------

    def take_study(self, info: StudyInfo, holder: Holder, seconds: float) -> Lease:
        """Record a study if it is not there, and make `holder` the one who writes it.

        Raises
        ------
        StudyBusy
            If another driver holds it.
        StudyExists
            If another study has got its name meanwhile.
        """
        with self.writing() as connection:
            found = self._put_study(connection, info)
            lease = leases.take(
                connection, (found.id, found.uid, info.name), holder, seconds, self._clock
            )
            if found.uid != info.uid:
                raise StudyExists(
                    f"study {info.name!r} was made by another process just now; call again to go "
                    f"on with it, or give another name"
                )
        return lease

    def release_study(self, lease: Lease) -> None:
        """Give a study back, unless another driver has it by now."""
        with self.writing() as connection:
            leases.release(connection, self._study_id(connection, lease.study), lease)

    def study_epoch(self, study: str) -> int:
        """Return how often the study was taken; see `write_at`."""
        return self._lease_state(study)[0]

    def study_holder(self, study: str) -> Holder | None:
        """Return the process that holds the study now, None if there is none."""
        return self._lease_state(study)[1]

    def _lease_state(self, study: str) -> tuple[int, Holder | None]:
        with self.reading() as connection:
            return leases.current(connection, self._study_id(connection, study), self._clock)

    # --- trials and runs ----------------------------------------------------------------------

    def write(self, study: str, batch: Batch, lease: Lease | None = None) -> None:
        """Commit `batch` for the study with that uid, in one transaction.

        With a lease, only while it is still held, and it lasts from now on again; an empty batch
        does that alone.

        Raises
        ------
        StudyNotFound
            If no study has that uid.
        StudyTakenOver
            If another driver holds the study: nothing is written.
        """
        if not batch and lease is None:
            return
        with self.writing() as connection:
            study_id = self._study_id(connection, study)
            if lease is not None:
                leases.renew(connection, study_id, lease, self._clock)
            self._write(connection, study, batch)

    def write_at(self, study: str, batch: Batch, epoch: int, holder: Holder) -> int:
        """Commit `batch` if nobody has taken the study since `epoch`, and return the next epoch.

        Raises
        ------
        StudyTakenOver
            If another has written since: look again at what is there.
        StudyBusy
            If a driver holds the study.
        """
        with self.writing() as connection:
            which = (self._study_id(connection, study), study, self._name(connection, study))
            following = leases.advance(connection, which, epoch, holder, self._clock)
            self._write(connection, study, batch)
        return following

    def _write(self, connection: Connection, study: str, batch: Batch) -> None:
        if not batch:
            return
        study_id = self._study_id(connection, study)
        codec = self._codec(connection, study)
        self._write_trials(connection, study_id, codec, batch.trials)
        self._write_runs(connection, study_id, batch.runs)
        run_ids = self._run_ids(connection, batch)
        self._write_reports(connection, run_ids, batch.reports)
        self._write_artifacts(connection, run_ids, batch.artifacts)

    def trials(self, study: str, states: Sequence[State] | None = None) -> Iterator[Trial]:
        """Yield the trials of a study by number, only those in `states` if given."""
        with self.reading() as connection:
            try:
                read = rows.trial_reader(self._codec(connection, study))
            except StudyNotFound:
                return
            for row in connection.execution_options(yield_per=STREAMED).execute(
                queries.trials_of(study, states)
            ):
                yield read(row)

    def runs(self, study: str, trial: int | None = None) -> Iterator[Run]:
        """Yield the runs of a study, or of one trial of it, by trial and attempt."""
        for row in self._stream(queries.runs_of(study, trial)):
            yield rows.run_of(row)

    def reports(self, study: str, trial: int | None = None) -> Iterator[tuple[str, Report]]:
        """Yield ``(run uid, report)`` by run and step."""
        return _gathered(self._stream(queries.reports_of(study, trial)))

    def _write_trials(
        self,
        connection: Connection,
        study_id: int,
        codec: rows.ParamsCodec,
        trials: Iterable[Trial],
    ) -> None:
        values = [rows.trial_row(study_id, codec, t) for t in _settled(trials, _number)]
        if values:
            connection.execute(upserts.unless_finished(connection, schema.trials), values)

    def _write_runs(self, connection: Connection, study_id: int, runs: Iterable[Run]) -> None:
        runs = _settled(runs, _uid)
        if not runs:
            return
        codes = {r.code for r in runs if r.code}
        environments = {r.environment for r in runs if r.environment}
        key_ids = {
            **self._recorded(connection, schema.codes, codes),
            **self._recorded(connection, schema.environments, environments),
        }
        values = [rows.run_row(study_id, run, key_ids) for run in runs]
        connection.execute(upserts.unless_finished(connection, schema.runs), values)

    def _write_reports(
        self,
        connection: Connection,
        run_ids: dict[str, int],
        reports: Sequence[tuple[str, Report]],
    ) -> None:
        names = sorted({name for _, report in reports for name in report.metrics})
        if not names:
            return
        metric_ids = self._metric_ids(connection, names)
        values = {
            (run_ids[uid], report.step, metric_ids[name]): rows.number_or_null(value)
            for uid, report in reports
            for name, value in report.metrics.items()
        }
        connection.execute(
            upserts.replacing(connection, schema.reports),
            [
                {"run_id": run_id, "step": step, "metric_id": metric_id, "value": value}
                for (run_id, step, metric_id), value in sorted(values.items(), key=itemgetter(0))
            ],
        )

    def _write_artifacts(
        self, connection: Connection, run_ids: dict[str, int], artifacts: Iterable[Artifact]
    ) -> None:
        values = [rows.artifact_row(run_ids[a.run], a) for a in artifacts]
        if values:
            insert = upserts.insert(connection, schema.artifacts)
            connection.execute(insert.on_conflict_do_nothing(), values)

    # --- artifacts ----------------------------------------------------------------------------

    def artifacts(self, study: str, run: str | None = None) -> Iterator[Artifact]:
        """Yield the artifacts of a study, or of one run of it.

        Where a run kept another content under the same name later, that is what is yielded.
        """
        for row in self._stream(queries.artifacts_of(study, run)):
            yield rows.artifact_of(row)

    def put_artifact(self, run: str, upload: Upload) -> Artifact:
        """Write an upload's files, checksum them, and return what to record."""
        return self._files.put(run, upload)

    def read_artifact(self, artifact: Artifact) -> dict[str, bytes]:
        """Return an artifact's files by their relative paths.

        Raises
        ------
        ChecksumMismatch
            If they are not byte for byte what was recorded.
        """
        return self._files.read(artifact)

    # --- code and environment -----------------------------------------------------------------

    def put_code(self, code: Code) -> str:
        """Record `code` once and return its key."""
        key = _key(code)
        self._put_keyed(schema.codes, rows.code_row(key, code))
        return key

    def get_code(self, key: str) -> Code:
        """Return the code with that key."""
        return rows.code_of(self._get_keyed(schema.codes, key))

    def put_environment(self, environment: Environment) -> str:
        """Record `environment` once and return its key."""
        key = _key(environment)
        self._put_keyed(schema.environments, rows.environment_row(key, environment))
        return key

    def get_environment(self, key: str) -> Environment:
        """Return the environment with that key."""
        return rows.environment_of(self._get_keyed(schema.environments, key))

    def _put_keyed(self, table: Table, values: dict[str, Any]) -> None:
        with self.reading() as connection:
            if self._ids_of(connection, table, table.c.key, [values["key"]]):
                return
        with self.writing() as connection:
            insert = upserts.insert(connection, table)
            connection.execute(insert.on_conflict_do_nothing(), values)

    def _get_keyed(self, table: Table, key: str) -> Row[Any]:
        with self.reading() as connection:
            row = connection.execute(select(table).where(table.c.key == key)).first()
        if row is None:
            raise StoreError(f"store {self} has no row {key!r} in {table.name}")
        return row

    # --- looking up ---------------------------------------------------------------------------

    def _stream(self, query: Select[Any]) -> Iterator[Row[Any]]:
        with self.reading() as connection:
            yield from connection.execution_options(yield_per=STREAMED).execute(query)

    def _study_id(self, connection: Connection, uid: str) -> int:
        self._codec(connection, uid)
        return self._study_ids[uid]

    def _name(self, connection: Connection, uid: str) -> str:
        found = select(schema.studies.c.name).where(schema.studies.c.uid == uid)
        return str(connection.execute(found).scalar_one())

    def _codec(self, connection: Connection, uid: str) -> rows.ParamsCodec:
        """Return what translates the params of a study; a study's space never changes."""
        if uid not in self._codecs:
            table = schema.studies
            row = connection.execute(
                select(table.c.id, table.c.space).where(table.c.uid == uid)
            ).first()
            if row is None:
                raise StudyNotFound(f"store {self} has no study with uid {uid!r}")
            self._study_ids[uid] = row.id
            self._codecs[uid] = rows.ParamsCodec(decode_params(row.space))
        return self._codecs[uid]

    def _recorded(
        self, connection: Connection, table: Table, keys: Iterable[str]
    ) -> dict[str, int]:
        """Return the ids of codes or environments that must have been put before.

        They never change and never go, so each is looked up once.
        """
        known = self._key_ids.setdefault(table.name, {})
        if unknown := [key for key in keys if key not in known]:
            known |= self._ids_of(connection, table, table.c.key, unknown)
        for key in keys:
            if key not in known:
                raise StoreError(
                    f"store {self}: a run names {key!r} of {table.name}, which is not recorded; "
                    f"put it before the run"
                )
        return known

    def _metric_ids(self, connection: Connection, names: Sequence[str]) -> dict[str, int]:
        ids = self._ids_of(connection, schema.metrics, schema.metrics.c.name, names)
        new = [name for name in names if name not in ids]
        if new:
            insert = upserts.insert(connection, schema.metrics)
            connection.execute(insert.on_conflict_do_nothing(), [{"name": n} for n in new])
            ids = self._ids_of(connection, schema.metrics, schema.metrics.c.name, names)
        return ids

    def _run_ids(self, connection: Connection, batch: Batch) -> dict[str, int]:
        """Return the rows of the runs that a batch's reports and artifacts belong to."""
        uids = {uid for uid, _ in batch.reports} | {a.run for a in batch.artifacts}
        ids = self._ids_of(connection, schema.runs, schema.runs.c.uid, uids)
        for uid in uids:
            if uid not in ids:
                raise StoreError(
                    f"store {self}: run {uid!r} reports or keeps something, but is not recorded; "
                    f"write the run first"
                )
        return ids

    def _ids_of(
        self, connection: Connection, table: Table, column: Column[Any], values: Iterable[str]
    ) -> dict[str, int]:
        """Return the ids of the rows that have these values."""
        wanted = sorted(set(values))
        found: dict[str, int] = {}
        for start in range(0, len(wanted), _LOOKED_UP):
            part = wanted[start : start + _LOOKED_UP]
            query = select(column, table.c.id).where(column.in_(part))
            found |= {row[0]: row[1] for row in connection.execute(query)}
        return found


def _studies() -> Select[Any]:
    return select(schema.studies)


def _settled(records: Iterable[_R], key: Callable[[_R], Any]) -> list[_R]:
    """Return what is to be written of each trial or run: the last, but nothing after the end.

    In the order of their keys, because writers that take rows in the same order cannot deadlock.
    """
    settled: dict[Any, _R] = {}
    for record in records:
        known = settled.get(key(record))
        if known is None or not known.state.finished:
            settled[key(record)] = record
    return [settled[k] for k in sorted(settled)]


def _gathered(stream: Iterator[Row[Any]]) -> Iterator[tuple[str, Report]]:
    """Put the metrics of each run and step together again."""
    uid, step, metrics = "", 0, dict[str, float]()
    for row in stream:
        if metrics and (row.uid, row.step) != (uid, step):
            yield uid, Report(step, metrics)
            metrics = {}
        uid, step = row.uid, row.step
        metrics[row.name] = float("nan") if row.value is None else row.value
    if metrics:
        yield uid, Report(step, metrics)


def _key(record: Record) -> str:
    """Return what a record is known by: the hash of its content."""
    text = json.dumps(record.to_json(), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:32]
