"""Text that C code and child processes write to the descriptors of the standard streams.

While trials run, the descriptors 1 and 2 lead to temporary files. What arrives there is passed on
to where they led before, and added to the output of the run. It can be attributed only while one
trial runs in the process. A thread passes text on every `INTERVAL` seconds. What the process writes
there in the last moment before it crashes is lost.
"""

from __future__ import annotations

import codecs
import ctypes
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

INTERVAL = 0.2
"""Seconds after which text is passed on at the latest."""

_LINGER = 1.0
"""Seconds for which the thread waits for the next trial."""


class _Descriptor:
    """One standard descriptor, its temporary file, and a copy of where it led before."""

    def __init__(self, name: str, number: int) -> None:
        self.name = name
        self.number = number
        self.before = -1
        self._copy = -1
        self._place: tuple[int, int] | None = None
        self._file = -1
        self._end = 0
        self._decode: Any = None

    def redirect(self) -> None:
        """Let the descriptor lead to the file.

        The copy is kept from trial to trial: system calls are most of the cost of a short trial.
        """
        try:
            status = os.fstat(self.number)
        except OSError:  # the process has none
            return
        if (place := (status.st_dev, status.st_ino)) != self._place:
            self.let_go()
            self._copy, self._place = os.dup(self.number), place
        self.before = self._copy
        if self._file < 0:
            with tempfile.TemporaryFile(prefix="tuner-output-", buffering=0) as file:
                self._file = os.dup(file.fileno())
        if os.fstat(self._file).st_size:  # a child of an earlier trial may have written, too
            os.ftruncate(self._file, 0)
            os.lseek(self._file, 0, os.SEEK_SET)
        self._end = 0
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        os.dup2(self._file, self.number)

    def let_through(self, through: bool) -> None:
        """Let the descriptor lead where it led before, or to the file again."""
        if self.before >= 0:
            os.dup2(self.before if through else self._file, self.number)

    def restore(self) -> None:
        """Let the descriptor lead where it led before, for good."""
        if self.before >= 0:
            os.dup2(self.before, self.number)
            self.before = -1

    def let_go(self) -> None:
        """Close the copy; the descriptor must not be redirected."""
        if self._copy >= 0:
            os.close(self._copy)
            self._copy, self._place = -1, None

    def forget(self) -> None:
        """Leave everything as it is, in a forked child."""
        self.before = self._copy = self._file = -1
        self._place = None

    def read(self) -> str:
        """Return the new text, and pass it on."""
        if self.before < 0 or (size := os.fstat(self._file).st_size) <= self._end:
            return ""
        data = os.pread(self._file, size - self._end, self._end)
        self._end += len(data)
        with suppress(OSError):  # the terminal is closed
            left = memoryview(data)
            while left:
                left = left[os.write(self.before, left) :]
        text: str = self._decode(data)
        return text


class Descriptors:
    """The standard descriptors of the process; `add` receives their text and the stream's name."""

    def __init__(self, add: Callable[[str, str], None]) -> None:
        self._add = add
        self._lock = threading.RLock()
        self._all = (_Descriptor("stdout", 1), _Descriptor("stderr", 2))
        self._users = 0
        self._paused = 0
        self._busy = False
        self._thread: threading.Thread | None = None
        self._idle_since = 0.0

    def begin(self) -> None:
        """Redirect the descriptors, unless that is done already; or pass on the output so far."""
        with self._lock:
            _flush()
            self._users += 1
            if self._users == 1:
                for each in self._all:
                    each.redirect()
                self._start_thread()
            else:
                self.drain()

    def end(self) -> None:
        """Restore the descriptors if this is the last user."""
        with self._lock:
            if not self._users:
                return  # in a forked child
            self.drain()
            self._users -= 1
            if not self._users:
                self._paused, self._idle_since = 0, time.monotonic()
                for each in self._all:
                    each.restore()

    def before(self, number: int) -> int | None:
        """Return a descriptor of where `number` led before, None if it is not redirected."""
        found = self._all[number - 1].before
        return found if found >= 0 else None

    def drain(self, *, add: bool = True) -> None:
        """Pass on the written output, and add it to the output of the run unless told not to."""
        with self._lock:
            if not self._users or self._paused or self._busy:
                return
            self._busy = True  # a signal handler may print
            try:
                _flush()
                for each in self._all:
                    if (text := each.read()) and add:
                        self._add(text, each.name)
            finally:
                self._busy = False

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Let the descriptors lead where they led before, for text that is not of the trial."""
        if not self._users:
            yield
            return
        self._pause(1)
        try:
            yield
        finally:
            self._pause(-1)

    def _pause(self, change: int) -> None:
        with self._lock:
            self.drain()
            before, self._paused = self._paused, max(0, self._paused + change)
            if self._users and bool(before) != bool(self._paused):
                for each in self._all:
                    each.let_through(bool(self._paused))

    def forget(self) -> None:
        """Leave the descriptors as they are, in a forked child: its parent reads the files."""
        self._lock = threading.RLock()
        self._users = self._paused = 0
        self._busy = False
        self._thread = None
        for each in self._all:
            each.forget()

    def _start_thread(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._watch, name="tuner-output", daemon=True)
            self._thread.start()

    def _watch(self) -> None:
        while True:
            time.sleep(INTERVAL)
            with self._lock:
                if not self._users and time.monotonic() - self._idle_since > _LINGER:
                    self._thread = None
                    for each in self._all:
                        each.let_go()
                    return
                self.drain()


def _flush() -> None:
    """Write what C code has printed into the buffer of the C library."""
    if _c_stdout is not None and (_pending is None or _pending(_c_stdout)):
        _libc.fflush(_c_stdout)


def _find_pending() -> Any:
    """Return the function for the number of bytes in a buffer, None if the C library lacks it.

    It keeps Python's lock: to release and take it would cost more than the function.
    """
    pending = getattr(ctypes.PyDLL(None), "__fpending", None)
    if pending is not None:
        pending.restype = ctypes.c_size_t
    return pending


def _find_stdout() -> Any:
    for name in ("stdout", "__stdoutp"):
        with suppress(ValueError):
            return ctypes.c_void_p.in_dll(_libc, name)
    return None


AVAILABLE = sys.platform != "win32"
_libc: Any = ctypes.CDLL(None) if AVAILABLE else None
_c_stdout: Any = _find_stdout() if AVAILABLE else None
_pending: Any = _find_pending() if AVAILABLE else None
