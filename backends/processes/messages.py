"""The messages between the driver and a worker process, and the pipe that carries them.

A message is sent as a frame: the length in 8 bytes, then the pickle. Bytes in a pipe outlive the
process that wrote them. So whatever a worker has sent arrives, even if the worker dies immediately
afterwards.
"""

from __future__ import annotations

import os
import pickle
import select
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tuner.backends.os_processes import ProcessIdentity

LENGTH = 8
"""Bytes of the length of a frame."""

READ_SIZE = 2**20
"""Maximum bytes of one read."""


def as_frame(item: Any) -> bytes:
    """Return the frame of an item; errors of pickling propagate."""
    data = pickle.dumps(item, pickle.HIGHEST_PROTOCOL)
    return len(data).to_bytes(LENGTH, "little") + data


class FrameReader:
    """Reads frames from a pipe; a frame may arrive in parts."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.at_end = False
        self._buffer = bytearray()

    def read(self) -> list[Any]:
        """Read once, and return the items that are complete; set `at_end` after the last."""
        try:
            data = os.read(self.descriptor, READ_SIZE)
        except BlockingIOError:
            return []
        self.at_end = not data
        self._buffer += data
        return list(self._complete())

    def read_rest(self) -> list[Any]:
        """Return the items that a dead process has left in a pipe that does not block."""
        items: list[Any] = []
        while not self.at_end and select.select([self.descriptor], [], [], 0)[0]:
            items += self.read()
        return items

    def _complete(self) -> Iterator[Any]:
        start = 0
        while len(self._buffer) - start >= LENGTH:
            first = start + LENGTH
            end = first + int.from_bytes(self._buffer[start:first], "little")
            if len(self._buffer) < end:
                break
            with memoryview(self._buffer) as view:
                item = pickle.loads(view[first:end])
            yield item
            start = end
        del self._buffer[:start]


class FrameWriter:
    """Writes frames to a pipe from any thread; a frame that is interrupted is still written whole.

    The objective may raise an exception in the middle of a write, from a signal handler.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lock = threading.RLock()  # a signal handler may report in the middle of a report

    def write(self, item: Any) -> None:
        """Write an item; blocks while the pipe is full."""
        frame = as_frame(item)
        if len(frame) <= select.PIPE_BUF:
            with self._lock:
                os.write(self._descriptor, frame)  # the kernel writes all of it or nothing
        else:
            thread = threading.Thread(target=self._write_all, args=(frame,), name="tuner-frame")
            thread.start()
            thread.join()

    def _write_all(self, frame: bytes) -> None:
        with self._lock:
            view = memoryview(frame)
            while view:
                view = view[os.write(self._descriptor, view) :]


@dataclass(frozen=True, slots=True)
class LoadWork:
    """Load the work from the shared file; see `SharedFile` for the `parts`."""

    parts: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class RunJob:
    """Run a job, which is pickled: the worker reports params that it cannot load."""

    run: str
    job: bytes


@dataclass(frozen=True, slots=True)
class StopJob:
    """Ask a job to end soon."""

    run: str


@dataclass(frozen=True, slots=True)
class Loaded:
    """The worker is ready, unless there was a `problem` with the work."""

    process: ProcessIdentity
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Started:
    """The worker has taken the job that it was sent."""


@dataclass(frozen=True, slots=True)
class Leaving:
    """The worker starts no more jobs, not even one that it has been sent, for this reason."""

    reason: str
