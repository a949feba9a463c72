"""A temporary folder for the files of a running trial."""

from __future__ import annotations

import os
import shutil
import stat
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

if sys.platform != "win32":
    import fcntl

PREFIX = "tuner-scratch-"

LOCK = ".lock"
"""File in each folder that its process holds a lock on; the kernel releases it at the death."""


class TempDir:
    """A temporary folder, created when it is first needed.

    A killed process cannot remove its folder, so the next one on the same machine does. A lock on
    a file in the folder tells whether its owner lives. Process ids would not: a container has ids
    of its own, and ids are reused.
    """

    def __init__(self) -> None:
        self._root: Path | None = None
        self._lock: int | None = None
        self._count = 0
        self._owner = os.getpid()

    def fresh(self) -> Path:
        """Return a path in the folder at which nothing exists yet."""
        if self._owner != os.getpid():  # a forked child makes a folder of its own
            self._owner, self._root = os.getpid(), None
        if self._root is None:
            _remove_abandoned()
            while self._root is None:
                self._create()
        self._count += 1
        return self._root / str(self._count)

    def remove(self) -> None:
        """Delete the folder, unless it is that of the process that this one was forked from."""
        if self._owner != os.getpid():
            return
        if self._root is not None:
            shutil.rmtree(self._root, ignore_errors=True)
            self._root = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _create(self) -> None:
        root = Path(tempfile.mkdtemp(prefix=PREFIX))
        if sys.platform == "win32":
            self._root = root
            return
        lock = os.open(root / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_ours = _is_same(lock, root / LOCK)
        except BlockingIOError:
            is_ours = False
        except OSError:  # a file system without locks, where no folder is ever taken for abandoned
            is_ours = True
        # Another process may have found the folder before it was locked, and deleted it.
        if is_ours:
            self._root, self._lock = root, lock
        else:
            os.close(lock)


def _remove_abandoned() -> None:
    """Delete the folders whose processes have ended, of this user alone."""
    if sys.platform == "win32":
        return
    for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError):
            _remove_if_abandoned(path)


def _remove_if_abandoned(path: Path) -> None:
    found = path.lstat()  # not through a link, which another user may have put there
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        return
    lock = os.open(path / LOCK, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # raises while the owner lives
        shutil.rmtree(path, ignore_errors=True)
    finally:
        os.close(lock)


def _is_same(descriptor: int, path: Path) -> bool:
    """Whether an open file is still the one at a path."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except OSError:
        return False
