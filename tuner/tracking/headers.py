"""Looks at a SQLite file without opening it ourselves.

POSIX drops all locks that a process has on a file as soon as the process closes any descriptor of
it. Reading the first bytes of a database would take away the locks of each connection that this
process has to it, and the last process that closes it would delete the log of the others (SQLite,
"How To Corrupt An SQLite Database File", 2.2). SQLite itself takes care of that for its own
descriptors, so it is SQLite that reads.
"""

from __future__ import annotations

import os
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

from tuner.tracking.regular_files import check_regular

_SHORTEST = 512
"""Bytes of the smallest page of a SQLite database."""


def read_mark(file: Path) -> int | None:
    """Return the number in the header of a SQLite file that `creation.mark` gave it.

    The log is left aside: this is what the file itself says, as of the last checkpoint.

    Returns
    -------
    int or None
        0 if it has none; None if there is no file, or an empty one.

    Raises
    ------
    NotRegular
        If there is something else than a file.
    sqlite3.DatabaseError
        If it is no SQLite database, is shorter than its header says, or cannot be read.
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
        # SQLite would take it for an empty database, and write over it.
        error = sqlite3.DatabaseError("file is not a database")
        error.sqlite_errorname = "SQLITE_NOTADB"
        raise error
    uri = f"{file.absolute().as_uri()}?mode=ro&immutable=1"
    with closing(sqlite3.connect(uri, uri=True)) as connection:
        (mark,) = connection.execute("PRAGMA user_version").fetchone()
    return int(mark)


def is_other_file(error: sqlite3.Error) -> bool:
    """Whether an error says that a file is no SQLite database."""
    return getattr(error, "sqlite_errorname", "").startswith("SQLITE_NOTADB")
