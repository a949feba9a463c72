"""Who may write a study: the record of a lease, and what a process is known by."""

from __future__ import annotations

import itertools
import os
import socket
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tuner.records import Record

LEASE = 30.0
"""Seconds after which a driver that nothing is heard of may be replaced by another."""


@dataclass(frozen=True, slots=True)
class Holder(Record):
    """Who holds a study: one driver of one process.

    `process` tells that process from others that had or will have its number, on this machine or
    another of the same name: the machine's start, the process namespace and the process's own
    start; and after a # which driver of that process it is.
    """

    host: str
    pid: int
    process: str = ""

    @property
    def is_gone(self) -> bool:
        """Whether this process is known to have ended; never true of one on another machine."""
        here = _machine()
        if not here or self.host != socket.gethostname() or not self.process.startswith(here):
            return False
        now = _identity(self.pid)
        return now != "" and now != self.process.partition("#")[0]

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


@dataclass(frozen=True, slots=True)
class Lease(Record):
    """The right to write a study, until another driver takes it.

    The `epoch` is one more with each driver that took the study. Whoever writes names it, and a
    write of an earlier one is refused. The lease lapses `seconds` after it was last renewed, which
    every write does; that it has lapsed takes nothing from its holder until another one comes.
    """

    study: str
    epoch: int
    holder: Holder
    seconds: float


def new_holder() -> Holder:
    """Return what one more driver of this process is known by."""
    pid = os.getpid()
    return Holder(socket.gethostname(), pid, f"{_identity(pid) or ''}#{next(_numbers)}")


_numbers = itertools.count(1)


@cache
def _machine() -> str:
    """Return what tells this start of this machine, and process namespace, from any other.

    Empty where the system does not say: then no process is ever known to be gone.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}/{os.readlink('/proc/self/ns/pid')}/"
    except OSError:
        return ""


def _identity(pid: int) -> str | None:
    """Return what tells a process from others of its number; None if there is none now.

    Empty if there is one that this user may not look at, as where ``/proc`` is mounted with
    ``hidepid``.
    """
    if not _machine():
        return None
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "" if _exists(pid) else None
    # Fields 3 and 22 of proc(5), after the name in brackets, which may hold anything.
    state, *fields = stat.rpartition(")")[2].split()
    return None if state in "ZX" else f"{_machine()}{fields[18]}"


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError, ValueError):
        return False
    except OSError:
        return True  # another user's
    return True
