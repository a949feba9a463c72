"""Faults of a sweep: the victim and the signal."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault of `victim`: killed, frozen forever, or frozen for `pause` seconds."""

    victim: str
    signal: str
    pause: float = 0.0

    def __str__(self) -> str:
        return f"{self.victim} {self.signal}"

    def strike(self, pid: int) -> None:
        """Apply the fault to a process."""
        with suppress(ProcessLookupError):
            if self.signal == "SIGKILL":
                os.kill(pid, signal.SIGKILL)
                return
            os.kill(pid, signal.SIGSTOP)
            if self.pause:
                time.sleep(self.pause)
                os.kill(pid, signal.SIGCONT)


FAULTS: list[tuple[int, Callable[[Random], Fault]]] = [
    (9, lambda _: Fault("driver", "SIGKILL")),
    (3, lambda random: Fault("driver", "SIGSTOP", random.uniform(0.5, 4.0))),
    (7, lambda _: Fault("worker", "SIGKILL")),
    (3, lambda random: Fault("worker", "SIGSTOP", random.uniform(0.5, 6.0))),
    (2, lambda _: Fault("worker", "SIGSTOP")),
    (2, lambda _: Fault("raylet", "SIGKILL")),
    (2, lambda random: Fault("raylet", "SIGSTOP", random.uniform(0.5, 4.0))),
]
"""The frequency of each fault, and a function that draws its details."""


def faults(random: Random, number: int) -> Iterator[Fault]:
    """Yield `number` random faults."""
    weights = [weight for weight, _ in FAULTS]
    for _, draw in random.choices(FAULTS, weights, k=number):
        yield draw(random)


def children_of(parents: set[int]) -> dict[int, bytes]:
    """Return the command lines of the children of these processes."""
    found = {}
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            with suppress(OSError):
                parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
                if parent in parents:
                    found[int(path.name)] = (path / "cmdline").read_bytes()
    return found


def descendants_of(pid: int) -> set[int]:
    """Return all descendants of a process."""
    found: set[int] = set()
    new = {pid}
    while new:
        new = set(children_of(new)) - found
        found |= new
    return found
