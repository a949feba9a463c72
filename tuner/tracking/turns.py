"""Whose turn it is to write a SQLite file: of several processes, the one that came first.

SQLite has no queue. Who finds the lock taken looks again later, and ever more rarely, so that of
many writers the one that has waited longest is passed over most. Here they stand in a queue of the
system for a lock on a file beside the database, before they ask SQLite for its own.

That is a courtesy and no more. SQLite's lock is what keeps writers apart; where the queue cannot be
joined, or somebody at its head has stopped, we go on without.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

if sys.platform != "win32":
    import fcntl

QUEUE = "-queue"
"""What is added to the name of the database; the file stays empty."""

PATIENCE = 1.0
"""Seconds after which we stop to queue and take our chance."""


@contextmanager
def turn(file: Path) -> Iterator[None]:
    """Wait until it is our turn to write the SQLite database `file`; others wait until the end."""
    place = _Place.of(file)
    try:
        yield
    finally:
        if place is not None:
            place.leave()


class _Place:
    """A place in the queue, and later at its head.

    POSIX locks, as a forked child does not inherit them: it could not give them back.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._mutex = threading.Lock()
        self._left = self._waiting = False
        if not self._is_free():
            # The system's call knows no limit of time, so it is another thread that waits in it.
            self._waiting = True
            waiter = threading.Thread(target=self._wait, name="tuner-turn", daemon=True)
            waiter.start()
            waiter.join(PATIENCE)

    @classmethod
    def of(cls, file: Path) -> _Place | None:
        """Return a place, None if there is no queue to be had."""
        if sys.platform == "win32":
            return None
        try:
            mode = file.stat().st_mode & 0o666
            return cls(os.open(f"{file}{QUEUE}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, mode))
        except OSError:
            return None

    def leave(self) -> None:
        """Let the next one take its turn."""
        with self._mutex:
            self._left = True
            if not self._waiting:
                os.close(self._descriptor)

    def _is_free(self) -> bool:
        try:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:  # a file system without locks
            pass
        return True

    def _wait(self) -> None:
        with suppress(OSError):  # such as a deadlock with another file's queue
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX)
        with self._mutex:
            self._waiting = False
            if self._left:
                os.close(self._descriptor)
