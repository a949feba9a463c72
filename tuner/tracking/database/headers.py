"""Read the header of a SQLite file without opening the file ourselves.

POSIX drops all locks that a process has on a file as soon as the process closes any descriptor of
it. If we read the first bytes of a database, every connection of this process to it would lose its
locks, and the last process that closes it would delete the log of the others (SQLite, "How To
Corrupt An SQLite Database File", 2.2). SQLite handles this for its own descriptors, so we let
SQLite read.
"""

from __future__ import annotations

import os
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

from tuner.tracking.artifacts.files import check_regular

_SHORTEST = 512
"""Bytes of the smallest page of a SQLite database."""


def read_mark(file: Path) -> int | None:
    """Return the number that `creation.mark` wrote into the header of a SQLite file.

    The log is not read: the number is the one in the file itself, as of the last checkpoint.

    Returns
    -------
    int or None
        0 if the header has none; None if the file is missing or empty.

    Raises
    ------
    NotRegular
        If the path is not a regular file.
    sqlite3.DatabaseError
        If it is not a SQLite database, is shorter than its header states, or cannot be read.
    """
    try:
        found = os.stat(file)
    except (FileNotFoundError, NotADirectoryError):
        return None
    if stat.S_ISDIR(found.st_mode):
        return None
    check_regular(file, found.st_mode)
    if found.st_size == 0:
        return None
    if found.st_size < _SHORTEST:
        # SQLite would treat it as an empty database, and overwrite it.
        error = sqlite3.DatabaseError("file is not a database")
        error.sqlite_errorname = "SQLITE_NOTADB"
        raise error
    uri = f"{file.absolute().as_uri()}?mode=ro&immutable=1"
    with closing(sqlite3.connect(uri, uri=True)) as connection:
        (mark,) = connection.execute("PRAGMA user_version").fetchone()
    return int(mark)


def is_other_file(error: sqlite3.Error) -> bool:
    """Return whether an error means that a file is not a SQLite database."""
    return getattr(error, "sqlite_errorname", "").startswith("SQLITE_NOTADB")
