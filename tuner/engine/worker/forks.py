"""Forked copies of a process that runs user code.

An objective may fork. A child that returns from the objective, or raises out of it, would go on as
a copy of the worker: it would run the remaining trials, write to the store, and wait for events
that never come. Such a child ends here instead.
"""

from __future__ import annotations

import gc
import os
import sys
import traceback
from contextlib import AbstractContextManager, suppress

from tuner.backends.protocol import Channel
from tuner.errors import BackendError
from tuner.records import Message


class ProcessBoundChannel:
    """A channel that only the process of its trial can use.

    A forked child has a copy of the channel, whose messages would be lost, or be written to the
    store a second time.
    """

    __slots__ = ("_channel", "_pid", "worker")

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._pid = os.getpid()
        self.worker = channel.worker

    def send(self, message: Message) -> None:
        """Send a message.

        Raises
        ------
        BackendError
            In a forked child.
        """
        if os.getpid() != self._pid:
            raise BackendError(
                f"trial: process {os.getpid()} was forked in the objective and has no connection "
                f"to the search; return the value to process {self._pid}, and report it there"
            )
        self._channel.send(message)

    def stop_requested(self) -> bool:
        """Whether the trial is to end; a forked child ends with its parent."""
        return os.getpid() != self._pid or self._channel.stop_requested()


def exit_forked_children() -> AbstractContextManager[None]:
    """End every forked child of this process that leaves the block.

    The child writes its traceback, if it has an error, flushes its output and exits with the status
    that it would have had: 0, 1 after an error, or that of `SystemExit`.
    """
    return _Block(os.getpid())


class _Block(AbstractContextManager[None]):
    """No generator: `contextlib` sets attributes of the error, which may refuse that."""

    def __init__(self, parent: int) -> None:
        self._parent = parent

    def __enter__(self) -> None:
        _running.append(None)

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if os.getpid() != self._parent:
            _end(error)
        _running.pop()


_running: list[None] = []
"""One item per block that runs in this process, on any thread."""


def _leave_garbage_to_the_parent() -> None:
    """Exempt the objects of the parent from garbage collection in a child that user code forks.

    A finalizer may wait for a lock that a thread of the parent held at the fork, such as that of
    SQLite's allocator, and no thread of the child ever releases it.
    """
    if _running:
        gc.freeze()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_garbage_to_the_parent)


def exit_if_forked(pid: int) -> None:
    """End this process at once unless it has this process id.

    A child that left other user code than an objective, such as an optimizer, comes this far.
    """
    if os.getpid() != pid:
        os._exit(1)


def _end(error: BaseException | None) -> None:
    status = 0
    if isinstance(error, SystemExit):
        code = error.code
        # As the kernel does: os._exit would raise for a number that is too large.
        status = code & 0xFF if isinstance(code, int) else int(code is not None)
    elif error is not None:
        status = 1
    try:
        if error is not None and not isinstance(error, SystemExit):
            traceback.print_exception(error)
        for stream in (sys.stdout, sys.stderr):
            with suppress(Exception):
                stream.flush()
    finally:
        # Whatever is raised above, a signal included, the child must not go on.
        os._exit(status)
