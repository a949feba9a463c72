"""Samples of served rows: a reservoir for each period, written by a thread."""

from __future__ import annotations

import json
import logging
import random
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tuner.registry.served import Sample
from tuner.serving.encoding import by_column, plain

if TYPE_CHECKING:
    from tuner.records import ModelVersion

_log = logging.getLogger("tuner")

MOST_BYTES = 1_000_000
"""Size of the JSON of a sample above which rows are left out."""

MOST_VALUES = 1_000
"""Number of values of a row above which its inputs are left out."""


class Sampler:
    """Draws a bounded uniform sample of the rows of each period, and writes it in the background.

    Parameters
    ----------
    write
        Writes a sample.
    rows
        Number of rows of a sample.
    period
        Seconds between two samples.
    seed
        Seed of the choice of rows, None for a random one.

    Attributes
    ----------
    written, failed : int
        Number of rows that were written, and of samples that could not be.
    """

    def __init__(
        self,
        write: Callable[[Sample], None],
        *,
        rows: int = 100,
        period: float = 60.0,
        seed: int | None = None,
    ) -> None:
        self._write, self._rows, self._period = write, rows, period
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self._reservoirs: dict[tuple[str, int], _Reservoir] = {}
        self.written = self.failed = 0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def offer(self, version: ModelVersion, inputs: Any, predictions: Any, n_rows: int) -> None:
        """Offer the rows of a request; costs microseconds for a request of one row."""
        key = version.name, version.version
        with self._lock:
            kept = self._reservoirs.get(key)
            if kept is None:
                kept = self._reservoirs[key] = _Reservoir(self._rows, self._random)
            kept.offer(inputs, predictions, n_rows)

    def start(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self._run, name="tuner-samples", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Write what was sampled, and end the thread; wait at most five seconds."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=5)

    def _run(self) -> None:
        while not self._stop.wait(self._period):
            self.flush()
        self.flush()

    def flush(self) -> None:
        """Write the samples of this period; a failure is logged and counted."""
        with self._lock:
            full, self._reservoirs = self._reservoirs, {}
        for (name, version), kept in full.items():
            try:
                sample = Sample(name, version, kept.seen, _bounded(kept.columns()))
                self._write(sample)
                self.written += sample.rows
            except Exception as error:  # the store is away, the model was deleted, odd values
                self.failed += 1
                _log.warning("samples of %s@%d were not written: %s", name, version, error)


class _Reservoir:
    """A uniform sample of the rows seen so far (Vitter 1985, algorithm R)."""

    def __init__(self, size: int, generator: random.Random) -> None:
        self._size, self._random = size, generator
        self._kept: list[tuple[Any, Any, int]] = []
        self.seen = 0

    def offer(self, inputs: Any, predictions: Any, n_rows: int) -> None:
        chosen = self._chosen(n_rows)
        self.seen += n_rows
        if n_rows > 1 and chosen:  # a reference to all rows would keep them in memory
            rows = list(chosen.values())
            inputs, predictions = _taken(inputs, rows), _taken(predictions, rows)
            chosen = {slot: i for i, slot in enumerate(chosen)}
        for slot, row in chosen.items():
            entry = inputs, predictions, row
            if slot < len(self._kept):
                self._kept[slot] = entry
            else:
                self._kept.append(entry)

    def _chosen(self, n_rows: int) -> dict[int, int]:
        """Return the slots that the next rows take, with the row of each."""
        if n_rows == 1:
            slot = self.seen
            if slot >= self._size:
                slot = int(self._random.random() * (slot + 1))
            return {slot: 0} if slot < self._size else {}
        import numpy as np

        places = np.arange(self.seen, self.seen + n_rows)
        drawn = np.random.default_rng(self._random.getrandbits(64)).integers(0, places + 1)
        slots = np.where(places < self._size, places, drawn)
        rows = np.nonzero(slots < self._size)[0]
        return {int(slots[row]): int(row) for row in rows}

    def columns(self) -> dict[str, list[Any]]:
        """Return the rows by column."""
        columns: dict[str, list[Any]] = {}
        for count, (inputs, predictions, row) in enumerate(self._kept):
            found = _input_columns(_taken(inputs, [row])) | by_column(_taken(predictions, [row]))
            for name, values in found.items():
                columns.setdefault(name, [None] * count).append(values[0])
            for values in columns.values():
                values += [None] * (count + 1 - len(values))
        return columns


def _taken(data: Any, rows: list[int]) -> Any:
    if hasattr(data, "iloc"):
        return data.iloc[rows]
    if isinstance(data, dict):
        return {name: [values[row] for row in rows] for name, values in data.items()}
    if isinstance(data, list | tuple):
        return [data[row] for row in rows]
    return data[rows]


def _input_columns(data: Any) -> dict[str, list[Any]]:
    """Return one row of the inputs by column; nothing if it has too many values."""
    if hasattr(data, "iloc"):
        return {str(name): plain(data[name]) for name in data.columns[:MOST_VALUES]}
    if isinstance(data, list) and data and isinstance(data[0], dict):
        return {str(name): plain([value]) for name, value in data[0].items()}
    if isinstance(data, dict):
        return {name: plain(values) for name, values in data.items() if len(values) == 1}
    (row,) = plain(data)
    if not isinstance(row, list):
        return {"x0": [row]}
    flat = len(row) <= MOST_VALUES and not any(isinstance(value, list) for value in row)
    return {f"x{i}": [value] for i, value in enumerate(row)} if flat else {}


def _bounded(columns: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """Return as many rows as fit into `MOST_BYTES`, with NaN as None."""
    found = {name: [_finite(value) for value in values] for name, values in columns.items()}
    while len(json.dumps(found)) > MOST_BYTES and any(map(len, found.values())):
        found = {name: values[: len(values) // 2] for name, values in found.items()}
    return found


def _finite(value: Any) -> Any:
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    if isinstance(value, list):
        return [_finite(each) for each in value]
    return value
