"""What a Ray worker has begun and finished, written where the worker's death cannot take it.

Jobs of a few milliseconds travel in packets, and their outcomes return together. When a worker
dies in the middle of a packet, the driver must know which job it ran, and what came of those
before. So a worker appends to a file, before it begins each job, which one that is and all that
the one before it sent. The operating system keeps the file whatever becomes of the process.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Sequence
from pathlib import Path

from tuner.backends.protocol import Event


class Journal:
    """The driver's end: a file on its machine."""

    def __init__(self, path: Path) -> None:
        path.touch()
        self.path = str(path)

    def read(self, packet: int) -> tuple[int, list[Event]]:
        """Return how many jobs of this packet have begun, and the events of all but the last."""
        begun = 0
        events: list[Event] = []
        with open(self.path, "rb") as file:
            while True:
                try:
                    number, place, saved = pickle.load(file)
                except (EOFError, pickle.UnpicklingError):
                    return begun, events  # the end, or the writer died before it began the job
                if number == packet:
                    begun = place
                    events += saved

    def remove(self) -> None:
        """Delete the file."""
        Path(self.path).unlink(missing_ok=True)


class JournalPen:
    """The worker's end."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND)
        self._packet = 0

    def write(self, packet: int, place: int, events: Sequence[Event]) -> None:
        """Write that the job at `place` (from 1) begins, and what was sent since the last one."""
        if packet != self._packet:
            os.ftruncate(self._file, 0)
            self._packet = packet
        entry = memoryview(pickle.dumps((packet, place, events), pickle.HIGHEST_PROTOCOL))
        while entry:
            entry = entry[os.write(self._file, entry) :]
