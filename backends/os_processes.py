"""Inspect and kill processes of this machine, safely after reuse of process ids."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

PR_SET_PDEATHSIG = 1
"""See prctl(2): the signal sent to a process when its parent ends."""

PARENT_CHECK_INTERVAL = 1.0
"""Seconds between checks of the parent on systems that cannot send a signal."""


class ProcessState(StrEnum):
    """The state of a process."""

    ALIVE = "alive"
    FROZEN = "frozen"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """A process of one machine.

    `born` is its start time in ticks since boot, because the system reuses the `pid` after the
    process ends. It is empty on systems without ``/proc``.
    """

    pid: int
    born: str = ""


def this_process() -> ProcessIdentity:
    """Return the current process."""
    return ProcessIdentity(os.getpid(), _stat(os.getpid())[1])


def state_of(process: ProcessIdentity) -> ProcessState:
    """Return the state of a process of this machine.

    A process that a signal stopped, as by ``kill -STOP``, is frozen. A process under a debugger
    counts as alive, and so does every process on systems without ``/proc``.
    """
    if not process.born:
        return ProcessState.ALIVE
    state, born = _stat(process.pid)
    if born != process.born or state in "ZX":
        return ProcessState.GONE
    return ProcessState.FROZEN if state == "T" else ProcessState.ALIVE


def kill_process(process: ProcessIdentity) -> None:
    """Kill a process of this machine, frozen or not; ignore one that has already ended."""
    if process.born and state_of(process) is not ProcessState.GONE:
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)


def _stat(pid: int) -> tuple[str, str]:
    """Return a process's state and start time, empty if they are unknown."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return "", ""
    fields = text.rpartition(")")[2].split()  # the preceding name may contain any character
    return fields[0], fields[19]


def exit_with_parent(parent: int) -> None:
    """End this process as soon as its parent, of process id `parent`, has ended.

    If only the raylet of a Ray node dies, or the driver of a pool of processes, its workers would
    continue unnoticed. On Linux the kernel ends this process in every state, even if it is frozen
    or blocks all other threads. Call this on a persistent thread; it does nothing if `parent` was
    never the parent.
    """
    if os.getppid() != parent:
        return
    if sys.platform != "linux" or ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL) != 0:
        threading.Thread(target=_watch, args=(parent,), name="tuner-parent", daemon=True).start()
    elif os.getppid() != parent:
        os._exit(1)  # it ended just before


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(PARENT_CHECK_INTERVAL)
    os._exit(1)
