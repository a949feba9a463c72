"""Restore process state after each trial.

An objective may change state that the next trial on the worker depends on, or with
``backend="serial"`` the user's program. This state belongs to the process, so concurrent trials on
several threads share it: the first one saves it and the last one restores it.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import gc
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from tuner.engine.worker import generators, scopes
from tuner.errors.variables import variables

_SIGNALS = [int(number) for number in signal.Signals]
_TIMERS = [
    getattr(signal, name)
    for name in ("ITIMER_REAL", "ITIMER_VIRTUAL", "ITIMER_PROF")
    if hasattr(signal, name)
]


_KIND = "process state"


class _State:
    """A snapshot of the state of the process."""

    def __init__(self) -> None:
        self._folder = _working_directory()
        self._variables = variables()
        self._path, self._path_list = list(sys.path), sys.path
        self._arguments, self._argument_list = list(sys.argv), sys.argv
        self._limit, self._collects = sys.getrecursionlimit(), gc.isenabled()
        self._generators = generators.state()
        self._idle = [timer for timer in _TIMERS if not signal.getitimer(timer)[0]]
        self._warnings = warnings.catch_warnings()
        self._warnings.__enter__()

    def restore(self) -> None:
        """Restore the state."""
        for timer in self._idle:
            if signal.getitimer(timer)[0]:
                signal.setitimer(timer, 0)
        if self._folder and _working_directory() != self._folder:
            with suppress(OSError):  # it was deleted
                os.chdir(self._folder)
        if variables() != self._variables:
            self._restore_variables()
        self._path_list[:] = self._path
        sys.path = self._path_list
        self._argument_list[:] = self._arguments
        sys.argv = self._argument_list
        with suppress(RecursionError):  # the current depth exceeds the limit
            sys.setrecursionlimit(self._limit)
        (gc.enable if self._collects else gc.disable)()
        generators.restore(self._generators)
        self._warnings.__exit__(None, None, None)

    def _restore_variables(self) -> None:
        before = {os.fsdecode(name): os.fsdecode(text) for name, text in self._variables.items()}
        for name in set(os.environ) - set(before):
            del os.environ[name]
        for name, text in before.items():
            if os.environ.get(name) != text:
                os.environ[name] = text


_first: _State | None = None
"""The state before the first of the active trials."""

_running = 0
"""Number of active trials."""


def _after_fork() -> None:
    global _first, _running
    _first, _running = None, 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


@contextmanager
def restored(seed: int) -> Iterator[None]:
    """Seed the global generators for this block, and restore the process after.

    These are the generators of Python, NumPy and, if it is imported, PyTorch.

    Restores the generators, the working directory, the environment variables, the module path, the
    warning filters, the recursion limit, the switch of the garbage collector and signal handlers,
    and stops timers that the block started.

    Blocks on several threads may overlap in any order: the end of the last one restores the state
    before the first one. A nested block restores the state at its own end, unless a third one
    overlaps it. Only the main thread can set signal handlers, so each of its blocks restores them.
    """
    with scopes.opened(_KIND) as scope, _handlers():
        own = _save(scope)
        generators.seed(seed)
        try:
            yield
        finally:
            _restore(scope, own)


def _save(scope: scopes.Scope) -> _State | None:
    """Save the state, unless a trial on another thread may have changed it."""
    global _first, _running
    with scopes.lock:
        own = _State() if not _running or scopes.is_alone(scope) else None
        if not _running:
            _first = own
        _running += 1
        return own


def _restore(scope: scopes.Scope, own: _State | None) -> None:
    """Restore the state, unless a trial on another thread still uses it."""
    global _first, _running
    with scopes.lock:
        if not _running:
            return  # in a forked child, where no trial runs
        _running -= 1
        state = own if scopes.is_alone(scope) else None
        if not _running:
            state, _first = _first, None
        if state is not None:
            state.restore()


def _working_directory() -> str:
    try:
        return os.getcwd()
    except FileNotFoundError:
        return ""  # deleted


@contextmanager
def _handlers() -> Iterator[None]:
    """Restore signal handlers, which only the main thread can set."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # The function of `signal` makes enum members, which takes ten times as long.
    handlers: dict[int, Any] = {number: _signal.getsignal(number) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            if _signal.getsignal(number) is not handler and handler is not None:
                signal.signal(number, handler)
