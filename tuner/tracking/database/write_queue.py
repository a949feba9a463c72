"""First-come, first-served queues of processes beside a SQLite file.

SQLite has no queue: locked-out writers back off exponentially, so the longest waiter would starve.
Here they wait in the operating system's queue for a lock on a byte of a file beside the database.
Queue 0 is for all writers; each study has another queue for the processes that ask for its trials.

A queue is a courtesy, not a guarantee: SQLite's lock and the checks of each commit keep writers
apart. A process is therefore skipped if it was killed (the system drops its locks), was stopped by
a signal, or keeps its turn for too long: the others form another line.
"""

from __future__ import annotations

import os
import struct
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

if sys.platform != "win32":
    import fcntl

QUEUE = "-queue"
"""Suffix of the lock file, after the name of the database; the file stays empty."""

PATIENCE = 1.0
"""Seconds that a process may keep its turn before the others stop waiting for it."""

LINES = 4
"""Lines of a queue, one byte of the file each; the next line is used while one is blocked."""

LOOK = 0.2
"""Seconds between two checks of the process whose turn it is."""

HELD_UP = 10.0
"""Seconds before a blocked line is tried again, if its head is still the same process."""


@contextmanager
def turn(file: Path, queue: int = 0, patience: float | None = None) -> Iterator[None]:
    """Wait for this process's turn; the others in the queue wait until the block ends.

    Parameters
    ----------
    file
        The SQLite database.
    queue
        The number of the queue, from 0.
    patience
        Seconds that another process may keep its turn; None for `PATIENCE`.
    """
    position = _Position.of(file, queue, PATIENCE if patience is None else patience)
    try:
        yield
    finally:
        if position is not None:
            position.leave()


class FairLock:
    """A reentrant lock between threads that is granted in the order of arrival.

    A thread that releases a `threading.Lock` and acquires it again at once usually gets it, even if
    others have waited longer.
    """

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._held = False
        self._owner = 0
        self._depth = 0
        self._waiting: deque[threading.Lock] = deque()

    def acquire(self, timeout: float = -1) -> bool:
        """Wait at most `timeout` seconds, forever if negative; return whether it is acquired."""
        me = threading.get_ident()
        if self._owner != me:
            if not self._acquire(timeout):
                return False
            self._owner = me
        self._depth += 1
        return True

    def _acquire(self, timeout: float) -> bool:
        gate = threading.Lock()
        with self._mutex:
            if not self._held:
                self._held = True
                return True
            gate.acquire()
            self._waiting.append(gate)
        got = False
        try:
            got = gate.acquire(timeout=timeout)
        finally:
            if not got:
                got = self._withdraw(gate)
                if got and sys.exc_info()[0] is not None:  # interrupted while it was granted
                    self._hand_over()
        return got

    def _withdraw(self, gate: threading.Lock) -> bool:
        """Leave the queue; return whether the lock was granted to this thread before."""
        with self._mutex:
            if gate in self._waiting:
                self._waiting.remove(gate)
                return False
            return True

    def release(self) -> None:
        """Grant the lock to the thread that has waited longest."""
        self._depth -= 1
        if not self._depth:
            self._owner = 0
            self._hand_over()

    def _hand_over(self) -> None:
        with self._mutex:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._held = False

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


@dataclass(slots=True)
class _LockFile:
    """The lock file, opened once per process, because closing it drops all locks of the process.

    POSIX locks belong to a process, so its threads wait for each other first. A forked child does
    not inherit the locks, and opens the file again.
    """

    key: tuple[int, str]
    descriptor: int
    users: int = 0
    threads: dict[int, FairLock] = field(default_factory=dict)

    @classmethod
    def join(cls, file: Path) -> _LockFile | None:
        """Return the lock file of a database, None if it cannot be opened."""
        key = os.getpid(), f"{file}{QUEUE}"
        with _mutex:
            found = _open.get(key)
            if found is None:
                try:
                    mode = file.stat().st_mode & 0o666
                    descriptor = os.open(key[1], os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, mode)
                except OSError:
                    return None
                found = _open[key] = cls(key, descriptor)
            found.users += 1
            return found

    def leave(self) -> None:
        """Close the file when the last user leaves."""
        with _mutex:
            self.users -= 1
            if not self.users:
                os.close(self.descriptor)
                del _open[self.key]

    def lock(self, byte: int) -> bool:
        """Lock a byte if it is free, and return whether it was."""
        try:
            fcntl.lockf(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)
        except BlockingIOError:
            return False
        except OSError:  # a file system without locks
            pass
        return True

    def wait(self, byte: int) -> None:
        """Wait until a byte is free, and lock it."""
        with suppress(OSError):  # such as a deadlock of two queues that the system detects
            fcntl.lockf(self.descriptor, fcntl.LOCK_EX, 1, byte)

    def unlock(self, byte: int) -> None:
        """Release a byte to the next process in the line."""
        with suppress(OSError):
            fcntl.lockf(self.descriptor, fcntl.LOCK_UN, 1, byte)

    def head(self, byte: int) -> int:
        """Return the process that has locked a byte, 0 if it is unknown or the byte is free."""
        if sys.platform != "linux":
            return 0
        asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, byte, 1, 0)
        try:
            kind, *_, pid = struct.unpack(
                _FLOCK, fcntl.fcntl(self.descriptor, fcntl.F_GETLK, asked)
            )
        except OSError:
            return 0
        return 0 if kind == fcntl.F_UNLCK else max(pid, 0)


