"""A first-come, first-served queue of the processes that ask for trials, on PostgreSQL.

The queue is the wait queue of an advisory lock, which the server releases when its client dies. The
server ends the session of a client that is suspended, or that takes too long. As with SQLite, the
queue is only a courtesy: correctness does not depend on it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

SPACE = 0x7E5E5
"""First key of our advisory locks; the second key is the study."""

PATIENCE = 3.0
"""Seconds that a process may keep its turn before the server takes it away."""


@contextmanager
def postgres_turn(engine: Engine, study_id: int) -> Iterator[Connection | None]:
    """Wait for this process's turn; the others wait until the transaction or the block ends.

    Provide the connection whose open transaction holds the turn, None if the wait was given up.
    """
    connection = _queue(engine, study_id)
    try:
        yield connection
    finally:
        if connection is not None:
            _leave(connection)


def _queue(engine: Engine, study_id: int) -> Connection | None:
    """Return a connection that has the turn, None if the wait was given up."""
    connection: Connection | None = None
    try:
        connection = engine.connect()
        # One round trip: without parameters, PostgreSQL accepts several statements at once.
        connection.exec_driver_sql(
            f"SET LOCAL idle_in_transaction_session_timeout = {round(1e3 * PATIENCE)}; "
            f"SELECT pg_advisory_xact_lock({SPACE}, {study_id % 2**31})",
            execution_options={"no_parameters": True},
        )
    except SQLAlchemyError:
        # The commit that follows meets any such error again, and reports it.
        if connection is not None:
            _leave(connection)
        return None
    except BaseException:
        if connection is not None:
            connection.invalidate()
            connection.close()
        raise
    return connection


def _leave(connection: Connection) -> None:
    """Pass the turn to the next process."""
    with suppress(SQLAlchemyError):  # the server may have ended the session
        connection.rollback()
    with suppress(SQLAlchemyError):
        connection.close()
