"""The database of a store: its connections, and transactions on them."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from sqlalchemy import Connection, Engine, event

from tuner.errors import ArgumentError, StoreError
from tuner.tracking.database.connections import WRITING, empty_engine, make_engine
from tuner.tracking.database.failures import as_damage, as_store_errors
from tuner.tracking.database.file_monitor import FileMonitor
from tuner.tracking.database.forks import no_fork
from tuner.tracking.database.init_db import create, is_there
from tuner.tracking.database.location import Location
from tuner.tracking.database.postgres_queue import PATIENCE, postgres_turn
from tuner.tracking.database.write_queue import turn

ASKING_PATIENCE = 5.0
"""Seconds that a process may take to ask for trials before the others stop waiting for it."""


class _Turn(threading.local):
    """The open transaction of this thread's turn on PostgreSQL, which its calls may use."""

    connection: Connection | None = None
    used = 0.0

    def put(self, connection: Connection | None) -> None:
        self.connection, self.used = connection, time.monotonic()

    def take(self) -> Connection | None:
        """Return the connection, None if the server may end its transaction as idle."""
        connection, self.connection = self.connection, None
        return connection if time.monotonic() - self.used < PATIENCE / 2 else None


class Database:
    """Provides connections for reading and writing; creates the database at the first write."""

    def __init__(self, location: Location) -> None:
        self.location = location
        with as_store_errors(location):
            try:
                self._engine = make_engine(location)
            except (ValueError, TypeError) as error:
                raise ArgumentError(
                    f"store {location}: an option of the URL is wrong: {error}"
                ) from error
        self._monitor = _watched(self._engine, location)
        self._empty: Engine | None = None
        self._pid = os.getpid()
        self._in_turn = _Turn()
        self._abandoned: list[object] = []
        with as_store_errors(location):
            self._exists = is_there(self._engine, location)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Provide a connection that sees one snapshot; a store that does not exist yet is empty."""
        self._after_fork()
        self._notice_removal()
        if (of_turn := self._in_turn.take()) is not None:
            with as_damage(self.location), self._explained():
                yield of_turn
            self._in_turn.put(of_turn)
            return
        with (
            as_damage(self.location),
            self._explained(),
            self._no_fork(),
            self._engine_to_read().connect() as connection,
        ):
            if connection.dialect.name == "postgresql":
                # SQLite's transactions are always snapshots.
                connection = connection.execution_options(
                    isolation_level="REPEATABLE READ", postgresql_readonly=True
                )
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Provide a connection whose transaction is committed at the end, or rolled back."""
        self._after_fork()
        with self._explained():
            if not self._exists:
                create(self._engine, self.location)
                self._exists = True
            self._look(only_file=True)
            with self._turn(), self._no_fork(), self._transaction() as connection:
                if connection.dialect.name == "postgresql":
                    _plan_anew_as_it_grows(connection)
                yield connection
            self._look(wrote=True)

    def _no_fork(self) -> AbstractContextManager[None]:
        return nullcontext() if self.location.file is None else no_fork()

    def check_in_place(self) -> None:
        """Check that the open SQLite file is the one at its path; do nothing for servers.

        Raises
        ------
        StoreError
            If it was deleted, replaced or truncated.
        """
        self._look()

    def turn(self, study_id: int) -> AbstractContextManager[None]:
        """Wait for this process's turn to ask for trials of a study; see `Store.turn`."""
        file = self.location.file
        return (
            self._postgres_turn(study_id) if file is None else turn(file, study_id, ASKING_PATIENCE)
        )

    @contextmanager
    def _postgres_turn(self, study_id: int) -> Iterator[None]:
        with postgres_turn(self._engine, study_id) as connection:
            self._in_turn.put(connection)
            try:
                yield
            finally:
                self._in_turn.put(None)

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        """Provide a writing transaction; within a turn on PostgreSQL, the turn's transaction.

        Its commit then ends the turn too, and saves a connection's transaction of its own.
        """
        if (of_turn := self._in_turn.take()) is not None:
            with of_turn.get_transaction() or of_turn.begin():
                yield of_turn
            return
        with (
            self._engine.connect().execution_options(**{WRITING: True}) as connection,
            connection.begin(),
        ):
            yield connection

    def close(self) -> None:
        """Release the connections; they are reopened when needed."""
        self._after_fork()
        self._engine.dispose()
        if self._monitor is not None:
            self._monitor.forget()
        if self._empty is not None:
            self._empty.dispose()
            self._empty = None

    @property
    def exists(self) -> bool:
        """Whether the database has been created."""
        if not self._exists:
            self._exists = is_there(self._engine, self.location)
        return self._exists

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Translate database errors to `StoreError`; report a missing file first."""
        try:
            with as_store_errors(self.location):
                yield
        except StoreError as error:
            try:
                self._look()
            except StoreError as gone:
                raise gone from error
            raise

    def _look(
        self, *, wrote: bool = False, only_file: bool = False, only_if_written: bool = False
    ) -> None:
        if self._monitor is None or (only_if_written and not self._monitor.writes):
            return
        try:
            if only_file:
                self._monitor.check_file()
            else:
                self._monitor.check(wrote=wrote)
        except StoreError:
            # On close, SQLite writes its log into the file if that is still the one at its path.
            # Otherwise it leaves the log alone, which may belong to another store.
            self._engine.dispose()
            raise

    def _notice_removal(self) -> None:
        """Make a reader see the file that is now at the path; a removed file reads as empty.

        Raises
        ------
        StoreError
            If this process has written to the previous file.
        """
        file = self.location.file
        if file is None or self._monitor is None or not self._exists:
            return
        if self._monitor.is_elsewhere:
            self._look(only_file=True, only_if_written=True)
            self._engine.dispose()
            self._monitor.forget()
        self._exists = file.exists()

    def _turn(self) -> AbstractContextManager[None]:
        file = self.location.file
        return nullcontext() if file is None else turn(file)

    def _engine_to_read(self) -> Engine:
        if self.exists:
            return self._engine
        if self._empty is None:
            self._empty = empty_engine()
        return self._empty

    def _after_fork(self) -> None:
        """Abandon the parent's connections in a forked child: they cannot be shared."""
        if self._pid != os.getpid():
            self._pid = os.getpid()
            self._in_turn.put(None)
            # Kept, because garbage collection would close the connections, which affects the
            # parent.
            self._abandoned.append(self._engine.pool)
            self._engine.dispose(close=False)
            if self._monitor is not None:
                self._monitor.forget()


def _watched(engine: Engine, location: Location) -> FileMonitor | None:
    """Return the watcher that detects the removal of a SQLite file; None for a server."""
    if location.file is None:
        return None
    monitor = FileMonitor(location.file)
    event.listen(engine, "connect", lambda *_: monitor.opened())
    return monitor


def _plan_anew_as_it_grows(connection: Connection) -> None:
    """Discard PostgreSQL's plans at a connection's first write, second, fourth, and so on.

    PostgreSQL caches the plans of statements and of foreign-key checks for the life of a
    connection. Plans made while tables are empty scan a whole table or study until the table is
    next analyzed. In that minute a driver may write a hundred thousand trials, the last ones at a
    hundredth of the initial rate.
    """
    writes = connection.info["writes"] = connection.info.get("writes", 0) + 1
    if writes & (writes - 1) == 0:
        connection.exec_driver_sql("DISCARD PLANS")
