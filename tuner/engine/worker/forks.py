"""End forked children of a process that runs user code.

An objective may fork. A child that returns from the objective, or raises an exception from it,
would continue as a copy of the worker: run the remaining trials, write to the store, and wait for
events that never come. This module ends such a child.
"""

from __future__ import annotations

import gc
import os
import sys
import traceback
from contextlib import AbstractContextManager, suppress

from tuner.backends.protocol import Channel
from tuner.engine.worker.output import outside
from tuner.errors import BackendError
from tuner.records import Message


class ProcessBoundChannel:
    """A channel that only the process of its trial can use.

    Messages through a forked child's copy would be lost or recorded twice.
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
        with outside():
            self._channel.send(message)

    def stop_requested(self) -> bool:
        """Whether the trial must end; always true in a forked child."""
        return os.getpid() != self._pid or self._channel.stop_requested()


def exit_forked_children() -> AbstractContextManager[None]:
    """End every forked child of this process that leaves the block.

    The child prints the traceback of an error, flushes its output and exits with the usual status:
    0, 1 after an error, or the code of `SystemExit`.
    """
    return _Block(os.getpid())


class _Block(AbstractContextManager[None]):
    """A class, because a generator of `contextlib` sets attributes of the error, which may fail."""

    def __init__(self, parent: int) -> None:
        self._parent = parent

    def __enter__(self) -> None:
        _running.append(None)

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if os.getpid() != self._parent:
            _end(error)
        _running.pop()


_running: list[None] = []
"""One item per active block in this process, on any thread."""


def _disable_finalizers() -> None:
    """Exempt the parent's objects from garbage collection in a child that user code forks.

    A finalizer may wait for a lock that a thread of the parent held at the fork, such as the lock
    of SQLite's allocator. No thread of the child releases it.
    """
    if _running:
        gc.freeze()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_disable_finalizers)


def exit_if_forked(pid: int) -> None:
    """End this process immediately unless it has this process id.

    Only a child that was forked in other user code, such as an optimizer, reaches this call.
    """
    if os.getpid() != pid:
        os._exit(1)


def _end(error: BaseException | None) -> None:
    status = 0
    if isinstance(error, SystemExit):
        code = error.code
        # Truncate like the kernel: os._exit raises for a number that is too large.
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
        # The child must not continue, even if a signal handler raises above.
        os._exit(status)
