"""Keeps what a run prints, capped, while it still reaches the terminal."""

from __future__ import annotations

import io
import sys
import threading
from collections import deque
from collections.abc import Container, Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn, TextIO

LIMIT = 64 * 1024
"""Characters kept of one run's output: its first and its last half of this."""


class Transcript:
    """The text of a run: its beginning and its end, and how much was cut between them."""

    __slots__ = ("_head", "_limit", "_lock", "_room", "_tail", "_tail_size", "cut")

    def __init__(self, limit: int = LIMIT) -> None:
        self._lock = threading.Lock()
        self._limit = limit // 2
        self._room = limit - self._limit
        self._head: list[str] = []
        self._tail: deque[str] = deque()
        self._tail_size = 0
        self.cut = 0

    def add(self, text: str) -> None:
        """Append `text`, dropping what has moved past the cap in the middle."""
        with self._lock:
            self._add(text)

    def _add(self, text: str) -> None:
        if self._room > 0:
            kept, text = text[: self._room], text[self._room :]
            self._head.append(kept)
            self._room -= len(kept)
        if not text:
            return
        if len(text) > self._limit:
            self.cut += len(text) - self._limit
            text = text[-self._limit :]
        self._tail.append(text)
        self._tail_size += len(text)
        while self._tail_size > self._limit:
            excess = self._tail_size - self._limit
            first = self._tail.popleft()
            if len(first) > excess:
                self._tail.appendleft(first[excess:])
            dropped = min(len(first), excess)
            self.cut += dropped
            self._tail_size -= dropped

    def __str__(self) -> str:
        middle = f"\n[... {self.cut} characters cut ...]\n" if self.cut else ""
        return "".join(self._head) + middle + "".join(self._tail)


_retired: deque[_Tee] = deque(maxlen=64)
"""Kept alive for a while, as a thread that an earlier trial left may be in the middle of a `print`.

That holds no reference of its own to `sys.stdout` in CPython (gh-130163): the process would crash.
"""


class _Tee:
    """A text stream that writes to another one and to a transcript.

    Threads of before, such as those that an earlier trial left, are none of this transcript's
    business. Closing it closes nothing: the stream is not the objective's to close.
    """

    def __init__(self, stream: TextIO, transcript: Transcript, others: Container[int]) -> None:
        self._stream = stream
        self._transcript = transcript
        self._others = others

    def write(self, text: str) -> int:
        if threading.get_ident() not in self._others:
            self._transcript.add(text)
        with suppress(OSError, ValueError):  # nobody listens any more: the terminal is closed
            self._stream.write(text)
        return len(text)

    def close(self) -> None:
        with suppress(OSError, ValueError):
            self._stream.flush()

    def detach(self) -> NoReturn:
        raise io.UnsupportedOperation("detach: the stream belongs to the process, not to a trial")

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)


@contextmanager
def captured() -> Iterator[Transcript]:
    """Keep a transcript of what is printed to `sys.stdout` and `sys.stderr` in this block.

    What a library writes past Python, straight to the file descriptors, is not seen.
    """
    transcript = Transcript()
    out, err = sys.stdout, sys.stderr
    others = {thread.ident for thread in threading.enumerate() if thread.ident is not None}
    others -= {threading.get_ident()}
    tees = _Tee(out, transcript, others), _Tee(err, transcript, others)
    _retired.extend(tees)
    sys.stdout, sys.stderr = tees
    try:
        yield transcript
    finally:
        sys.stdout, sys.stderr = _mended(out, 1), _mended(err, 2)


def _mended(stream: TextIO, descriptor: int) -> TextIO:
    """Return the stream, or another one in its place if what is below it was closed."""
    if not getattr(stream, "closed", False):
        return stream
    return open(descriptor, "w", buffering=1, closefd=False, errors="backslashreplace")