_FLOCK = "hhqqi4x"
"""``struct flock`` of fcntl(2) on 64-bit Linux: type, whence, start, length, process."""

_open: dict[tuple[int, str], _LockFile] = {}
_mutex = threading.Lock()

_held_up: dict[tuple[tuple[int, str], int], tuple[int, float]] = {}
"""For each line: the process that kept its turn too long, and the time until which to skip it."""


def _renew_mutex() -> None:
    """Replace the mutex in a forked child: a thread that the child lacks may hold it."""
    global _mutex
    _mutex = threading.Lock()


if sys.platform != "win32":
    os.register_at_fork(after_in_child=_renew_mutex)


class _Position:
    """A position in a queue, and later at the head of one of its lines."""

    def __init__(self, file: _LockFile, queue: int, patience: float) -> None:
        self._file = file
        self._patience = patience
        self._byte: int | None = None
        first = queue * LINES
        with _mutex:
            threads = file.threads.setdefault(queue, FairLock())
        self._threads: FairLock | None = threads if threads.acquire(LINES * patience) else None
        if self._threads is not None:
            try:
                lines = range(first, first + LINES)
                self._byte = next((byte for byte in lines if self._reach(byte)), None)
            except BaseException:
                self.leave()
                raise

    @classmethod
    def of(cls, file: Path, queue: int, patience: float) -> _Position | None:
        """Return a position, None if no queue is available."""
        if sys.platform == "win32":
            return None
        found = _LockFile.join(file)
        if found is None:
            return None
        try:
            return cls(found, queue, patience)
        except BaseException:
            found.leave()
            raise

    def leave(self) -> None:
        """Pass the turn to the next process."""
        if self._byte is not None:
            self._file.unlock(self._byte)
        if self._threads is not None:
            self._threads.release()
        self._file.leave()

    def _reach(self, byte: int) -> bool:
        """Wait for the head of a line; return False if the process at the head blocks it."""
        if self._file.lock(byte):
            return True
        head = self._file.head(byte)
        if _is_stopped(head) or self._is_held_up(byte, head):
            return False
        waiting = _Waiting(self._file, byte)
        try:
            return self._outwait(waiting, byte, head)
        except BaseException:
            if waiting.give_up():
                self._file.unlock(byte)
            raise

    def _outwait(self, waiting: _Waiting, byte: int, head: int) -> bool:
        """Wait for the byte; return whether it was locked: False if its holder blocks the line."""
        since = time.monotonic()
        while not waiting.over(LOOK):
            now, before = time.monotonic(), head
            head = self._file.head(byte)
            if head != before:
                since = now
            stopped = _is_stopped(head)
            if stopped or now - since >= self._patience:
                if not stopped and head:
                    _held_up[self._file.key, byte] = head, now + HELD_UP
                return waiting.give_up()
        return True

    def _is_held_up(self, byte: int, head: int) -> bool:
        who, until = _held_up.get((self._file.key, byte), (0, 0.0))
        return who == head != 0 and time.monotonic() < until


class _Waiting:
    """Waits for a byte on a separate thread, because the system call cannot time out."""

    def __init__(self, file: _LockFile, byte: int) -> None:
        self._file = file
        self._byte = byte
        self._mutex = threading.Lock()
        self._over = threading.Event()
        self._left = False
        with _mutex:
            file.users += 1
        threading.Thread(target=self._wait, name="tuner-turn", daemon=True).start()

    def over(self, seconds: float) -> bool:
        """Return whether the byte is locked, after at most `seconds`."""
        return self._over.wait(seconds)

    def give_up(self) -> bool:
        """Stop waiting; return whether the byte has been locked by now."""
        with self._mutex:
            self._left = not self._over.is_set()
            return not self._left

    def _wait(self) -> None:
        self._file.wait(self._byte)
        with self._mutex:
            self._over.set()
            if self._left:
                self._file.unlock(self._byte)
        self._file.leave()


def _is_stopped(pid: int) -> bool:
    """Return whether a process was stopped by a signal or a debugger."""
    if pid <= 0:
        return False
    import psutil

    try:
        return psutil.Process(pid).status() in (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP)
    except psutil.Error:
        return False
