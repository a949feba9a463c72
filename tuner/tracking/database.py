"""The database of a store: its connections, and transactions on them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from sqlalchemy import Connection, Engine

from tuner.errors import ArgumentError
from tuner.tracking.connections import WRITING, empty_engine, make_engine
from tuner.tracking.creation import create, is_there
from tuner.tracking.failures import as_damage, as_store_errors
from tuner.tracking.location import Location
from tuner.tracking.turns import turn


class Database:
    """Gives connections for reading and writing; makes the database at the first write."""

    def __init__(self, location: Location) -> None:
        self.location = location
        with as_store_errors(location):
            try:
                self._engine = make_engine(location)
            except (ValueError, TypeError) as error:
                raise ArgumentError(
                    f"store {location}: an option of the URL is wrong: {error}"
                ) from error
        self._empty: Engine | None = None
        self._pid = os.getpid()
        self._abandoned: list[object] = []
        with as_store_errors(location):
            self._exists = is_there(self._engine, location)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Give a connection that sees one snapshot; a store that is not there yet is empty."""
        self._after_fork()
        with (
            as_damage(self.location),
            as_store_errors(self.location),
            self._engine_to_read().connect() as connection,
        ):
            if connection.dialect.name == "postgresql":
                # SQLite's transactions are snapshots always.
                connection = connection.execution_options(
                    isolation_level="REPEATABLE READ", postgresql_readonly=True
                )
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Give a connection whose transaction is committed at the end, or rolled back."""
        self._after_fork()
        with as_store_errors(self.location):
            if not self._exists:
                create(self._engine, self.location)
                self._exists = True
            with (
                self._turn(),
                self._engine.connect().execution_options(**{WRITING: True}) as connection,
                connection.begin(),
            ):
                if connection.dialect.name == "postgresql":
                    _plan_anew_as_it_grows(connection)
                yield connection

    def close(self) -> None:
        """Release the connections; they are made again when needed."""
        self._after_fork()
        self._engine.dispose()
        if self._empty is not None:
            self._empty.dispose()
            self._empty = None

    @property
    def exists(self) -> bool:
        """Whether the database has been made."""
        if not self._exists:
            self._exists = is_there(self._engine, self.location)
        return self._exists

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
        """Leave the parent's connections alone in a forked child: they are not shared."""
        if self._pid != os.getpid():
            self._pid = os.getpid()
            # Kept, because a connection that is collected is closed, and that reaches the parent.
            self._abandoned.append(self._engine.pool)
            self._engine.dispose(close=False)


def _plan_anew_as_it_grows(connection: Connection) -> None:
    """Have PostgreSQL forget its plans at a connection's first write, second, fourth, and so on.

    It keeps those of statements and of checks of foreign keys for as long as the connection lasts.
    Made while tables are empty, they look through all of a table or of a study, until it is next
    analyzed: in that minute a driver may write a hundred thousand trials, the last ones at a
    hundredth of the rate of the first.
    """
    writes = connection.info["writes"] = connection.info.get("writes", 0) + 1
    if writes & (writes - 1) == 0:
        connection.exec_driver_sql("DISCARD PLANS")
