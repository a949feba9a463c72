"""The lease of a study, which gives one driver the right to write, and the identity of drivers."""

from __future__ import annotations

import itertools
import os
import socket
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tuner.records import Record

LEASE = 30.0
"""Seconds without renewal after which another driver may replace this one."""


@dataclass(frozen=True, slots=True)
class LeaseOwner(Record):
    """The owner of a lease: one driver of one process.

    `process` distinguishes that process from others with the same number, earlier or later, on this
    machine or on another one of the same name. It holds the boot ID, the process namespace and the
    process's start time, and after a # the number of the driver within that process.
    """

    host: str
    pid: int
    process: str = ""

    @property
    def is_gone(self) -> bool:
        """Whether this process is known to have ended; always False for another machine."""
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

    The `epoch` grows by one each time a driver takes the study. Every write states its epoch, and a
    write with an earlier one is refused. The lease expires `seconds` after its last renewal; every
    write renews it. An expired lease stays valid until another driver takes the study.

    `silence` is how many seconds before this lease the previous driver renewed its own, if it died
    without releasing it; None otherwise. The record does not have the duration of that lease, so it
    counts as being as long as this one.
    """

    study: str
    epoch: int
    owner: LeaseOwner
    seconds: float
    silence: float | None = None


def new_lease_owner() -> LeaseOwner:
    """Return the identity of a new driver of this process."""
    pid = os.getpid()
    return LeaseOwner(socket.gethostname(), pid, f"{_identity(pid) or ''}#{next(_numbers)}")


_numbers = itertools.count(1)


@cache
def _machine() -> str:
    """Return text that identifies this boot of this machine, and the process namespace.

    Empty if the system does not tell: then no process is ever known to be gone.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}/{os.readlink('/proc/self/ns/pid')}/"
    except OSError:
        return ""


def _identity(pid: int) -> str | None:
    """Return text that distinguishes a process from others of its number; None if none exists now.

    Empty if the process exists but this user may not inspect it, for example if ``/proc`` is
    mounted with ``hidepid``.
    """
    if not _machine():
        return None
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "" if _exists(pid) else None
    # Fields 3 and 22 of proc(5), after the name in brackets, which may contain any character.
    state, *fields = stat.rpartition(")")[2].split()
    return None if state in "ZX" else f"{_machine()}{fields[18]}"


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError, ValueError):
        return False
    except OSError:
        return True  # the process of another user
    return True
