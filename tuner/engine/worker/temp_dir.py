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
"""File in each folder; its process locks it, and the kernel releases the lock at process exit."""


class TempDir:
    """A temporary folder, created on first use.

    A killed process cannot remove its folder, so the next process on the same machine does. A lock
    on a file in the folder shows whether its owner is alive. Process ids cannot: a container has
    its own ids, and ids are reused.
    """

    def __init__(self) -> None:
        self._root: Path | None = None
        self._lock: int | None = None
        self._count = 0
        self._owner = os.getpid()

    def fresh(self) -> Path:
        """Return an unused path in the folder."""
        if self._owner != os.getpid():  # a forked child creates a separate folder
            self._owner, self._root = os.getpid(), None
        if self._root is None:
            _remove_abandoned()
            while self._root is None:
                self._create()
        self._count += 1
        return self._root / str(self._count)

    def remove(self) -> None:
        """Delete the folder, unless it belongs to the process from which this one was forked."""
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
        except OSError:  # without file locks, no folder counts as abandoned
            is_ours = True
        # Another process may have deleted the folder before it was locked.
        if is_ours:
            self._root, self._lock = root, lock
        else:
            os.close(lock)


def _remove_abandoned() -> None:
    """Delete this user's folders whose processes have ended."""
    if sys.platform == "win32":
        return
    for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError):
            _remove_if_abandoned(path)


def _remove_if_abandoned(path: Path) -> None:
    found = path.lstat()  # do not follow a link of another user
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        return
    lock = os.open(path / LOCK, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # raises while the owner is alive
        shutil.rmtree(path, ignore_errors=True)
    finally:
        os.close(lock)


def _is_same(descriptor: int, path: Path) -> bool:
    """Return whether an open file is still at a path."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except OSError:
        return False
