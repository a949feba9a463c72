"""Detect that an open SQLite database file was deleted, moved, replaced or overwritten.

A process keeps writing to a file that was deleted or replaced, and SQLite reports no error: the
record is lost when the process ends. The open file is therefore compared with its path around each
transaction that writes, and every few seconds while a session waits. A comparison takes a few
system calls.

The header of the file is read by SQLite and not by us. POSIX drops all locks that a process has on
a file as soon as the process closes any descriptor of it. If we read the first bytes of a database,
every connection of this process to it would lose its locks, and the last process that closes it
would delete the log of the others (SQLite, "How To Corrupt An SQLite Database File", 2.2). SQLite
handles this for its own descriptors.
"""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
import time
from contextlib import closing
from pathlib import Path

from tuner.errors import StoreError
from tuner.tracking.artifacts.files import check_regular

_GROWING = 1.0
"""Seconds for which a file may be shorter than its header states, while a checkpoint is written."""

_TRIES = 5
"""Complete checkpoints after which a file that cannot be read counts as damaged."""

Identity = tuple[int, int]
"""Device and inode."""


class FileMonitor:
    """Compares the SQLite file that connections have open with the file at its path.

    Parameters
    ----------
    file
        The database.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._path = os.fspath(file)
        self._lock = threading.Lock()
        self.forget()

    def forget(self) -> None:
        """Reset the state, after all connections were closed."""
        self._known: dict[str, Identity] = {}
        self._beside: dict[str, str] = {}
        self.writes = self._had_content = False
        self._mark = 0
        self._seen: tuple[int, int] | None = None

    @property
    def is_elsewhere(self) -> bool:
        """Whether the file at the path is missing or not the opened one."""
        with self._lock:
            return "" in self._known and _identity(self._path) != self._known[""]

    def opened(self) -> None:
        """Record the identity of the file that was just opened.

        Raises
        ------
        StoreError
            If this process has written to another file, which was at this path before.
        """
        with self._lock:
            found = _identity(self._path)
            if self.writes and found != self._known.get(""):
                raise self._error("was deleted or replaced")
            if found is not None:
                self._known[""] = found
                self._had_content = self._had_content or os.path.getsize(self._path) > 0
                # If the path is a link, SQLite keeps its other files beside the link's target.
                real = os.path.realpath(self._path)
                self._beside = {suffix: real + suffix for suffix in ("-wal", "-shm")}

    def check_file(self) -> None:
        """Compare the open database with the file at its path, but not the files beside it.

        Raises
        ------
        StoreError
            If it was deleted, replaced or truncated to nothing.
        """
        with self._lock:
            if "" in self._known:
                self._stat()

    def check(self, *, wrote: bool = False) -> None:
        """Compare the open files with the files at their paths.

        Parameters
        ----------
        wrote
            Whether a transaction was just committed: its files must then exist.

        Raises
        ------
        StoreError
            If the database or one of SQLite's files beside it was deleted, replaced or truncated.
        """
        with self._lock:
            if "" not in self._known:
                return
            self.writes = self.writes or wrote
            found = self._stat()
            if self.writes:
                self._check_beside()
                if (found.st_size, found.st_mtime_ns) != self._seen:
                    self._check_header()
                    self._seen = (found.st_size, found.st_mtime_ns)

    def _stat(self) -> os.stat_result:
        try:
            found = os.stat(self._path)
        except OSError as error:
            raise self._error("was deleted or moved away") from error
        if (found.st_dev, found.st_ino) != self._known[""]:
            raise self._error("was replaced by another file")
        if found.st_size == 0 and self._had_content:
            raise self._error("was truncated to 0 bytes")
        self._had_content = found.st_size > 0
        return found

    def _check_beside(self) -> None:
        """Check the log and the shared memory, which stay as long as a connection is open."""
        for suffix, path in self._beside.items():
            found = _identity(path)
            known = self._known.get(suffix)
            if known is None and found is not None:
                self._known[suffix] = found
            elif found != known:
                raise self._error(
                    f"has lost its file {self._file.name}{suffix}, which was deleted or replaced,"
                )

    def _check_header(self) -> None:
        """Check the header of the file, which has changed since the last check."""
        deadline = time.monotonic() + _GROWING
        complete = 0
        while True:
            try:
                mark = read_mark(self._file)
                break
            except (sqlite3.Error, OSError) as error:
                if isinstance(error, sqlite3.Error) and is_other_file(error):
                    raise self._error("was overwritten with something else") from error
                late = time.monotonic() > deadline
                finished = self._finish_checkpoint()
                complete += finished
                if late and not finished:
                    return  # another process still writes it: check again the next time
                if late and complete >= _TRIES:
                    raise self._error(f"was truncated or overwritten ({error})") from error
            time.sleep(0.05)
        if mark and self._mark and mark != self._mark:
            raise self._error("was overwritten with another store")
        self._mark = mark or self._mark

    def _finish_checkpoint(self) -> bool:
        """Write the log into the file; a process that was killed may have left it half written.

        Returns
        -------
        bool
            False if another process is writing it at this moment, or still reads an older state.
        """
        uri = f"{self._file.absolute().as_uri()}?mode=rw"
        try:
            with closing(sqlite3.connect(uri, uri=True, timeout=0.1)) as connection:
                row = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        except sqlite3.Error:
            return True  # the caller reports what is wrong with the file
        busy, frames, written = row
        return not busy and frames == written

    def _error(self, what: str) -> StoreError:
        return StoreError(
            f"store {self._file} {what} while this process was using it; what was recorded since "
            f"then, or all of it, is not in the store: put the file back from a copy and run the "
            f"call again"
        )


def _identity(path: str) -> Identity | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


# --- the header ----------------------------------------------------------------------------------

_SHORTEST = 512
"""Bytes of the smallest page of a SQLite database."""


def read_mark(file: Path) -> int | None:
    """Return the number that `init_db.mark` wrote into the header of a SQLite file.

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
