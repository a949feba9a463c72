"""The output of a run: its beginning and its end, with lines that were overwritten left out."""

from __future__ import annotations

import re
import threading
from collections import deque

LIMIT = 64 * 1024
"""Maximum characters of one run's output: the first and the last half of this are kept."""

_LONGEST_LINE = 4096
"""Characters of an unfinished line that a carriage return can still overwrite."""

_MOST_BARS = 50
"""Rows of progress bars that a writer may move between."""

_TOKENS = re.compile("\r\n|\n|\x08*\r|\x1b\\[A|[^\r\n\x08\x1b]+|.", re.DOTALL)
"""Line breaks, carriage returns, the sequence that moves the cursor up, and text."""


class Transcript:
    r"""The beginning and the end of a run's output, and the number of characters cut between.

    A carriage return overwrites its line, as in a terminal, so progress bars leave their last state
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
    """The unfinished line of a stream, and the progress bars that stand there.

    Several bars stand in rows: their writer moves the cursor down by line breaks, and up again.
    """

    __slots__ = ("_bars", "_overwrites", "_row", "_size", "_text")

    def __init__(self) -> None:
        self._text: list[str] = []
        self._size = 0
        self._bars: list[str] = []
        self._row = 0
        self._overwrites = False
        """Whether a carriage return came last: the next text overwrites its row."""

    def add(self, text: str) -> str:
        """Add text, and return the complete lines."""
        if not (self._bars or "\r" in text):
            return self._append(text)
        complete, in_bar = "", False
        for token in _TOKENS.findall(text):
            if token.endswith("\r"):
                self._begin_bar()
                in_bar = True
            elif token == "\x1b[A":
                self._row, in_bar = max(0, self._row - 1), False
            elif token in ("\n", "\r\n"):
                complete += self._break()
                in_bar = False
            elif self._overwrites:
                self._bars[self._row], self._overwrites = token[-_LONGEST_LINE:], False
            elif in_bar:
                self._bars[self._row] += token
            elif token != "\x08":
                if self._row:
                    complete += self._take_bars()
                complete += self._append(token)
        return complete

    def rest(self) -> str:
        """Return the unfinished line."""
        row = self._row
        last = max((n for n, bar in enumerate(self._bars) if bar.strip()), default=-1)
        bars = self._take_bars()
        ended = row > last
        return (bars if ended else bars.removesuffix("\n")) + "".join(self._text)

    def _begin_bar(self) -> None:
        if not self._bars:
            self._bars, self._row = [""], 0
        if self._text:
            self._bars[self._row] = "".join(self._text)
            self._text, self._size = [], 0
        self._overwrites = True

    def _break(self) -> str:
        """Process a line break: it ends a text, or moves below a bar."""
        self._overwrites = False
        if self._text or not self._bars:
            return self._append("\n")
        if len(self._bars) >= _MOST_BARS:
            return self._take_bars()
        self._row += 1
        if self._row == len(self._bars):
            self._bars.append("")
        return ""

    def _take_bars(self) -> str:
        bars, self._bars, self._row, self._overwrites = self._bars, [], 0, False
        return "".join(f"{bar}\n" for bar in bars if bar.strip())

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
        rest = text[end:]
        self._text, self._size = [rest] if rest else [], len(rest)
        return complete
