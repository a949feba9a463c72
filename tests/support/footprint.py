"""Detects tests that start processes, listen on sockets or import Ray.

`make check` runs the tests without marks for Ray, PostgreSQL and other processes. The audit hook in
this module fails a test that needs such a mark and lacks it, in every run, so the marks stay
correct.
"""

from __future__ import annotations

import _posixsubprocess
import os
import socket
import sys
from functools import wraps
from pathlib import PurePath
from typing import Any

BRIEF = {"git", "uname", "lscpu", "ldconfig"}
"""Programs that end at once and need no mark: of the record, joblib (lscpu), PyTorch (ldconfig)."""

FORK_EXEC = "tests.fork_exec"
"""Audit event for a process that `multiprocessing` starts, which raises none of its own."""

LISTEN = "tests.listen"
"""Audit event for a socket that starts to listen, which raises none of its own."""

_STARTS = {"os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.system", FORK_EXEC}

_found: list[str] | None = None


def install() -> None:
    """Add the audit hook to this process; it cannot be removed."""
    fork_exec, listen = _posixsubprocess.fork_exec, socket.socket.listen

    @wraps(fork_exec)
    def audited_fork_exec(*args: Any) -> int:
        sys.audit(FORK_EXEC)  # `subprocess` calls the original and raises its own event
        return fork_exec(*args)

    @wraps(listen)
    def audited_listen(self: socket.socket, *args: Any) -> None:
        sys.audit(LISTEN, self.getsockname())
        listen(self, *args)

    _posixsubprocess.fork_exec = audited_fork_exec
    socket.socket.listen = audited_listen
    sys.addaudithook(_hook)


def watch() -> None:
    """Forget earlier events and watch from now on."""
    global _found
    _found = []


def stop() -> list[str]:
    """Stop watching and return the events that need a mark."""
    global _found
    found, _found = _found or [], None
    return found


def _hook(event: str, args: tuple[Any, ...]) -> None:
    if _found is None:
        return
    if event == "subprocess.Popen":
        command = args[1] if isinstance(args[1], list | tuple) else [args[1]]
        words = [os.fsdecode(word) for word in command]
        if PurePath(words[0]).name not in BRIEF:
            _found.append(f"starts {' '.join(words)[:200]}")
    elif event in _STARTS:
        _found.append(f"starts a process ({event})")
    elif event == LISTEN and isinstance(args[0], tuple):  # Unix sockets are files
        _found.append(f"listens on {args[0]}")
    elif event == "import" and args[0] == "ray":
        _found.append("imports ray")
