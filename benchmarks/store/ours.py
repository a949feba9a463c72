"""Our store: trials and metrics written as a driver writes them, and read back."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tuner.records import Goal, Report, Run, State, StudyInfo, Trial
from tuner.search_spaces import Choice, Float, Int, Space
from tuner.tracking import Batch, SqlStore, open_store
from tuner.tracking.uuid7 import uuid7

BATCH = 500
"""Trials per write: the usual number that a driver collects during a commit."""

SPACE = Space(
    {
        **{f"x{i}": Float(0.0, 1.0) for i in range(6)},
        **{f"n{i}": Int(1, 100) for i in range(2)},
        **{f"c{i}": Choice("red", "green", "blue") for i in range(2)},
    }
)
"""Ten parameters."""


def new_study(store: SqlStore, name: str = "") -> StudyInfo:
    """Create a study of `SPACE`."""
    uid = uuid7()
    info = StudyInfo(uid, name or uid, SPACE.to_dict(), SPACE.fingerprint, (Goal(),), 0, 0.0)
    return store.create_study(info)


def batches(n: int, reports: int, seed: int = 0, first: int = 0) -> Iterator[Batch]:
    """Yield `n` finished trials with a run and `reports` reports each, in batches."""
    rng = np.random.default_rng([seed, first])
    for start in range(first, first + n, BATCH):
        batch = Batch()
        points = SPACE.sample(rng, min(BATCH, first + n - start))
        values = rng.random(len(points)).tolist()
        for number, (point, value) in enumerate(zip(points, values, strict=True), start):
            uid, metrics = uuid7(), {"value": value, "accuracy": 1.0 - value}
            batch.trials.append(
                Trial(
                    number, point, State.COMPLETED, (value,), metrics,
                    attempts=1, started=1.0, ended=2.0,
                )
            )  # fmt: skip
            batch.runs.append(
                Run(
                    uid, number, 1, State.COMPLETED, metrics,
                    worker="ray-0", host="node", pid=1, started=1.0, ended=2.0,
                )
            )  # fmt: skip
            batch.reports += [(uid, Report(k, {"loss": value / (k + 1)})) for k in range(reports)]
        yield batch


def trials_a_second(url: str | Path, n: int, reports: int) -> float:
    """Return the number of finished trials recorded per second."""
    store = open_store(url)
    info = new_study(store)
    ready = list(batches(n, reports))
    store.write(info.uid, next(batches(1, 1, first=n)))  # the first write prepares statements
    began = time.perf_counter()
    for batch in ready:
        store.write(info.uid, batch)
    seconds = time.perf_counter() - began
    store.close()
    return n / seconds


def metrics_a_second(url: str | Path, n: int, *, live: bool) -> float:
    """Return the number of step metric values recorded per second.

    With `live`, the runs continue and each value is a row; otherwise they end in the batch.
    """
    store = open_store(url)
    info = new_study(store)
    runs = [Run(uuid7(), number) for number in range(20)]
    trials = [Trial(r.trial, {**_POINT}, State.RUNNING, attempts=1) for r in runs]
    store.write(info.uid, Batch(trials, runs))
    steps = n // len(runs)
    ended = [] if live else [Run(r.uid, r.trial, state=State.COMPLETED) for r in runs]
    parts = 10 if live else 1
    ready = []
    for part in range(parts):
        batch = Batch(runs=ended if part == parts - 1 else [])
        span = range(part * steps // parts, (part + 1) * steps // parts)
        batch.reports = [(r.uid, Report(k, {"loss": 1.0 / (k + 1)})) for r in runs for k in span]
        ready.append(batch)
    began = time.perf_counter()
    for batch in ready:
        store.write(info.uid, batch)
    seconds = time.perf_counter() - began
    store.close()
    return steps * len(runs) / seconds


def load_seconds(url: str | Path, n: int) -> float:
    """Return the seconds that loading a study of `n` trials takes."""
    store = open_store(url)
    info = new_study(store)
    for batch in batches(n, 0):
        store.write(info.uid, batch)
    store.close()
    fresh = open_store(url)
    began = time.perf_counter()
    trials = list(fresh.trials(info.uid))
    seconds = time.perf_counter() - began
    assert len(trials) == n
    fresh.close()
    return seconds


def bytes_a_value(folder: Path, n: int, reports: int) -> tuple[float, float]:
    """Return the SQLite bytes of one value, packed and as a row of a running trial."""
    sizes = []
    for k, many in ((0, 0), (1, reports)):
        store = open_store(folder / str(k))
        info = new_study(store)
        for batch in batches(n, many):
            store.write(info.uid, batch)
        sizes.append(_size(store, folder / str(k)))
    packed = (sizes[1] - sizes[0]) / (n * reports)
    store = open_store(folder / "rows")
    info = new_study(store)
    sizes = []
    for many in (0, reports):
        for batch in batches(n, many, first=n if many else 0):
            going = [Run(r.uid, r.trial) for r in batch.runs]
            store.write(info.uid, Batch(batch.trials, going, batch.reports))
        sizes.append(_size(store, folder / "rows"))
    return packed, (sizes[1] - 2 * sizes[0]) / (n * reports)


def _size(store: SqlStore, folder: Path) -> int:
    """Return the size of the file after a checkpoint of its log."""
    with store.reading() as connection:
        connection.exec_driver_sql("COMMIT")
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.exec_driver_sql("BEGIN")
    return (folder / "tuner.db").stat().st_size


_POINT = SPACE.sample(np.random.default_rng(0))
