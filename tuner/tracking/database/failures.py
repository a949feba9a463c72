"""Translate database errors into tuner's own errors."""

from __future__ import annotations

import os
import sqlite3
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.exc import DataError, DBAPIError, SQLAlchemyError

from tuner.errors import StoreCorrupt, StoreError, StoreReadOnly, StoreRefused, StoreUnavailable
from tuner.errors.boundary import translated
from tuner.errors.credentials import hide_in
from tuner.tracking.database import connections
from tuner.tracking.database.location import Location

_CORRUPT = {"SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_FORMAT"}
_READ_ONLY = {"SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM"}
_LOCKED = {"SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_PROTOCOL"}
_REFUSED = {"SQLITE_TOOBIG", "SQLITE_MISMATCH", "SQLITE_RANGE"}
_NO_ROOM = {"SQLITE_FULL", "SQLITE_IOERR"}

# PostgreSQL, appendix A: read_only_sql_transaction, insufficient_privilege; lock_not_available,
# serialization_failure, deadlock_detected; the classes of connection errors, operator intervention,
# insufficient resources (which includes a full disk) and system errors.
_PG_IDLE = "25P03"  # idle_in_transaction_session_timeout
_PG_READ_ONLY = {"25006", "42501"}
_PG_LOCKED = {"55P03", "40001", "40P01"}
_PG_AWAY = ("08", "28", "3D", "57P", "53", "58")

# The classes of data exceptions, and of limits of a row or an index.
_PG_REFUSED = ("22", "54")

_WRITER_LOCK = 120
"""The byte of the shared-memory file that the writer locks (SQLite, "WAL-mode File Format")."""


@contextmanager
def as_damage(location: Location) -> Iterator[None]:
    """Raise `StoreCorrupt` for the errors of code that decodes rows of a damaged store."""
    with translated(f"store {location}", data=StoreCorrupt):
        yield


@contextmanager
def as_store_errors(location: Location) -> Iterator[None]:
    """Raise `StoreError`, with the store and the remedy, for the errors of the database."""
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error) as error:
        hide_in(error)
        raise _of_database(location, error) from error
    except UnicodeError as error:
        raise StoreRefused(
            f"store {location}: a text is not valid Unicode ({error}); names and texts of a "
            f"record are written as UTF-8"
        ) from error
    except (OverflowError, struct.error) as error:
        raise StoreRefused(
            f"store {location}: a number is too large for its column ({error}); "
            f"steps and trial numbers take 64 bits"
        ) from error


def _of_database(location: Location, error: SQLAlchemyError | sqlite3.Error) -> StoreError:
    """Return the `StoreError` for an error of SQLAlchemy or SQLite."""
    if isinstance(error, sqlite3.Error):
        return _of_sqlite(location, error)
    if isinstance(error, DataError):
        return _refused(location, error.orig or error)
    if isinstance(error, DBAPIError):
        return _of_driver(location, error.orig or error)
    if isinstance(ours := getattr(error, "orig", None), StoreError):
        return ours
    return StoreError(f"store {location}: {_line(error)}")


def was_idle(error: StoreError) -> bool:
    """Return whether PostgreSQL ended an uncommitted transaction because its client was idle."""
    cause = error.__cause__
    return isinstance(cause, DBAPIError) and getattr(cause.orig, "sqlstate", None) == _PG_IDLE


def _of_driver(location: Location, error: BaseException) -> StoreError:
    """Return the `StoreError` for an error of the driver."""
    if isinstance(error, sqlite3.Error):
        return _of_sqlite(location, error)
    state = getattr(error, "sqlstate", None)
    if type(error).__name__ in ("DataError", "ProgrammingError") and state is None:
        # The driver refused a value or the URL's options before the server received them.
        return StoreError(f"store {location}: {_line(error)}")
    if state in _PG_READ_ONLY:
        return StoreReadOnly(
            f"store {location} cannot be written: {_line(error)}; "
            f"give the user the right to write, or write another store="
        )
    if state in _PG_LOCKED:
        return StoreUnavailable(
            f"store {location} was locked for {connections.LOCK_TIMEOUT:.0f} s; "
            f"see which session holds it in pg_stat_activity"
        )
    if state is not None and state.startswith(_PG_REFUSED):
        return _refused(location, error)
    if state is None or state == _PG_IDLE or state.startswith(_PG_AWAY):
        return StoreUnavailable(
            f"store {location} cannot be reached: {_line(error)}; "
            f"check the URL, and that the server runs and has the database"
        )
    return StoreError(f"store {location}: {_line(error)}")


def _of_sqlite(location: Location, error: sqlite3.Error) -> StoreError:
    # Extended codes begin with the name of their primary code.
    code = "_".join(getattr(error, "sqlite_errorname", "").split("_")[:2])
    if code in _CORRUPT:
        return StoreCorrupt(
            f"store {location} is no SQLite database, or is damaged ({error}); "
            f"write another store=, or restore the file from a copy"
        )
    if code in _READ_ONLY:
        return StoreReadOnly(
            f"store {location} cannot be written ({error}); "
            f"write a folder that can, such as store='./.tuner'"
        )
    if code in _LOCKED:
        return StoreUnavailable(
            f"store {location} was locked for {connections.LOCK_TIMEOUT:.0f} s by "
            f"{_lock_holder(location.file)}; end whatever holds it (a stopped tuner process, a "
            f"database browser, a copy) and run the call again"
        )
    if code in _REFUSED or str(error).startswith("Error binding parameter"):
        return _refused(location, error)
    if code in _NO_ROOM:
        return StoreUnavailable(
            f"store {location}: the disk is full or fails ({error}); make room and run the call "
            f"again"
        )
    return StoreError(f"store {location}: {error}")


def _refused(location: Location, error: BaseException) -> StoreRefused:
    return StoreRefused(
        f"store {location} cannot hold a value: {_line(error)}; record a smaller or plainer one"
    )


def _lock_holder(file: Path | None) -> str:
    """Return the holder of the writer's lock, if the system tells."""
    try:
        shared = os.stat(f"{file}-shm")
        locks = Path("/proc/locks").read_text(encoding="ascii").splitlines()
    except OSError:
        return "another process"
    for line in locks:
        # 1: POSIX  ADVISORY  WRITE 4711 08:01:123456 120 120
        _, *_, kind, pid, inode, first, last = line.split()
        covers = first == last == str(_WRITER_LOCK)
        if kind == "WRITE" and covers and inode.endswith(f":{shared.st_ino}"):
            return f"process {pid}"
    return "another process"


def _line(error: BaseException) -> str:
    """Return the first line of an error's message."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
