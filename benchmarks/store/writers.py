"""Many processes write to one store: check for lock errors, lost data and duplicates."""

from __future__ import annotations

import multiprocessing
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.store import ours
from tuner.tracking import open_store

TRIALS = 20
"""Trials per batch, typical of a driver of short trials."""


@dataclass(frozen=True)
class Writers:
    """The results; times in milliseconds."""

    batches: int
    errors: int
    lost: int
    repeated: int
    median: float
    p99: float


def run(url: str | Path, writers: int, seconds: float, pause: float = 0.05) -> Writers:
    """Let `processes` write one study each, and check the store."""
    open_store(url).close()
    with multiprocessing.get_context("spawn").Pool(writers) as pool:
        told = pool.starmap(_write, [(str(url), seconds, pause, k) for k in range(writers)], 1)
    store = open_store(url)
    lost = repeated = 0
    for uid, n, _, _ in told:
        numbers = Counter(t.number for t in store.trials(uid))
        runs = Counter(r.trial for r in store.runs(uid))
        lost += sum(k not in numbers or k not in runs for k in range(n))
        repeated += sum(count - 1 for counts in (numbers, runs) for count in counts.values())
    store.close()
    taken = 1e3 * np.concatenate([np.array(times) for *_, times in told])
    return Writers(
        len(taken),
        sum(errors for _, _, errors, _ in told),
        lost,
        repeated,
        float(np.median(taken)),
        float(np.quantile(taken, 0.99)),
    )


def _write(url: str, seconds: float, pause: float, seed: int) -> tuple[str, int, int, list[float]]:
    """Write until the deadline; return the study, its trials, the errors and all times."""
    store = open_store(url)
    info = ours.new_study(store)
    n = errors = 0
    times: list[float] = []
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        (batch,) = ours.batches(TRIALS, 5, seed=seed, first=n)
        began = time.perf_counter()
        try:
            store.write(info.uid, batch)
        except Exception as error:
            errors += 1
            print(f"writer {seed}: {error}")
            continue
        times.append(time.perf_counter() - began)
        n += TRIALS
        time.sleep(pause)
    store.close()
    return info.uid, n, errors, times
