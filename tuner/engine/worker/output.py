"""Capture the output of a run, up to a limit, and still print it.

``sys.stdout`` and ``sys.stderr`` belong to the process. Concurrent trials of a process share one
tee per stream, which finds the transcript by the thread that prints. Handlers of `logging` that
write to one of the streams write to its tee meanwhile.
"""

from __future__ import annotations

import io
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any, NoReturn

from tuner.engine.worker import loggers, scopes
from tuner.engine.worker.descriptors import AVAILABLE, Descriptors
from tuner.engine.worker.transcript import Transcript

_KIND = "output"

_retired: deque[_Tee] = deque(maxlen=64)
"""Recently used tees, kept alive because a thread of an earlier trial may be inside `print`.

`print` holds no reference to `sys.stdout` in CPython (gh-130163), so the process would crash.
"""


class _Local(threading.local):
    writing = False


_local = _Local()


class _Tee:
    """A text stream that writes to another one, and to the transcripts of the calling thread.

    The transcript of a trial gets the output of its own thread, of threads that its objective
    starts, and of a search inside its objective. Closing a tee does not close the underlying
    stream, which belongs to the process. A tee without users only passes text on.
    """

    def __init__(self, name: str, stream: Any) -> None:
        self.name_of_stream = name
        self.stream = stream
        self.beside: Any = None
        """A stream to where `stream` writes, past the redirection of its descriptor."""
        self.users = 0

    def write(self, text: str) -> int:
        self._write(text, lambda stream: stream.write(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def write_bytes(self, data: bytes) -> None:
        """Write bytes as they are; the transcripts get their text."""

        def pass_on(stream: Any) -> None:
            stream.flush()
            stream.buffer.write(data)
            stream.buffer.flush()

        encoding = getattr(self.beside or self.stream, "encoding", None) or "utf-8"
        self._write(data.decode(encoding, "backslashreplace"), pass_on)

    @property
    def buffer(self) -> _Bytes:
        """The stream of bytes, if there is one."""
        return _Bytes(self, (self.beside or self.stream).buffer)

    def fileno(self) -> int:
        """Return the descriptor of the stream, to which child processes may write."""
        return int(self.stream.fileno())

    def _write(self, text: str, pass_on: Callable[[Any], object]) -> None:
        if _local.writing:  # a stream between two tees: the outer one has added the text
            self._pass_on(pass_on)
            return
        try:
            _local.writing = True
            _descriptors.drain()
            add_text(text, self.name_of_stream)
            self._pass_on(pass_on)
        finally:
            _local.writing = False

    def _pass_on(self, write: Callable[[Any], object]) -> None:
        stream = self.beside or self.stream
        if stream is None:
            return
        with suppress(OSError, ValueError):  # the terminal is closed
            if self.beside is not None or isinstance(stream, io.TextIOBase):
                write(stream)
            else:
                # It may write to the stream of a redirected descriptor.
                with _descriptors.paused():
                    write(stream)
                    _flush_standard_streams()

    def close(self) -> None:
        with suppress(OSError, ValueError, AttributeError):
            (self.beside or self.stream).flush()

    def detach(self) -> NoReturn:
        raise io.UnsupportedOperation("detach: the stream belongs to the process, not to a trial")

    def __getattr__(self, name: str) -> object:
        return getattr(self.beside or self.stream, name)


class _Bytes:
    """The stream of bytes of a tee."""

    def __init__(self, tee: _Tee, raw: Any) -> None:
        self._tee = tee
        self._raw = raw

    def write(self, data: Any) -> int:
        copy = bytes(data)
        self._tee.write_bytes(copy)
        return len(copy)

    def __getattr__(self, name: str) -> object:
        return getattr(self._raw, name)


def _flush_standard_streams() -> None:
    for stream in (sys.__stdout__, sys.__stderr__):
        with suppress(Exception):
            stream.flush()  # type: ignore[union-attr]


def add_text(text: str, stream: str) -> None:
    """Add text to the transcripts for which the calling thread works."""
    scope = scopes.current()
    for each in () if scope is None else scope.chain():
        if each.kind == _KIND:
            each.value.add(text, stream)


def _add_unattributed(text: str, stream: str) -> None:
    """Add text of a descriptor to the transcripts, if it is certain for which trial it is."""
    for each in scopes.only_chain(_KIND):
        each.value.add(text, f"{stream} of C")


_descriptors = Descriptors(_add_unattributed)


def outside() -> AbstractContextManager[None]:
    """Return a block whose output to the descriptors is not of the trial, but of the driver."""
    return _descriptors.paused()


@contextmanager
def captured() -> Iterator[Transcript]:
    """Capture printed and logged text in this block, by Python, C code and child processes.

    Blocks on several threads may overlap in any order; text of C code is then in no transcript.
    When the last block ends, the streams from before the first block are restored, even if an
    objective replaced them. The same holds for a nested block, unless a third one overlaps it.
    """
    transcript = Transcript()
    _descriptors.drain()  # of a trial around this one
    with scopes.opened(_KIND, transcript) as scope:
        _flush_standard_streams()
        if AVAILABLE:
            _descriptors.begin()
        with scopes.lock:
            tees = [stream.join() for stream in _STREAMS]
        # A thread of an earlier trial may have printed before the tees were in place.
        _descriptors.drain(add=False)
        # Not under the lock: a handler's own lock is taken, under which its thread may need ours.
        _redirect_log_handlers()
        try:
            yield transcript
        finally:
            _flush_standard_streams()
            _descriptors.end()
            with scopes.lock:
                alone = scopes.is_alone(scope)
                for stream, tee in zip(_STREAMS, tees, strict=True):
                    stream.leave(tee, alone)
            _redirect_log_handlers()


def _replacement(stream: Any) -> Any:
    """Return the stream that replaces one of a handler of `logging`, or the stream itself."""
    if isinstance(stream, _Tee):
        if stream.users:
            return stream
        now = next(s for s in _STREAMS if s.name == stream.name_of_stream).current()
        return _without_retired(stream) if now is None else now
    for each in _STREAMS:
        tee = each.current()
        if tee is not None and any(stream is s for s in (tee.stream, *each.originals())):
            return tee
    return stream


def _redirect_log_handlers() -> None:
    """Let handlers of `logging` write to the streams in use."""
    tees = [tee for stream in _STREAMS if (tee := stream.current()) is not None]
    loggers.redirect(_replacement, tees, add_text)


class _Stream:
    """A standard stream of the process, and the tees that replace it.

    There is one tee, unless an objective replaces the stream while other trials run.
    """

    def __init__(self, name: str, descriptor: int) -> None:
        self.name = name
        self._descriptor = descriptor
        self._tees: set[_Tee] = set()
        self._before: Any = None

    def join(self) -> _Tee:
        """Return the current tee, or a new one, with one more user."""
        stream = getattr(sys, self.name)
        if not self._tees:
            self._before = stream = _without_retired(stream)
        if isinstance(stream, _Tee) and stream.users:
            tee = stream
        else:
            tee = _Tee(self.name, _without_retired(stream))
            tee.beside = self._beside(tee.stream)
            setattr(sys, self.name, tee)
            self._tees.add(tee)
        tee.users += 1
        return tee

    def _beside(self, stream: Any) -> Any:
        """Return a stream past the redirection of the descriptor that `stream` writes to."""
        before = _descriptors.before(self._descriptor)
        try:
            if before is None or stream.fileno() != self._descriptor:
                return None
            stream.flush()
        except (AttributeError, OSError, ValueError):
            return None
        return open(
            before,
            "w",
            closefd=False,
            buffering=1,
            encoding=getattr(stream, "encoding", None),
            errors=getattr(stream, "errors", None),
            newline="",
        )

    def current(self) -> _Tee | None:
        """Return a tee in use, None if there is none."""
        now = getattr(sys, self.name)
        return now if now in self._tees else next(iter(self._tees), None)

    def originals(self) -> list[Any]:
        """Return the stream from before the first trial, and the one of the process."""
        streams = (self._before, vars(sys)[f"__{self.name}__"])
        return [stream for stream in streams if stream is not None]

    def leave(self, tee: _Tee, alone: bool) -> None:
        """Remove a user from a tee, and restore the stream unless others may be using it."""
        if tee not in self._tees:
            return  # in a forked child
        tee.users -= 1
        tee.stream = self._reopened(tee.stream)
        if not tee.users and tee.beside is not None:
            with suppress(OSError, ValueError):
                tee.beside.close()
            tee.beside = None
        if not tee.users:
            self._tees.discard(tee)
            _retired.append(tee)
        now = getattr(sys, self.name)
        if not self._tees:
            setattr(sys, self.name, self._reopened(self._before))
            self._before = None
        elif alone or now is tee or now is None or getattr(now, "closed", False):
            setattr(sys, self.name, tee if tee.users else _without_retired(tee.stream))

    def _reopened(self, stream: Any) -> Any:
        """Return the stream, or a new one for its file descriptor if it was closed."""
        if not getattr(stream, "closed", False):
            return stream
        return open(self._descriptor, "w", buffering=1, closefd=False, errors="backslashreplace")

    def flush(self) -> None:
        """Flush the underlying streams."""
        for tee in tuple(self._tees):
            with suppress(Exception):
                (tee.beside or tee.stream).flush()

    def detach_all(self) -> None:
        """Make all tees only pass text on."""
        for tee in self._tees:
            tee.users = 0
        self._tees.clear()
        self._before = None


_STREAMS = _Stream("stdout", 1), _Stream("stderr", 2)


def _without_retired(stream: Any) -> Any:
    while isinstance(stream, _Tee) and not stream.users:
        stream = stream.stream
    return stream


def _before_fork() -> None:
    """Flush the streams, so that a child does not write buffered text of its parent again."""
    _descriptors.drain()
    for stream in _STREAMS:
        stream.flush()


def _after_fork() -> None:
    """Stop capturing in a forked child, because the trials run in the parent."""
    for stream in _STREAMS:
        stream.detach_all()
    _descriptors.forget()
    _local.writing = False


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_child=_after_fork)
