"""SQLAlchemy engines, configured for SQLite and PostgreSQL."""

from __future__ import annotations

import os
import sqlite3
import time
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.pool import ConnectionPoolEntry, NullPool, PoolProxiedConnection, StaticPool
from sqlalchemy.util import LRUCache

from tuner.errors import MissingExtra
from tuner.tracking.database.location import Location
from tuner.tracking.json_text import dumps, loads
from tuner.tracking.schema import create_tables

LOCK_TIMEOUT = 30.0
"""Seconds that a statement waits for another process's lock."""

PAUSE = 1.0
"""Seconds without use after which a connection to a server is checked before it is used again."""

WRITING = "tuner_writing"
"""Execution option of a connection whose transaction will write."""


class _Statements(LRUCache[Any, Any]):
    """Compiled statements that all SQLite stores of a process share.

    SQLAlchemy's keys begin with the dialect of one engine. Without a common cache, each store that
    is opened compiles the same statements again, which takes longer than to run them.
    """

    def get(self, key: Any, default: Any = None) -> Any:
        return super().get(key[1:], default)

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__(key[1:], value)


_STATEMENTS = {"compiled_cache": _Statements(500)}
"""Execution options of the engines for SQLite, whose dialects all have the same settings."""


def make_engine(location: Location) -> Engine:
    """Return an engine for the database of `location`; it connects when it is first used.

    Raises
    ------
    MissingExtra
        If the PostgreSQL driver is not installed.
    """
    if location.file is not None:
        return _sqlite(location, location.file)
    options = location.url.query.get("options", "")
    try:
        engine = create_engine(
            location.url.difference_update_query(["options"]),
            json_serializer=dumps,
            json_deserializer=loads,
            hide_parameters=True,
            max_overflow=-1,
            connect_args={"options": f"{options} -c lock_timeout={LOCK_TIMEOUT:.0f}s".strip()},
        )
    except ImportError as error:
        raise MissingExtra(
            f"store {location}: PostgreSQL needs a driver; write pip install 'tuner[postgres]'"
        ) from error
    event.listen(engine, "checkin", _note_use)
    event.listen(engine, "checkout", partial(_ping_after_a_pause, engine))
    return engine


def empty_engine() -> Engine:
    """Return an engine for an empty store, which stands in for a store that does not exist yet."""
    engine = create_engine(
        "sqlite://",
        json_serializer=dumps,
        json_deserializer=loads,
        poolclass=StaticPool,
        connect_args={"check_same_thread": False},
        execution_options=_STATEMENTS,
    )
    with engine.begin() as connection:
        create_tables(connection)
    return engine


def _sqlite(location: Location, file: Path) -> Engine:
    if file.exists() and not (os.access(file, os.W_OK) and os.access(file.parent, os.W_OK)):
        engine = create_engine(
            "sqlite://",
            json_serializer=dumps,
            json_deserializer=loads,
            hide_parameters=True,
            # A new connection for each read, as its mode depends on whether a writer is active.
            poolclass=NullPool,
            creator=partial(connect_to_read, file),
            execution_options=_STATEMENTS,
        )
    else:
        engine = create_engine(
            location.url,
            json_serializer=dumps,
            json_deserializer=loads,
            hide_parameters=True,
            # Each open stream holds a connection, so their number is not limited.
            max_overflow=-1,
            connect_args={"timeout": LOCK_TIMEOUT},
            execution_options=_STATEMENTS,
        )
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    return engine


def connect_to_read(file: Path) -> sqlite3.Connection:
    """Connect to a database without write permission on the file or its folder.

    While another process writes, SQLite's WAL files exist. Otherwise the database file is complete.
    """
    immutable = "" if Path(f"{file}-wal").exists() else "&immutable=1"
    uri = f"{file.absolute().as_uri()}?mode=ro{immutable}"
    return sqlite3.connect(uri, uri=True, timeout=LOCK_TIMEOUT, check_same_thread=False)


def _note_use(_: Any, record: ConnectionPoolEntry) -> None:
    record.info["used"] = time.monotonic()


def _ping_after_a_pause(
    engine: Engine, connection: Any, record: ConnectionPoolEntry, _: PoolProxiedConnection
) -> None:
    """Replace a connection that died while it was not in use.

    A connection in steady use is not checked, which saves a round trip per transaction. If it dies,
    its next statement raises `StoreUnavailable`, and SQLAlchemy discards the pool.
    """
    used = record.info.get("used")
    if used is None or time.monotonic() - used < PAUSE:
        return
    try:
        engine.dialect.do_ping(connection)
    except engine.dialect.loaded_dbapi.Error as error:
        raise InvalidatePoolError from error


def _prepare(connection: Any, _: Any) -> None:
    # Python's own transaction control (PEP 249) begins late and never IMMEDIATE; `_begin` does it.
    connection.isolation_level = None
    for pragma in ("synchronous=NORMAL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Connection) -> None:
    # A transaction that reads before it writes may have a stale snapshot; waiting cannot help then.
    writing = connection.get_execution_options().get(WRITING, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")
