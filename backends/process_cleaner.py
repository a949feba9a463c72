"""Clean up after an objective in a worker process, or request a replacement of the worker."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

if sys.platform != "win32":
    import resource

PR_SET_CHILD_SUBREAPER = 36
"""See prctl(2): a process that has lost its parent becomes a child of this one."""

MAX_THREADS = 32
"""Maximum number of threads that trials may leave in a worker; each slows later trials."""

_LIMITS = ("AS", "CPU", "DATA", "FSIZE", "NOFILE", "NPROC")


class ProcessCleaner:
    """Keeps the process of a worker fit for the next trial.

    Processes that a trial leaves are killed, including daemons. Pools that libraries keep for the
    next trial, such as joblib's, are kept. Threads cannot be ended, and open files may be in use,
    so a worker that accumulates too many of them is replaced.
    """

    def __init__(self) -> None:
        self._children = sys.platform == "linux"
        if self._children:
            ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
        self._before = set(_children())
        self._threads = threading.active_count()
        self._limits = _limits()
        self._streams = {number: os.dup(number) for number in (0, 1, 2)}

    def clean(self) -> str:
        """Clean up after a trial; return the reason to replace the worker, empty if none."""
        try:
            self._restore_streams()
            return (
                self._kill_children()
                or self._restore_limits()
                or _check_files()
                or self._check_threads()
            )
        except OSError as error:
            return f"cleanup after its trial failed: {error}"

    def _kill_children(self) -> str:
        if not self._children or not _has_children():
            return ""
        kept = self._before | _library_processes()
        pool = _multiprocessing_children()
        ended: set[int] = set()
        # Children of a killed process become children of this one.
        while left := set(_children()) - kept - ended:
            ended |= left
            for pid in left:
                _end_child(pid)
        return (
            "its trial left a pool of processes that it had not shut down" if ended & pool else ""
        )

    def _restore_streams(self) -> None:
        """Restore the standard streams after they were closed or redirected."""
        for number, copy in self._streams.items():
            try:
                same = os.path.samestat(os.fstat(number), os.fstat(copy))
            except OSError:
                same = False
            if not same:
                with contextlib.suppress(OSError):
                    os.dup2(copy, number)

    def _restore_limits(self) -> str:
        if self._limits == _limits():
            return ""
        for number, limits in self._limits.items():
            try:
                resource.setrlimit(number, limits)
            except (OSError, ValueError):
                return "its trial lowered a resource limit permanently"
        return ""

    def _check_threads(self) -> str:
        left = threading.active_count() - self._threads
        return f"its trials left {left} threads running" if left > MAX_THREADS else ""


def _has_children() -> bool:
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _children() -> Iterable[int]:
    """Return the children of this process, across all its threads."""
    for path in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(OSError):
            yield from map(int, path.read_text().split())


def _end_child(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, 0)


def _library_processes() -> set[int]:
    """Return the processes that libraries keep and reuse."""
    loky = sys.modules.get("joblib.externals.loky.reusable_executor")
    pool: Any = getattr(loky, "_executor", None)
    kept = set(getattr(pool, "_processes", None) or ())
    for module, name, attribute in (
        ("multiprocessing.resource_tracker", "_resource_tracker", "_pid"),
        ("multiprocessing.forkserver", "_forkserver", "_forkserver_pid"),
        ("joblib.externals.loky.backend.resource_tracker", "_resource_tracker", "_pid"),
    ):
        helper = getattr(sys.modules.get(module), name, None)
        kept.add(getattr(helper, attribute, None) or 0)
    return kept


def _multiprocessing_children() -> set[int]:
    module = sys.modules.get("multiprocessing.process")
    children: Any = getattr(module, "_children", ())
    return {child.pid for child in children}


def _limits() -> dict[int, tuple[int, int]]:
    if sys.platform == "win32":
        return {}
    numbers = (getattr(resource, f"RLIMIT_{name}", None) for name in _LIMITS)
    return {number: resource.getrlimit(number) for number in numbers if number is not None}


_GAPS = 16
"""Free descriptors below those that a trial left, which the trial's own capture has closed."""


def _check_files() -> str:
    """Return a reason if more than half of the permitted files are open."""
    if sys.platform == "win32":
        return ""
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    copies: list[int] = []
    try:
        for _ in range(_GAPS):
            copies.append(os.dup(1))  # the lowest free descriptor  # noqa: PERF401
        number = copies[-1]
    except OSError:
        number = most
    for copy in copies:
        os.close(copy)
    return f"its trials left {number} of {most} files open" if number > most // 2 else ""
