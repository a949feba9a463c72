"""A journal of the started and finished jobs of a Ray worker that survives the worker's death.

Jobs of a few milliseconds are sent in batches, and their outcomes return together. If a worker
dies during a batch, the driver must know the running job and the outcomes of the earlier ones. So
before each job, the worker appends to a file the index of the job and all messages of the previous
one. The operating system keeps the file after the process dies.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Sequence
from pathlib import Path

from tuner.backends.protocol import Event


class Journal:
    """The driver's side: a file on its machine."""

    def __init__(self, path: Path) -> None:
        path.touch()
        self.path = str(path)

    def read(self, batch: int) -> tuple[int, list[Event]]:
        """Return how many jobs of this batch have started, and the events of all but the last."""
        begun = 0
        events: list[Event] = []
        with open(self.path, "rb") as file:
            while True:
                try:
                    number, place, saved = pickle.load(file)
                except (EOFError, pickle.UnpicklingError):
                    return begun, events  # the end, or the writer died before it began the job
                if number == batch:
                    begun = place
                    events += saved

    def remove(self) -> None:
        """Delete the file."""
        Path(self.path).unlink(missing_ok=True)


class JournalWriter:
    """The worker's side."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND)
        self._batch = 0

    def write(self, batch: int, place: int, events: Sequence[Event]) -> None:
        """Record that the job at `place` (from 1) starts, and the events since the last record."""
        if batch != self._batch:
            os.ftruncate(self._file, 0)
            self._batch = batch
        entry = memoryview(pickle.dumps((batch, place, events), pickle.HIGHEST_PROTOCOL))
        while entry:
            entry = entry[os.write(self._file, entry) :]
