"""Measure the driver's cost as a sweep grows, and the idle time caused by `deterministic=True`.

    python -m benchmarks.simulation [--quick]

Both run in virtual time: the objective does nothing and its duration is simulated, so only the
loop, the optimizer and the store are timed. A sweep on 1,000 simulated workers is run with 1,000
trials and with 100,000, tracked in SQLite, in turns; the smaller one is repeated and the median is
reported. The CPU time of the process is measured, so the load of the machine has little effect.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import tuner
import tuner.optimizers
from tuner.backends import SimulatedBackend, lognormal

WORKERS = 1_000
IDLE_WORKERS = (2, 8, 32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer trials")
    quick = parser.parse_args().quick
    sizes = (1_000, 10_000) if quick else (1_000, 10_000, 100_000)
    costs = measure_costs(sizes, 3)
    idle = measure_idle_time(200 if quick else 1_000)
    report(costs, idle)


def search(n_trials: int, backend: SimulatedBackend, **options: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        tuner.optimize(
            no_op,
            {"x": tuner.Float(0, 1), "lr": tuner.Float(1e-5, 1, log=True), "n": tuner.Int(1, 8)},
            n_trials=n_trials,
            optimizer=options.pop("optimizer", "random"),
            backend=backend,
            seed=0,
            store=folder,
            register=False,
            progress=False,
            **options,
        )


def no_op(params: dict[str, Any]) -> float:
    return float(params["x"])


# --- cost of the driver ---------------------------------------------------------------------------


def measure_costs(sizes: tuple[int, ...], rounds: int) -> dict[int, float]:
    """Return microseconds of CPU time per trial, by the number of trials."""
    search(WORKERS, SimulatedBackend(lognormal(600.0), workers=WORKERS))  # imports, first use
    costs: dict[int, list[float]] = {n: [] for n in sizes}
    for turn in range(rounds):
        for n in sizes:
            if turn == 0 or n <= 10_000:
                costs[n].append(1e6 * timed(lambda n=n: sweep(n)) / n)
                print(f"{n} trials: {costs[n][-1]:.0f} us each", file=sys.stderr)
    return {n: statistics.median(found) for n, found in costs.items()}


def sweep(n: int) -> None:
    search(n, SimulatedBackend(lognormal(600.0), workers=WORKERS), trial_timeout=86_400.0)


def timed(action: Callable[[], None]) -> float:
    began = time.process_time()
    action()
    return time.process_time() - began


# --- the cost of deterministic=True ---------------------------------------------------------------


def measure_idle_time(n_trials: int) -> dict[str, dict[int, float]]:
    """Return the share of time in which workers are idle."""
    idle: dict[str, dict[int, float]] = {}
    for sigma in (0.25, 0.5, 1.0):
        for deterministic in (False, True):
            name = f"sigma={sigma}, deterministic={deterministic}"
            idle[name] = {
                workers: idle_part(n_trials, workers, sigma, deterministic)
                for workers in IDLE_WORKERS
            }
    return idle


def idle_part(n_trials: int, workers: int, sigma: float, deterministic: bool) -> float:
    worked = 0.0
    duration = lognormal(600.0, sigma)

    def noted(trial: tuner.Trial, step: int, rng: Any) -> float:
        nonlocal worked
        seconds = duration(trial, step, rng)
        worked += seconds
        return seconds

    backend = SimulatedBackend(noted, workers=workers)
    search(n_trials, backend, optimizer=Waiting(), deterministic=deterministic)
    return 1 - worked / (workers * backend.elapsed)


class Waiting(tuner.optimizers.RandomOptimizer):
    """Random points from an optimizer that is treated as if it learned from outcomes."""

    history_free = False


# --- the report -----------------------------------------------------------------------------------


def report(costs: dict[int, float], idle: dict[str, dict[int, float]]) -> None:
    smallest = costs[min(costs)]
    print(f"\n{WORKERS:,} workers{'us a trial':>20}{'of the first':>14}")
    for n, cost in costs.items():
        print(f"{n:>7,} trials{cost:>17.0f}{cost / smallest:>14.2f}")
    print(
        f"\n{'idle, log-normal durations':<36}" + "".join(f"{w:>4} workers" for w in IDLE_WORKERS)
    )
    for name, parts in idle.items():
        print(f"{name:<36}" + "".join(f"{parts[w]:>12.1%}" for w in IDLE_WORKERS))
    figures = {
        "benchmark": "simulation",
        "workers": WORKERS,
        "us_a_trial": {str(n): round(cost, 1) for n, cost in costs.items()},
        "ratio": round(costs[max(costs)] / smallest, 3),
        "idle": {
            name: {str(w): round(p, 4) for w, p in parts.items()} for name, parts in idle.items()
        },
        "machine": f"{os.cpu_count()} cores, Python {platform.python_version()}",
        "versions": {name: version(name) for name in ("tuner", "sqlalchemy", "greenlet")},
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
