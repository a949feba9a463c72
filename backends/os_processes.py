"""Inspect and kill processes of this machine, safely after reuse of process ids."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


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
