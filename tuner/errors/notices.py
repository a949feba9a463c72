"""Warnings about calls that do less than they were asked to."""

from __future__ import annotations

import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from tuner.errors import TunerWarning
from tuner.errors.credentials import hide

PACKAGE = __name__.partition(".")[0]


class _OfThread(threading.local):
    """The warnings of a thread that are not issued or raised at once."""

    held: list[str] | None = None
    late: list[TunerWarning] | None = None


_of_thread = _OfThread()


def warn(message: str) -> None:
    """Issue a `TunerWarning` that names the line which called tuner."""
    if _of_thread.held is not None:
        _of_thread.held.append(message)
        return
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and _is_ours(frame.f_globals.get("__name__", "")):
        level, frame = level + 1, frame.f_back
    try:
        warnings.warn(hide(message), TunerWarning, stacklevel=level)
    except TunerWarning as error:
        if _of_thread.late is None:
            raise
        _of_thread.late.append(error)


@contextmanager
def held(messages: list[str]) -> Iterator[None]:
    """Collect the warnings of this thread in `messages`, for the caller's thread to issue."""
    before, _of_thread.held = _of_thread.held, messages
    try:
        yield
    finally:
        _of_thread.held = before


@contextmanager
def raised_late() -> Iterator[None]:
    """Raise warnings that a filter turns into errors at the end, once the work is recorded."""
    late: list[TunerWarning] = []
    before, _of_thread.late = _of_thread.late, late
    try:
        yield
    finally:
        _of_thread.late = before
    if before is not None:
        before += late
    elif late:
        raise late[0]


def _is_ours(module: str) -> bool:
    return module in (PACKAGE, "contextlib") or module.startswith(f"{PACKAGE}.")
