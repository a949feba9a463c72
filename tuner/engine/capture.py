"""Keeps what a run prints, capped, while it still reaches the terminal."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

LIMIT = 64 * 1024
"""Characters kept of one run's output: its first and its last half of this."""


class Transcript:
    """The text of a run: its beginning and its end, and how much was cut between them."""

    __slots__ = ("_head", "_limit", "_room", "_tail", "_tail_size", "cut")

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit // 2
        self._room = limit - self._limit
        self._head: list[str] = []
        self._tail: deque[str] = deque()
        self._tail_size = 0
        self.cut = 0

    def add(self, text: str) -> None:
        """Append `text`, dropping what has moved past the cap in the middle."""
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


class _Tee:
    """A text stream that writes to another one and to a transcript."""

    def __init__(self, stream: TextIO, transcript: Transcript) -> None:
        self._stream = stream
        self._transcript = transcript

    def write(self, text: str) -> int:
        self._transcript.add(text)
        return self._stream.write(text)

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)


@contextmanager
def captured() -> Iterator[Transcript]:
    """Keep a transcript of what is printed to `sys.stdout` and `sys.stderr` in this block.

    What a library writes past Python, straight to the file descriptors, is not seen.
    """
    transcript = Transcript()
    out, err = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = _Tee(out, transcript), _Tee(err, transcript)
    try:
        yield transcript
    finally:
        sys.stdout, sys.stderr = out, err
