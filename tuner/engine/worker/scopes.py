"""Scopes of the trials that run in this process, and the scope that a thread works for.

Several serial searches may run at once on threads of one process, and a search may run inside the
objective of another. A scope marks the lifetime of one trial's use of a process-wide resource. The
current scope follows the context of the thread (or greenlet), and a thread that is started inside
a scope inherits it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any


class Scope:
    """One trial's use of a process-wide resource, from entry to exit.

    `kind` names the resource, `value` is the trial's own part of it. `parent` is the scope in
    which this one was opened. `others` are the threads that existed before.
    """

    __slots__ = ("closed", "kind", "others", "parent", "value")

    def __init__(self, kind: str, value: Any, parent: Scope | None) -> None:
        self.kind = kind
        self.value = value
        self.parent = parent
        self.closed = False
        self.others = {thread.ident for thread in threading.enumerate()} - {threading.get_ident()}

    def chain(self) -> Iterator[Scope]:
        """Yield this scope and those around it, without the closed ones."""
        scope: Scope | None = self
        while scope is not None:
            if not scope.closed:
                yield scope
            scope = scope.parent


lock = threading.RLock()
"""Guards the open scopes and every resource that they share.

It is reentrant, as a signal handler may run anywhere on the main thread.
"""

_open: set[Scope] = set()
_current: ContextVar[Scope | None] = ContextVar("tuner_scope", default=None)
_ATTRIBUTE = "_tuner_scope"
_start_of_threads = threading.Thread.start


def current() -> Scope | None:
    """Return the innermost open scope that the calling thread works for, if there is one."""
    scope = _current.get()
    if scope is None:
        thread = threading.current_thread()
        scope = getattr(thread, _ATTRIBUTE, None)
        if scope is None and isinstance(thread, threading._DummyThread):
            scope = _only_one()
    return None if scope is None else next(scope.chain(), None)


def is_alone(scope: Scope) -> bool:
    """Return whether no other scope of this kind is open, those around it not counted."""
    around = set(scope.chain())
    return not any(other.kind == scope.kind and other not in around for other in _open)


def count(kind: str) -> int:
    """Return the number of open scopes of a kind."""
    return sum(scope.kind == kind for scope in _open)


@contextmanager
def opened(kind: str, value: Any = None) -> Iterator[Scope]:
    """Open a scope for this block, inside the current one."""
    before = _current.get()
    with lock:
        scope = Scope(kind, value, current())
        if not _open and threading.Thread.start is _start_of_threads:
            threading.Thread.start = _start_in_scope  # type: ignore[method-assign]
        _open.add(scope)
    _current.set(scope)
    try:
        yield scope
    finally:
        _current.set(before)
        with lock:
            scope.closed = True
            _open.discard(scope)
            if not _open and threading.Thread.start is _start_in_scope:
                threading.Thread.start = _start_of_threads  # type: ignore[method-assign]


def _start_in_scope(self: threading.Thread) -> None:
    """Start a thread that works for the same scope as the thread that starts it."""
    if (scope := current()) is not None:
        setattr(self, _ATTRIBUTE, scope)
    _start_of_threads(self)


def only_chain(kind: str) -> list[Scope]:
    """Return the open scopes of a kind, innermost first, if all are around one another."""
    with lock:
        scopes = [scope for scope in _open if scope.kind == kind]
        chains = [[s for s in scope.chain() if s.kind == kind] for scope in scopes]
        longest = max(chains, key=len, default=[])
        return longest if len(longest) == len(scopes) else []


def _only_one() -> Scope | None:
    """Return the innermost scope for a thread that Python did not start, if that is certain."""
    with lock:
        innermost = max(_open, key=lambda scope: len(list(scope.chain())), default=None)
        if innermost is None or not _open <= set(innermost.chain()):
            return None
    return None if threading.get_ident() in innermost.others else innermost


def _after_fork() -> None:
    """Leave every scope in a forked child: the trials run in the parent."""
    global lock
    lock = threading.RLock()
    for scope in _open:
        scope.closed = True
    _open.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
