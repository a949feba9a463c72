"""Trials of a warm re-tune until it is as good as a cold start after 50 trials.

The old study has 50 trials on the old data; the cold start and the re-tune search on the shifted
new data. A regret is the difference to the best loss that any search of the task and the seed
found. Two regrets are equal up to a tenth of the standard error that the best loss has over the
rows. `benchmarks/retune_tasks.py` has the tasks: the re-tune was chosen on `CHOSEN`, and `ASIDE`
confirms it.
"""

from __future__ import annotations

import argparse
import json
import os
import time
import warnings
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np

from benchmarks.retune_tasks import ASIDE, CHOSEN, Loss, Task
from tuner.optimizers import AutoOptimizer, TransferOptimizer
from tuner.records import Goal, Outcome, Params, State, Trial
from tuner.search_spaces import Space

COLD, WARM, FIT = 50, 25, 15
"""Trials of the cold start, of the re-tune, and within which the re-tune should be as good."""

EQUAL = 0.1
"""Difference of two regrets that does not matter, in standard errors of the best loss."""

Known = Sequence[tuple[Params, float]]


Found = tuple[np.ndarray, np.ndarray, float]


def told(number: int, params: Params, value: float) -> tuple[Trial, Outcome]:
    """Return a completed trial and its outcome."""
    trial = Trial(number, params, State.COMPLETED, (value,), {"value": value})
    return trial, Outcome(State.COMPLETED, {"value": value})


def search(
    optimizer: Any, space: Space, loss: Loss, n: int, seed: int, old: Known = ()
) -> list[tuple[Params, float]]:
    """Return the points and losses of a search, which may know the trials of an old one."""
    optimizer.reset(space, [Goal()], seed)
    for k, (params, value) in enumerate(old):
        optimizer.tell(*told(k - len(old), params, value))
    found = []
    for number in range(n):
        (params,) = optimizer.ask(1)
        found.append((params, loss(params)))
        optimizer.tell(*told(number, *found[-1]))
    return found


def one(task: Task, seed: int) -> Found:
    """Return the regrets of the cold start and of the re-tune, in standard errors, and CPU time."""
    warnings.filterwarnings("ignore")
    begin = time.process_time()
    old_loss, new_loss = task.losses(seed)
    space = task.space
    old = search(AutoOptimizer(), space, old_loss, COLD, 1000 + seed)
    cold = search(AutoOptimizer(), space, new_loss, COLD, seed)
    warm = search(TransferOptimizer(), space, new_loss, WARM, seed, old)
    best, value = min((*cold, *warm), key=lambda pair: pair[1])
    unit = new_loss.error(best)
    regrets = [
        (np.minimum.accumulate([loss for _, loss in found]) - value) / unit
        for found in (cold, warm)
    ]
    return regrets[0], regrets[1], time.process_time() - begin


def reached(regrets: np.ndarray, target: float, equal: float) -> int | None:
    """Return the first trial with at most this regret, None if there is none."""
    places = np.flatnonzero(regrets <= target + equal + 1e-12)
    return int(places[0]) + 1 if places.size else None


def row(name: str, found: Sequence[Found]) -> dict[str, Any]:
    """Return the figures of a task, from the mean regrets over its seeds."""
    cold = np.mean([each[0] for each in found], axis=0)
    warm = np.mean([each[1] for each in found], axis=0)
    return {
        "task": name,
        "cold 15": round(float(cold[FIT - 1]), 4),
        "cold 50": round(float(cold[-1]), 4),
        "warm 1": round(float(warm[0]), 4),
        "warm 15": round(float(warm[FIT - 1]), 4),
        "trials": reached(warm, float(cold[-1]), EQUAL),
        "strictly": reached(warm, float(cold[-1]), 0.0),
        "cold as warm 15": reached(cold, float(warm[FIT - 1]), EQUAL),
        "CPU s": round(sum(each[2] for each in found), 1),
    }


def summary(name: str, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the median and the mean of the trials, in which more than 25 count as 26."""
    trials = [r["trials"] or WARM + 1 for r in rows]
    strictly = [r["strictly"] or WARM + 1 for r in rows]
    equal = [r["cold as warm 15"] or COLD + 1 for r in rows]
    return {
        "group": name,
        "tasks": len(rows),
        "median trials": float(np.median(trials)),
        "mean trials": round(float(np.mean(trials)), 1),
        "tasks within 15": sum(n <= FIT for n in trials),
        "median strictly": float(np.median(strictly)),
        "median cold trials as good as 15 warm": float(np.median(equal)),
        "mean regret of 15 warm": round(float(np.mean([r["warm 15"] for r in rows])), 4),
        "of 15 cold": round(float(np.mean([r["cold 15"] for r in rows])), 4),
        "of 50 cold": round(float(np.mean([r["cold 50"] for r in rows])), 4),
    }


def main() -> None:
    """Print a table, one row for each task, and the same as a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="one seed and two tasks")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    seeds = range(1 if options.quick else options.seeds)
    figures: dict[str, Any] = {}
    with ProcessPoolExecutor(options.jobs) as pool:
        for group, tasks in (("chosen", CHOSEN), ("aside", ASIDE)):
            rows = []
            for task in tasks[: 1 if options.quick else None]:
                found = list(pool.map(one, [task] * len(seeds), seeds))
                rows.append(row(task.name, found))
                if len(rows) == 1:
                    print("  ".join(f"{k:>{36 if k == 'task' else 8}}" for k in rows[0]))
                cells = rows[-1].items()
                print(
                    "  ".join(f"{v!s:>{36 if k == 'task' else max(8, len(k))}}" for k, v in cells),
                    flush=True,
                )
            figures[group] = summary(group, rows)
            print(figures[group], flush=True)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
