"""The store on SQLite and PostgreSQL, through SQLAlchemy Core."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from tuner.errors import StoreError, StudyJustCreated, StudyNotFound
from tuner.errors.credentials import remember
from tuner.records import (
    Artifact,
    Direction,
    Report,
    Run,
    RunPurpose,
    State,
    StudyInfo,
    Trial,
)
from tuner.tracking import curves, leases, queries, rows
from tuner.tracking.batch import Batch, Changes, TrialStatus
from tuner.tracking.database.location import Location, locate
from tuner.tracking.lease import Lease, LeaseOwner, new_lease_owner
from tuner.tracking.store_connection import STREAMED, StoreConnection
from tuner.tracking.study_rows import MUTABLE, StudyRows, find
from tuner.tracking.writes import BatchWrite

FIRST = 20
"""Rows fetched at a time by a read of which the first rows matter."""

DECODED = 100
"""Rows whose JSON is decoded at once.

With many more, the live objects trigger garbage collection so often that decoding gets slower.
"""


def open_store(store: str | Path | Store | None = None) -> Store:
    """Open the store that keeps the record of studies, trials and runs.

    Nothing is created before the first write. Until then, a store that does not exist reads as an
    empty one.

    Parameters
    ----------
    store
        A folder; an SQLAlchemy URL of SQLite or PostgreSQL; an existing SQLite file; a store,
        which is returned as it is; or None for the environment variable ``TUNER_STORE``, else for
        the folder ``./.tuner``.

    Raises
    ------
    ArgumentError
        If `store` is none of these.
    StoreCorrupt, StoreVersion
        If the database does not belong to tuner, or is of another version of tuner.
    MissingExtra
        If the PostgreSQL driver is not installed.

    Examples
    --------
    >>> import tempfile
    >>> store = open_store(tempfile.mkdtemp())
    >>> list(store.studies())
    []
    """
    return store if isinstance(store, Store) else Store(locate(store))


class Store(StoreConnection):
    """The record of studies, trials and runs, in SQLite or PostgreSQL; see `open_store`.

    Writes are short, come in batches and are idempotent: writing the same batch twice leaves the
    same store. Reads stream. Each method may be called from any thread of the process.

    Parameters
    ----------
    location
        The database and the artifact root.
    clock
        Decides when leases expire; None is the clock of the database.

    Raises
    ------
    StoreError
        Every method, when the record cannot be read or written; see its subclasses.
    """

    def __init__(self, location: Location, clock: leases.Clock | None = None) -> None:
        super().__init__(location)
        self._clock = clock
        self._studies = StudyRows(location)

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopened, (self._database.location, self._clock)

    # --- studies ------------------------------------------------------------------------------

    def create_study(self, info: StudyInfo) -> StudyInfo:
        """Record a study, or return the existing one of the same uid, or else of the same name.

        Raise `StudyNotFound` if the study with this uid was deleted.
        """
        with self.writing() as connection:
            return rows.study_of(self._studies.put(connection, info))

    def update_study(self, info: StudyInfo, fields: Collection[str] = MUTABLE) -> None:
        """Replace mutable parts of a study, by default all; the others keep their values."""
        with self.writing() as connection:
            self._studies.update(connection, info, fields)

    def find_study(self, name: str, uid: str = "") -> StudyInfo | None:
        """Return the study of that uid, or else of that name, or what remains of it; else None."""
        with self.reading() as connection:
            found = find(connection, name, uid)
            return None if found is None else rows.study_of(found)

    def studies(self, *, deleted: bool = False) -> Iterator[StudyInfo]:
        """Yield every study, oldest first; with `deleted`, what remains of deleted ones too."""
        yield from self._stream(queries.all_studies(deleted), rows.study_of)

    @contextmanager
    def exclusively(self, study: str) -> Iterator[tuple[Connection, int]]:
        """Provide a transaction, and the id of a study that no other process changes meanwhile.

        Raise `StudyBusy` if a driver holds the study, `StudyNotFound` if it was deleted.
        """
        with self.writing() as connection:
            self._advance(connection, study, new_lease_owner())
            yield connection, self._studies.key(connection, study).id

    # --- leases -------------------------------------------------------------------------------

    def acquire_lease(self, info: StudyInfo, owner: LeaseOwner, seconds: float) -> Lease:
        """Record a study if it does not exist, and make `owner` its writer.

        Raises
        ------
        StudyBusy
            If another driver holds it.
        StudyJustCreated
            If another study has taken its name in the meantime.
        """
        try:
            return self._acquire_lease(info, owner, seconds)
        except StoreError:
            # The lease may have been committed, with only the answer lost.
            leases.give_up(info.uid, owner)
            raise

    def _acquire_lease(self, info: StudyInfo, owner: LeaseOwner, seconds: float) -> Lease:
        with self.writing() as connection:
            found = self._studies.put(connection, info)
            lease = leases.take(
                connection, (found.id, found.uid, info.name), owner, seconds, self._clock
            )
            if found.uid != info.uid:
                raise StudyJustCreated(
                    f"study {info.name!r} was made by another process just now; call again to go "
                    f"on with it, or give another name"
                )
        return lease

    def release_lease(self, lease: Lease) -> None:
        """Release a study, unless another driver holds it by now.

        Raises
        ------
        StoreError
            If the store was deleted or replaced; see `check_in_place`.
        """
        leases.give_up(lease.study, lease.owner)
        with self.writing() as connection:
            leases.release(connection, self._studies.key(connection, lease.study).id, lease)
        self._check_artifacts()

    def study_epoch(self, study: str) -> int:
        """Return the number of times the study was taken; see `write_if_epoch`."""
        return self._lease_state(study)[0]

    def lease_owner(self, study: str) -> LeaseOwner | None:
        """Return the process that holds the study now, None if no process does."""
        return self._lease_state(study)[1]

    def _lease_state(self, study: str) -> tuple[int, LeaseOwner | None]:
        with self.reading() as connection:
            study_id = self._studies.key(connection, study).id
            return leases.current(connection, study_id, study, self._clock)

    # --- trials and runs ----------------------------------------------------------------------

    def write(self, study: str, batch: Batch, lease: Lease | None = None) -> None:
        """Commit `batch` for the study with that uid, in one transaction.

        With a lease, commit only if the lease is still held, and renew it. An empty batch only
        renews the lease.

        Raises
        ------
        StudyNotFound
            If no study has that uid, or it was deleted.
        StudyTakenOver
            If another driver holds the study: nothing is written.
        """
        if not batch and lease is None:
            return
        with self.writing() as connection:
            writer = self._writer(connection, study)
            if lease is None:
                name = self._studies.key(connection, study).name
                leases.check_exists(connection, writer.study_id, name)
            else:
                leases.renew(connection, writer.study_id, lease, self._clock)
            writer.write(batch)
        self._check_artifacts()

    def write_if_epoch(
        self,
        study: str,
        batch: Batch,
        epoch: int,
        owner: LeaseOwner,
        expected: Mapping[int, TrialStatus | None] | None = None,
    ) -> int:
        """Commit `batch` if the study has not been taken since `epoch`, and return the next epoch.

        For callers that write occasionally and hold no lease in between.

        With `expected`, other drivers may have written, as long as each trial of the batch, by
        number, is in the expected state; None stands for a trial that does not exist.

        Raises
        ------
        StudyTakenOver
            If another driver has written since: read the changes and try again.
        StudyBusy
            If a driver holds the study.
        """
        with leases.not_idle(), self.writing() as connection:
            writer = self._writer(connection, study)
            done = None
            if connection.dialect.name == "postgresql":
                done = writer.write_if_epoch(batch, owner, expected)
            if done is None:
                following = self._advance(connection, study, owner)
                unexpected = queries.unexpected(connection, writer.study_id, expected or {})
                as_expected = following == epoch + 1 or not connection.execute(*unexpected).first()
                writer.write(batch)
            else:
                following, as_expected = done
            if not as_expected or (expected is None and following != epoch + 1):
                raise leases.taken_over(connection, writer.study_id, epoch, self._clock)
        self._check_artifacts()
        return following

    def _advance(self, connection: Connection, study: str, owner: LeaseOwner) -> int:
        key = self._studies.key(connection, study)
        return leases.advance(connection, (key.id, study, key.name), owner, self._clock)

    def changes(self, study: str, after: int, known: Mapping[int, TrialStatus]) -> Changes:
        """Return the trials that are new to a reader; no others are read.

        Parameters
        ----------
        study
            Its uid.
        after
            The highest trial number that the reader knows.
        known
            The open trials that the reader knows, by number. Finished trials never change.
        """
        with self.reading() as connection:
            return self._changes(connection, study, after, known)

    def _changes(
        self, connection: Connection, study: str, after: int, known: Mapping[int, TrialStatus]
    ) -> Changes:
        key = self._studies.key(connection, study)
        read = rows.trial_reader(key.codec)
        query = queries.changes_of(connection, key.id, after, known)
        trials: list[Trial] = []
        epoch = None
        for part in connection.execute(*query).partitions(DECODED):
            epoch = leases.settled_epoch(*part[0][:2])
            found = [row[2:] for row in part if row[3] is not None]
            trials += map(read, rows.decoded(found))
        return Changes(epoch, sorted(trials, key=lambda trial: trial.number))

    def write_on(
        self,
        study: str,
        after: int,
        known: Mapping[int, TrialStatus],
        owner: LeaseOwner,
        decide: Callable[[Changes], Batch],
    ) -> int:
        """Read the `changes`, and commit the batch that `decide` returns, in one transaction.

        The study stays locked meanwhile, so the write cannot be refused. Return the next epoch.

        Raises
        ------
        StudyBusy
            If a driver holds the study.
        """
        with leases.not_idle(), self.writing() as connection:
            following = self._advance(connection, study, owner)
            found = self._changes(connection, study, after, known)
            batch = decide(replace(found, epoch=following - 1))
            self._writer(connection, study).write(batch)
        self._check_artifacts()
        return following

    def turn(self, study: str) -> AbstractContextManager[None]:
        """Wait for this process's turn to ask for trials of a study: first come, first served.

        Turns spare processes repeated work. A process that has died or hangs is skipped, so writes
        must still be checked.
        """
        key = self._studies.known(study)
        if key is None:
            with self.reading() as connection:
                key = self._studies.key(connection, study)
        return self._database.turn(key.id)

    def _writer(self, connection: Connection, study: str) -> BatchWrite:
        key = self._studies.key(connection, study)
        return BatchWrite(connection, self, key.id, key.codec, self._key_ids, self._put)

    def pack_metrics(self, study: str, runs: Sequence[str] | None = None) -> int:
        """Pack the reports of ended runs, all if None; return the number of metric values packed.

        Readers see no difference. See `tuner.tracking.curves`.
        """
        packed = 0
        with self.reading() as connection:
            ids = list(connection.execute(queries.loose_runs(study, runs)).scalars())
        for part in queries.in_parts(ids, curves.AT_ONCE):
            with self.writing() as connection:
                packed += curves.pack_metrics(connection, part)
        return packed

    def trials(
        self, study: str, states: Sequence[State] | None = None, *, number: int | None = None
    ) -> Iterator[Trial]:
        """Yield the trials of a study by number, only those in `states` or of `number` if given."""
        with self.reading() as connection:
            try:
                read = rows.trial_reader(self._studies.key(connection, study).codec)
            except StudyNotFound:
                return
            found = connection.execution_options(yield_per=STREAMED).execute(
                queries.trials_of(study, states, number)
            )
            for part in found.partitions(DECODED):
                yield from map(read, rows.decoded(part))

    def best_trials(self, study: str, direction: Direction) -> Generator[Trial, None, None]:
        """Yield the completed trials of a study that have a value, best first by their first value.

        Ties are ordered by number, earliest first.
        """
        with self.reading() as connection:
            try:
                key = self._studies.key(connection, study)
            except StudyNotFound:
                return
            read = rows.trial_reader(key.codec)
            query = queries.best_of(key.id, direction.sign)
            for row in connection.execution_options(yield_per=FIRST).execute(query):
                yield read(row)

    def runs(
        self, study: str, trial: queries.Trials = None, purpose: RunPurpose | None = None
    ) -> Iterator[Run]:
        """Yield the runs of a study, of trials of it or for a purpose, by trial and attempt."""
        yield from self._stream(queries.runs_of(study, trial, purpose), rows.run_of)

    def reports(self, study: str, trial: queries.Trials = None) -> Iterator[tuple[str, Report]]:
        """Yield ``(run uid, report)`` by run and step."""
        with self.reading() as connection:
            yield from curves.reports_of(connection, study, trial, STREAMED)

    def artifacts(
        self, study: str, run: str | None = None, trial: queries.Trials = None
    ) -> Iterator[Artifact]:
        """Yield the artifacts of a study, or of one run or trial of it.

        If a run kept several contents under one name, only the latest is yielded.
        """
        yield from self._stream(queries.artifacts_of(study, run, trial), rows.artifact_of)


def _reopened(location: Location, clock: leases.Clock | None) -> Store:
    """Return a store from a pickle; messages of this process hide its password from now on."""
    remember(location.url.render_as_string(hide_password=False))
    remember(location.artifact_url or "")
    return Store(location, clock)
