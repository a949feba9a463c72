"""The output of a run: its beginning and its end, with lines that were overwritten left out."""

from __future__ import annotations

import re
import threading
from collections import deque

LIMIT = 64 * 1024
"""Maximum characters of one run's output: the first and the last half of this are kept."""

_LONGEST_LINE = 4096
"""Characters of an unfinished line that a carriage return can still overwrite."""

_OVERWRITE = re.compile("\x08*\r")


class Transcript:
    r"""The beginning and the end of a run's output, and the number of characters cut between.

    A carriage return overwrites its line, as in a terminal, so a progress bar leaves its last state
    only. Text of another writer that comes between two states of a bar is a line of its own.

    Examples
    --------
    >>> transcript = Transcript()
    >>> for text in ("\r 10%", "\r 20%", "epoch 1\n", "\r100%", "\n"):
    ...     transcript.add(text)
    >>> str(transcript)
    'epoch 1\n100%\n'
    """

    __slots__ = ("_head", "_limit", "_lines", "_lock", "_room", "_tail", "_tail_size", "cut")

    def __init__(self, limit: int = LIMIT) -> None:
        self._lock = threading.RLock()  # a signal handler may print in the middle of a print
        self._limit = limit // 2
        self._room = limit - self._limit
        self._head: list[str] = []
        self._tail: deque[str] = deque()
        self._tail_size = 0
        self._lines: dict[str, _Line] = {}
        self.cut = 0

    def add(self, text: str, stream: str = "") -> None:
        """Append `text` of a stream, and drop characters from the middle beyond the limit."""
        with self._lock:
            if (line := self._lines.get(stream)) is None:
                line = self._lines[stream] = _Line()
            if complete := line.add(text):
                self._add(complete)

    def finish(self) -> None:
        """Append the unfinished lines of all streams."""
        with self._lock:
            for line in self._lines.values():
                self._add(line.rest())
            self._lines.clear()

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
        self.finish()
        middle = f"\n[... {self.cut} characters cut ...]\n" if self.cut else ""
        return "".join(self._head) + middle + "".join(self._tail)


class _Line:
    """The unfinished line of a stream: a text, or the last state of a progress bar, or both."""

    __slots__ = ("_bar", "_returned", "_size", "_text")

    def __init__(self) -> None:
        self._text: list[str] = []
        self._size = 0
        self._bar = ""
        self._returned = False
        """Whether a carriage return came last: the next text overwrites the line."""

    def add(self, text: str) -> str:
        """Add text, and return the complete lines."""
        if not (self._returned or self._bar or "\r" in text):
            return self._append(text)
        if self._returned:
            text, self._returned = f"\r{text}", False
        if text.endswith("\r"):
            text, self._returned = text[:-1], True
        before, *states = _OVERWRITE.split(text.replace("\r\n", "\n"))
        complete = self._end_bar(before) + self._append(before) if before else ""
        for state in states:
            self._text, self._size, self._bar = [], 0, ""
            bar, end, after = state.partition("\n")
            if end:
                complete += f"{bar}\n{self._append(after)}"
            else:
                self._bar = bar[-_LONGEST_LINE:]
        return complete

    def rest(self) -> str:
        """Return the unfinished line."""
        return self._bar + "".join(self._text)

    def _end_bar(self, text: str) -> str:
        """Return the bar if a line break ends it; other text is not part of it."""
        if not text.startswith("\n"):
            return ""
        bar, self._bar = self._bar, ""
        return bar

    def _append(self, text: str) -> str:
        end = text.rfind("\n") + 1
        if not end:
            self._text.append(text)
            self._size += len(text)
            if self._size <= _LONGEST_LINE:
                return ""
            complete, self._text, self._size = "".join(self._text), [], 0
            return complete
        complete = "".join(self._text) + text[:end]
        self._text, self._size = [text[end:]], len(text) - end
        return complete
