"""Maintenance of a store: integrity check, backup, and compaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, Select, func, select, text

from tuner.errors import ArgumentError, ChecksumMismatch, StoreError
from tuner.errors.boundary import public
from tuner.records import RunPurpose, State
from tuner.tracking import schema
from tuner.tracking.database.connections import make_engine
from tuner.tracking.database.location import DATABASE, Location, locate
from tuner.tracking.queries import FINISHED
from tuner.tracking.store import Store, open_store

COPIED = 5_000
"""Rows copied at a time."""


@dataclass(frozen=True, slots=True)
class Compacted:
    """The result of `compact`: values packed, and the bytes of the database before and after."""

    values: int
    before: int
    after: int


@public()
def check(store: str | Path | None = None, *, artifacts: bool = True) -> Iterator[str]:
    """Yield a description of each defect of a store; nothing if it is intact.

    The checks are the database's integrity check, the consistency of tuner's tables, and with
    `artifacts`, that the files equal the recorded ones byte for byte.

    Raises
    ------
    StoreError
        If the store does not exist, or cannot be read.
    """
    opened = _existing(store)
    with opened.reading() as connection:
        yield from _database_check(connection)
        for what, query in _PROMISES.items():
            count = connection.execute(query).scalar_one()
            if count:
                yield f"{count} {what}"
    if artifacts:
        yield from _artifact_check(opened)


@public()
def backup(to: str | Path, store: str | Path | None = None) -> Path:
    """Copy the database of a store into a new SQLite store at the folder `to`, as one snapshot.

    Other processes may write meanwhile. The copy of a PostgreSQL store is a SQLite store, too.
    Artifacts are not copied: copy their folder afterwards, as files in it never change.

    Raises
    ------
    ArgumentError
        If a store exists at `to`.
    StoreError
        If the store does not exist, or cannot be read.
    """
    opened = _existing(store)
    target = locate(Path(to))
    file = Path(to) / DATABASE
    if target.file != file.expanduser().absolute() or file.exists():
        raise ArgumentError(f"backup: there is a store at {to} already; write a new folder")
    source = locate(opened.url)
    if source.file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(source.file)) as ours, closing(sqlite3.connect(file)) as copy:
            ours.backup(copy)
            copy.execute("PRAGMA journal_mode=WAL")
    else:
        _copy_rows(opened, target)
    return file


@public()
def compact(store: str | Path | None = None) -> Compacted:
    """Pack the reports of all runs that have ended, and reclaim the space.

    SQLite returns the space to the disk. PostgreSQL keeps it for new rows, so other sessions are
    not blocked.

    Raises
    ------
    StoreError
        If the store does not exist, or cannot be written.
    """
    opened = _existing(store)
    before = _size(opened)
    values = sum(opened.pack_metrics(study.uid) for study in list(opened.studies()))
    engine = make_engine(locate(opened.url))
    # VACUUM cannot run in a transaction, and its changes stay in SQLite's log until a truncation.
    with closing(engine.raw_connection()) as raw:
        if engine.dialect.name == "postgresql":
            raw.driver_connection.autocommit = True  # type: ignore[union-attr]
            statements = ["VACUUM ANALYZE"]
        else:
            statements = ["VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)", "PRAGMA optimize"]
        cursor = raw.cursor()
        for statement in statements:
            cursor.execute(statement)
    engine.dispose()
    return Compacted(values, before, _size(opened))


def _existing(store: str | Path | None) -> Store:
    opened = open_store(store)
    if not opened.exists:
        raise StoreError(f"store not found at {opened}; the first write creates it")
    return opened


def _size(store: Store) -> int:
    """Return the size of the database in bytes."""
    file = locate(store.url).file
    if file is not None:
        return sum(p.stat().st_size for p in (file, Path(f"{file}-wal")) if p.exists())
    with store.reading() as connection:
        size = connection.execute(text("SELECT pg_database_size(current_database())"))
        return int(size.scalar_one())


def _database_check(connection: Connection) -> Iterator[str]:
    if connection.dialect.name != "sqlite":
        return  # PostgreSQL enforces foreign keys itself; page checksums are up to its operator
    for (line,) in connection.execute(text("PRAGMA integrity_check")):
        if line != "ok":
            yield f"SQLite: {line}"
    for row in connection.execute(text("PRAGMA foreign_key_check")):
        yield f"SQLite: a row of {row[0]} names one of {row[2]} that is not there"


def _promises() -> dict[str, Select[int]]:
    trials, runs = schema.trials, schema.runs
    ended = runs.c.state.in_(FINISHED)
    original = runs.c.purpose == RunPurpose.ATTEMPT
    of_trial = (runs.c.study_id == trials.c.study_id) & (runs.c.trial == trials.c.number) & original
    kept = select(runs.c.id).where(of_trial, runs.c.state == trials.c.state).exists()
    any_run = select(runs.c.id).where(of_trial).exists()
    completed = (
        select(runs.c.study_id, runs.c.trial)
        .where(runs.c.state.in_([State.COMPLETED.value, State.STOPPED.value]), original)
        .group_by(runs.c.study_id, runs.c.trial)
        .having(func.count() > 1)
        .subquery()
    )
    twice = (
        select(runs.c.study_id)
        .group_by(runs.c.study_id, runs.c.trial, runs.c.attempt)
        .having(func.count() > 1)
        .subquery()
    )
    count = select(func.count())
    return {
        "finished trials have runs, but none with their outcome": count.select_from(trials).where(
            trials.c.state.in_(FINISHED), any_run, ~kept
        ),
        "trials have more than one accepted outcome": count.select_from(completed),
        "attempts were made twice": count.select_from(twice),
        "finished trials have an attempt that is under way": count.select_from(trials).where(
            trials.c.state.in_(FINISHED), select(runs.c.id).where(of_trial, ~ended).exists()
        ),
    }


_PROMISES = _promises()


def _artifact_check(store: Store) -> Iterator[str]:
    for study in store.studies(deleted=True):
        for artifact in store.artifacts(study.uid):
            try:
                store.read_artifact(artifact)
            except (ChecksumMismatch, StoreError) as error:
                yield str(error)


def _copy_rows(source: Store, target: Location) -> None:
    """Copy every table, parents before the tables that reference them."""
    copy = Store(target)
    with source.reading() as reading, copy.writing() as writing:
        for table in schema.metadata.sorted_tables:
            stream = reading.execution_options(yield_per=COPIED).execute(select(table))
            for part in stream.mappings().partitions(COPIED):
                writing.execute(table.insert(), [dict(row) for row in part])
    copy.close()
