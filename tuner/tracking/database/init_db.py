"""Detect whether a store exists and belongs to tuner, and create new stores."""

from __future__ import annotations

import os
import secrets
import sqlite3
import time
from pathlib import Path

from sqlalchemy import Connection, Engine, inspect, text

from tuner.errors import StoreCorrupt, StoreError, StoreReadOnly, StoreUnavailable, StoreVersion
from tuner.tracking import schema
from tuner.tracking.artifacts.file_failures import is_passing
from tuner.tracking.artifacts.files import NotRegular
from tuner.tracking.database.connections import LOCK_TIMEOUT, WRITING
from tuner.tracking.database.file_monitor import is_other_file, read_mark
from tuner.tracking.database.location import DEFAULT_FOLDER, Location, network_file_system

_SCHEMA_LOCK = 0x74756E6572
"""Key of PostgreSQL's advisory lock while tables are created or changed."""


def is_there(engine: Engine, location: Location, *, any_older: bool = False) -> bool:
    """Return whether the store exists; one of an older schema only counts if `any_older`.

    Raises
    ------
    StoreCorrupt
        If the database belongs to another program.
    StoreVersion
        If its schema is of another version.
    """
    if location.file is not None:
        is_database = _is_database(location.file)
        if is_database is None:
            return False
        if not is_database:
            raise StoreCorrupt(
                f"store {location} is no SQLite database; write another store=, "
                f"or restore the file from a copy"
            )
    with engine.connect() as connection:
        return check(connection, location, any_older=any_older)


def check(connection: Connection, location: Location, *, any_older: bool = False) -> bool:
    """Return whether the database has our tables; raises the same errors as `is_there`."""
    revision = read_revision(connection)
    if revision is None and (taken := _tables_in_the_way(connection, location)):
        # The tables may be ours, created between the two checks.
        revision = read_revision(connection)
        if revision is None:
            raise StoreCorrupt(
                f"store {location} is a database of another program, with the tables "
                f"{', '.join(taken[:5])}; write another store="
            )
    if revision is None:
        return False
    if revision == schema.REVISIONS[-1] or (any_older and revision in schema.REVISIONS):
        return True
    if revision in schema.REVISIONS:
        raise StoreVersion(
            f"store {location} has the older schema {revision}, this tuner works with "
            f"{schema.REVISIONS[-1]}; make a copy, then run: tuner db upgrade --store {location}"
        )
    raise StoreVersion(
        f"store {location} has the schema {revision} of a newer tuner, this one knows "
        f"{schema.REVISIONS[-1]}; run: pip install --upgrade tuner"
    )


def read_revision(connection: Connection) -> str | None:
    """Return the revision of the schema, None if the database has none."""
    if not inspect(connection).has_table(schema.VERSION_TABLE):
        return None
    found = connection.execute(text(f"SELECT version_num FROM {schema.VERSION_TABLE}")).scalar()
    return None if found is None else str(found)


def create(engine: Engine, location: Location) -> None:
    """Create the store, unless another process has just done so.

    Raises
    ------
    StoreReadOnly
        If its folder cannot be created.
    StoreError
        If a SQLite file would lie on a network file system.
    """
    if location.file is not None:
        _refuse_network(location.file)
        _make_folder(location.file.parent, location)
        _use_wal(engine)
    with (
        engine.connect().execution_options(**{WRITING: True}) as connection,
        connection.begin(),
    ):
        lock_schema(connection)
        if not check(connection, location):
            schema.create_tables(connection)
            _stamp(connection)
            mark(connection)


def mark(connection: Connection) -> None:
    """Give a SQLite file a random number in its header, which tells it from other stores."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql(f"PRAGMA user_version = {secrets.randbelow(2**31 - 1) + 1}")


def lock_schema(connection: Connection) -> None:
    """Wait until no other process creates or changes the tables; SQLite's writers always do."""
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SELECT pg_advisory_xact_lock({_SCHEMA_LOCK})"))


def _stamp(connection: Connection) -> None:
    # In the format of alembic, so that its upgrades find it.
    connection.execute(
        text(
            f"CREATE TABLE {schema.VERSION_TABLE} (version_num VARCHAR(32) NOT NULL, "
            f"CONSTRAINT {schema.VERSION_TABLE}_pkc PRIMARY KEY (version_num))"
        )
    )
    connection.execute(
        text(f"INSERT INTO {schema.VERSION_TABLE} VALUES (:revision)"),
        {"revision": schema.REVISIONS[-1]},
    )


def _is_database(file: Path) -> bool | None:
    """Return whether a file is a SQLite database; None if it is empty or missing."""
    try:
        return None if read_mark(file) is None else True
    except NotRegular as error:
        raise StoreCorrupt(f"store {error}; write another store=") from error
    except sqlite3.Error as error:
        if is_other_file(error):
            return False
        if not os.access(file, os.R_OK):
            raise StoreReadOnly(
                f"store file {file} cannot be read: {error}; give yourself the right to read and "
                f"write it, or write another store="
            ) from error
        return True  # damaged, or being written: the next access reports it
    except OSError as error:
        if is_passing(error):
            raise StoreUnavailable(
                f"store file {file} cannot be read just now: {error}; see that the disk works and "
                f"run the call again"
            ) from error
        raise StoreReadOnly(
            f"store file {file} cannot be read: {error}; give yourself the right to read and "
            f"write it, or write another store="
        ) from error


def _tables_in_the_way(connection: Connection, location: Location) -> list[str]:
    """Return the existing tables that conflict with ours."""
    tables = set(inspect(connection).get_table_names())
    return sorted(tables if location.file is not None else tables & set(schema.metadata.tables))


def _refuse_network(file: Path) -> None:
    """Raise if a SQLite file would lie on a file system without reliable locks."""
    kind = network_file_system(file)
    if kind is not None:
        raise StoreError(
            f"store file {file} would lie on a network file system ({kind}), where SQLite's locks "
            f"cannot be relied on; write a folder on a local disk, or a PostgreSQL URL"
        )


def _make_folder(folder: Path, location: Location) -> None:
    new = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if new and folder.name == DEFAULT_FOLDER:
            # The record of trials should not be committed to the surrounding repository.
            (folder / ".gitignore").write_text("*\n", encoding="utf-8")
    except OSError as error:
        if is_passing(error):
            raise StoreUnavailable(
                f"store {location} cannot be made just now: {error}; make room, or see that the "
                f"disk works, and run the call again"
            ) from error
        raise StoreReadOnly(
            f"store {location} cannot be made: {error}; "
            f"write a folder that can be written, such as store='./.tuner'"
        ) from error


def _use_wal(engine: Engine) -> None:
    """Turn on the write-ahead log, which is persistent: readers and the writer do not block."""
    deadline = time.monotonic() + LOCK_TIMEOUT
    while True:
        # The raw connection: the mode cannot be changed within a transaction, and SQLite does not
        # wait for the lock that the change takes.
        raw = engine.raw_connection()
        try:
            cursor = raw.cursor()
            cursor.execute("PRAGMA journal_mode=WAL")
            return
        except Exception as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        finally:
            raw.close()
