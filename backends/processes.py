"""Processes of this machine: how one stands, and how it is ended for certain."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class Condition(StrEnum):
    """How a process stands."""

    ALIVE = "alive"
    FROZEN = "frozen"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Process:
    """A process of one machine.

    `born` is when it began, in ticks since the machine did: the system gives a `pid` to another
    process once this one has ended. It is empty where there is no ``/proc``.
    """

    pid: int
    born: str = ""


def this_process() -> Process:
    """Return the process that this runs in."""
    return Process(os.getpid(), _stat(os.getpid())[1])


def condition_of(process: Process) -> Condition:
    """Return how a process of this machine stands.

    Frozen is what was stopped by a signal, as by ``kill -STOP``. One that a debugger holds is
    alive, and so is every one where there is no ``/proc`` to ask.
    """
    if not process.born:
        return Condition.ALIVE
    state, born = _stat(process.pid)
    if born != process.born or state in "ZX":
        return Condition.GONE
    return Condition.FROZEN if state == "T" else Condition.ALIVE


def end(process: Process) -> None:
    """End a process of this machine at once, frozen or not; one that is gone is no error."""
    if process.born and condition_of(process) is not Condition.GONE:
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)


def _stat(pid: int) -> tuple[str, str]:
    """Return a process's state and when it began, empty if that cannot be known."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return "", ""
    fields = text.rpartition(")")[2].split()  # the name before it may hold anything
    return fields[0], fields[19]
