"""Keep forks away from the moments in which another thread is inside SQLite.

SQLite has locks of its own, such as its allocator's. A child that is forked while another
thread holds one of them waits forever at its first use of SQLite.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

PATIENCE = 1.0
"""Seconds that a fork waits for other threads; a thread may wait longer for another process."""


class _Gate:
    """Knows the threads inside SQLite, and lets none enter during a fork."""

    def __init__(self) -> None:
        self._changed = threading.Condition(threading.RLock())
        self._inside: dict[object, int] = {}

    def enter(self) -> object:
        """Return a key for `leave`, as a block may end on another thread than it began."""
        key = object()
        with self._changed:
            self._inside[key] = threading.get_ident()
        return key

    def leave(self, key: object) -> None:
        with self._changed:
            del self._inside[key]
            self._changed.notify_all()

    def close(self) -> None:
        """Wait until no other thread is inside, and keep them out."""
        self._changed.acquire()
        deadline = time.monotonic() + PATIENCE
        while set(self._inside.values()) - {threading.get_ident()}:
            if not self._changed.wait(max(deadline - time.monotonic(), 0)):
                break

    def open(self) -> None:
        self._changed.release()


_gate = _Gate()


@contextmanager
def no_fork() -> Iterator[None]:
    """Make forks of other threads wait for the end of the block, for a second at most."""
    gate = _gate  # a forked child has another one
    key = gate.enter()
    try:
        yield
    finally:
        gate.leave(key)


def _after_fork() -> None:
    global _gate
    _gate = _Gate()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=lambda: _gate.close(),
        after_in_parent=lambda: _gate.open(),
        after_in_child=_after_fork,
    )
