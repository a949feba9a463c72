"""Keeps what a run prints, capped, while it still reaches the terminal.

``sys.stdout`` and ``sys.stderr`` belong to the process. All trials of the process that run at once
share one tee for each, which finds the transcript by the thread that prints.
"""

from __future__ import annotations

import io
import os
import sys
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

from tuner.engine.worker import scopes

LIMIT = 64 * 1024
"""Characters kept of one run's output: its first and its last half of this."""


class Transcript:
    """The text of a run: its beginning and its end, and how much was cut between them."""

    __slots__ = ("_head", "_limit", "_lock", "_room", "_tail", "_tail_size", "cut")

    def __init__(self, limit: int = LIMIT) -> None:
        self._lock = threading.RLock()  # a signal handler may print in the middle of a print
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


_KIND = "output"

_retired: deque[_Tee] = deque(maxlen=64)
"""Kept alive for a while, as a thread that an earlier trial left may be in the middle of a `print`.

That holds no reference of its own to `sys.stdout` in CPython (gh-130163): the process would crash.
"""


class _Local(threading.local):
    writing = False


_local = _Local()


class _Tee:
    """A text stream that writes to another one, and to the transcripts of the calling thread.

    A trial's transcript gets what its own thread prints, the threads that its objective starts,
    and a search inside its objective. Closing a tee closes nothing: the stream is not the
    objective's to close. A tee without users passes text on, for who still holds it.
    """

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self.users = 0

    def write(self, text: str) -> int:
        if _local.writing:  # a stream between two tees: the outer one has added the text
            self._pass_on(text)
            return len(text)
        try:
            _local.writing = True
            scope = scopes.current()
            for each in () if scope is None else scope.chain():
                if each.kind == _KIND:
                    each.value.add(text)
            self._pass_on(text)
        finally:
            _local.writing = False
        return len(text)

    def _pass_on(self, text: str) -> None:
        if self.stream is not None:
            with suppress(OSError, ValueError):  # nobody listens any more: the terminal is closed
                self.stream.write(text)

    def close(self) -> None:
        with suppress(OSError, ValueError, AttributeError):
            self.stream.flush()

    def detach(self) -> NoReturn:
        raise io.UnsupportedOperation("detach: the stream belongs to the process, not to a trial")

    def __getattr__(self, name: str) -> object:
        return getattr(self.stream, name)


@contextmanager
def captured() -> Iterator[Transcript]:
    """Keep a transcript of what is printed to `sys.stdout` and `sys.stderr` in this block.

    What a library writes past Python, straight to the file descriptors, is not seen. Blocks on
    several threads may overlap in any order. The streams from before the first block are put back
    when the last one ends, whatever an objective put in their place. The same holds for a block
    inside another one, unless a third one overlaps it.
    """
    transcript = Transcript()
    with scopes.opened(_KIND, transcript) as scope:
        with scopes.lock:
            tees = [place.join() for place in _PLACES]
        try:
            yield transcript
        finally:
            with scopes.lock:
                alone = scopes.is_alone(scope)
                for place, tee in zip(_PLACES, tees, strict=True):
                    place.leave(tee, alone)


class _Place:
    """A standard stream of the process, and the tees that trials put in its place.

    There is one tee, unless an objective replaces the stream while other trials run.
    """

    def __init__(self, name: str, descriptor: int) -> None:
        self._name = name
        self._descriptor = descriptor
        self._tees: set[_Tee] = set()
        self._before: Any = None

    def join(self) -> _Tee:
        """Return the tee in this place with one more user; put one there if there is none."""
        stream = getattr(sys, self._name)
        if not self._tees:
            self._before = stream = _without_retired(stream)
        if isinstance(stream, _Tee) and stream.users:
            tee = stream
        else:
            tee = _Tee(_without_retired(stream))
            setattr(sys, self._name, tee)
            self._tees.add(tee)
        tee.users += 1
        return tee

    def leave(self, tee: _Tee, alone: bool) -> None:
        """Take a user from a tee, and put the stream back unless others may be using it."""
        if tee not in self._tees:
            return  # a forked child, which has given it up
        tee.users -= 1
        tee.stream = self._mended(tee.stream)
        if not tee.users:
            self._tees.discard(tee)
            _retired.append(tee)
        now = getattr(sys, self._name)
        if not self._tees:
            setattr(sys, self._name, self._mended(self._before))
            self._before = None
        elif alone or now is tee or now is None or getattr(now, "closed", False):
            setattr(sys, self._name, tee if tee.users else _without_retired(tee.stream))

    def _mended(self, stream: Any) -> Any:
        """Return the stream, or another one in its place if what is below it was closed."""
        if not getattr(stream, "closed", False):
            return stream
        return open(self._descriptor, "w", buffering=1, closefd=False, errors="backslashreplace")

    def flush(self) -> None:
        """Flush what lies below the tees."""
        for tee in tuple(self._tees):
            with suppress(Exception):
                tee.stream.flush()

    def give_up(self) -> None:
        """Let the tees pass text on and no more."""
        for tee in self._tees:
            tee.users = 0
        self._tees.clear()
        self._before = None


_PLACES = _Place("stdout", 1), _Place("stderr", 2)


def _without_retired(stream: Any) -> Any:
    while isinstance(stream, _Tee) and not stream.users:
        stream = stream.stream
    return stream


def _before_fork() -> None:
    """Flush the streams, so that a child does not write the text of its parent a second time."""
    for place in _PLACES:
        place.flush()


def _after_fork() -> None:
    """Give up the tees in a forked child: the trials run in the parent."""
    for place in _PLACES:
        place.give_up()
    _local.writing = False


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_child=_after_fork)
