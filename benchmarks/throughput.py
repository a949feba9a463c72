"""Measure imports, first trials, and trials per second against peers with and without a record.

    python -m benchmarks.throughput [--quick]

Every trial is tracked: ours in a SQLite store with runs, Optuna's in its SQLite storage, Ray
Tune's in its results folder. The bare pools store nothing: a pool of Ray actors, joblib (loky) and
`concurrent.futures` with spawned processes. All draw random points, so that the loop
is timed, once with an empty objective and once with an objective of 50 ms. The contestants take
turns in several rounds, and a ratio compares the medians of one run of this benchmark. Ray is
started once, before the measurements; its start is timed separately.
"""

from __future__ import annotations

import argparse
import atexit
import json
import multiprocessing
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from importlib.metadata import version
from typing import Any

PEERS = {
    "serial": ("optuna_sqlite", "ray_tune"),
    "ray": ("bare_pool", "optuna_sqlite", "ray_tune"),
    "processes": ("serial", "ray", "bare_pool", "loky", "executor"),
    "ray_50ms": ("bare_pool_50ms",),
    "processes_50ms": ("loky_50ms", "executor_50ms"),
    "tpe_50ms": ("bare_pool_50ms",),
}

WORKERS = 2

IMPORTS = {
    "python": "pass",
    "import tuner": "import tuner",
    "tuner.optimize and domains": "from tuner import Choice, Float, Int, Space, optimize",
    "import optuna": "import optuna",
}


FIRST = """
import time
from benchmarks import throughput
began = time.time()
print(throughput.{call} - began)
"""
"""Prints the seconds from the call of a search in a new process to the end of its first trial."""

FIRST_TRIALS = {
    "serial": 'first_trial("serial")',
    "processes": 'first_trial("processes")',
    "ray": 'first_trial("ray")',
    "loky": "first_result(throughput.loky)",
    "executor": "first_result(throughput.executor)",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer rounds and trials")
    quick = parser.parse_args().quick
    rounds = 2 if quick else 5
    trials = {
        "serial": 500 if quick else 3_000,
        "ray": 500 if quick else 3_000,
        "optuna_sqlite": 50 if quick else 150,
        "ray_tune": 20 if quick else 60,
        "bare_pool": 500 if quick else 3_000,
        "processes": 500 if quick else 3_000,
        "loky": 500 if quick else 3_000,
        "executor": 500 if quick else 3_000,
        "ray_50ms": 200,
        "processes_50ms": 200,
        "tpe_50ms": 200,
        "bare_pool_50ms": 200,
        "loky_50ms": 200,
        "executor_50ms": 200,
    }

    imports = measure_imports(5 if quick else 15)
    firsts = measure_first_trials(2 if quick else 5)
    started = start_ray()
    contestants: dict[str, Callable[[int], None]] = {
        "serial": tuner_serial,
        "ray": tuner_on_ray,
        "optuna_sqlite": optuna_sqlite,
        "ray_tune": ray_tune,
        "bare_pool": bare_pool,
        "processes": tuner_on_processes,
        "loky": loky,
        "executor": executor,
        "ray_50ms": partial(tuner_search, objective=sleep_50ms),
        "processes_50ms": partial(tuner_search, backend="processes", objective=sleep_50ms),
        "tpe_50ms": partial(tuner_search, objective=sleep_50ms, optimizer="tpe"),
        "bare_pool_50ms": partial(bare_pool, objective=sleep_50ms),
        "loky_50ms": partial(loky, objective=sleep_50ms),
        "executor_50ms": partial(executor, objective=sleep_50ms),
    }
    rates: dict[str, list[float]] = {name: [] for name in contestants}
    for name, search in contestants.items():
        search(10)  # exclude imports and first-use costs
        print(f"warmed up: {name}", file=sys.stderr)
    for _ in range(rounds):
        for name, search in contestants.items():
            began = time.perf_counter()
            search(trials[name])
            rates[name].append(trials[name] / (time.perf_counter() - began))
    report(imports, firsts, started, rates, trials)


# --- imports --------------------------------------------------------------------------------------


def measure_imports(rounds: int) -> dict[str, float]:
    """Return the milliseconds of an import in a new process, without the interpreter's start."""
    times: dict[str, list[float]] = {name: [] for name in IMPORTS}
    for _ in range(rounds):
        for name, code in IMPORTS.items():
            began = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True)
            times[name].append(1e3 * (time.perf_counter() - began))
    bare = statistics.median(times.pop("python"))
    return {name: statistics.median(found) - bare for name, found in times.items()}


def measure_first_trials(rounds: int) -> dict[str, float]:
    """Return the median seconds until the first trial has ended, each in a new process."""
    times: dict[str, list[float]] = {name: [] for name in FIRST_TRIALS}
    for _ in range(rounds):
        for name, call in FIRST_TRIALS.items():
            code = FIRST.format(call=call)
            done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
            times[name].append(float(done.stdout))
    return {name: statistics.median(found) for name, found in times.items()}


def first_trial(backend: str) -> float:
    """Return the time at which the first trial of a search ended."""
    import tuner

    with tempfile.TemporaryDirectory() as folder:
        study = tuner.optimize(
            no_op,
            {"x": tuner.Float(0, 1)},
            n_trials=1,
            backend=backend,
            store=folder,
            register=False,
            progress=False,
        )
        ended = study.runs()[0].ended
    assert ended is not None
    return ended


def first_result(search: Callable[[int], None]) -> float:
    """Return the time at which a pool had returned its first result."""
    search(1)
    return time.time()


# --- contestants ----------------------------------------------------------------------------------


def no_op(params: dict[str, Any]) -> float:
    return float(params["x"])


def sleep_50ms(params: dict[str, Any]) -> float:
    time.sleep(0.05)
    return float(params["x"])


def tuner_search(
    n: int,
    backend: str = "ray",
    objective: Callable[[dict[str, Any]], float] = no_op,
    optimizer: str = "random",
) -> None:
    import tuner

    with tempfile.TemporaryDirectory() as folder:
        study = tuner.optimize(
            objective,
            {
                "x": tuner.Float(0, 1),
                "lr": tuner.Float(1e-5, 1.0, log=True),
                "layers": tuner.Int(1, 8),
                "kind": tuner.Choice("a", "b", "c"),
            },
            n_trials=n,
            optimizer=optimizer,
            backend=backend,
            workers=None if backend == "serial" else WORKERS,
            seed=0,
            store=folder,
            register=False,
            progress=False,
        )
        assert len(study.trials) == n


def tuner_serial(n: int) -> None:
    tuner_search(n, "serial")


def tuner_on_ray(n: int) -> None:
    tuner_search(n, "ray")


def tuner_on_processes(n: int) -> None:
    tuner_search(n, "processes")


def drawn(n: int) -> list[dict[str, Any]]:
    draw = random.Random(0)
    return [{"x": draw.random(), "lr": draw.random(), "layers": 3, "kind": "a"} for _ in range(n)]


def loky(n: int, objective: Callable[[dict[str, Any]], float] = no_op) -> None:
    from joblib import Parallel, delayed
    from joblib.externals.loky import get_reusable_executor

    values = Parallel(n_jobs=WORKERS)(delayed(objective)(params) for params in drawn(n))
    assert len(values) == n
    get_reusable_executor().shutdown(wait=True)  # as the others, which start anew in each round


def executor(n: int, objective: Callable[[dict[str, Any]], float] = no_op) -> None:
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(WORKERS, mp_context=spawn) as workers:
        assert len(list(workers.map(objective, drawn(n)))) == n


def bare_pool(n: int, objective: Callable[[dict[str, Any]], float] = no_op) -> None:
    """Give each actor its next call after its last answer."""
    import ray

    class Worker:
        def run(self, params: dict[str, Any]) -> float:
            return objective(params)

    actors = [ray.remote(num_cpus=1)(Worker).remote() for _ in range(WORKERS)]
    draw = random.Random(0)
    busy: dict[Any, Any] = {}
    values: list[float] = []
    idle = list(actors)
    begun = 0
    while len(values) < n:
        while idle and begun < n:
            actor = idle.pop()
            params = {"x": draw.random(), "lr": draw.random(), "layers": 3, "kind": "a"}
            busy[actor.run.remote(params)] = actor
            begun += 1
        (done,), _ = ray.wait(list(busy), num_returns=1)
        idle.append(busy.pop(done))
        values.append(ray.get(done))
    for actor in actors:
        ray.kill(actor)


def optuna_sqlite(n: int) -> None:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)

    def objective(trial: optuna.Trial) -> float:
        trial.suggest_float("lr", 1e-5, 1.0, log=True)
        trial.suggest_int("layers", 1, 8)
        trial.suggest_categorical("kind", ["a", "b", "c"])
        return trial.suggest_float("x", 0, 1)

    with tempfile.TemporaryDirectory() as folder:
        study = optuna.create_study(
            storage=f"sqlite:///{folder}/optuna.db", sampler=optuna.samplers.RandomSampler(0)
        )
        study.optimize(objective, n_trials=n)


def ray_tune(n: int) -> None:
    from ray import tune

    def trainable(config: dict[str, Any]) -> None:
        tune.report({"value": config["x"]})

    with tempfile.TemporaryDirectory() as folder:
        searcher = tune.Tuner(
            trainable,
            param_space={
                "x": tune.uniform(0, 1),
                "lr": tune.loguniform(1e-5, 1.0),
                "layers": tune.randint(1, 9),
                "kind": tune.choice(["a", "b", "c"]),
            },
            tune_config=tune.TuneConfig(
                num_samples=n, reuse_actors=True, metric="value", mode="min"
            ),
            run_config=tune.RunConfig(storage_path=folder, verbose=0),
        )
        assert len(searcher.fit()) == n


def start_ray() -> float:
    """Start Ray for all contestants that use it; return the seconds that this took."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112 (the name that Ray reads)
    import ray  # noqa: F401 (its import is not counted)

    from tuner.backends.ray.cluster import connect

    began = time.perf_counter()
    atexit.register(connect("local").leave)
    return time.perf_counter() - began


# --- the report -----------------------------------------------------------------------------------


def report(
    imports: dict[str, float],
    firsts: dict[str, float],
    started: float,
    rates: dict[str, list[float]],
    trials: dict[str, int],
) -> None:
    middle = {name: statistics.median(found) for name, found in rates.items()}
    print(f"\n{'import':<34}{'ms':>8}{'of optuna':>12}")
    for name, ms in imports.items():
        print(f"{name:<34}{ms:>8.0f}{ms / imports['import optuna']:>12.2f}")
    print(f"\n{'first trial, new process':<34}{'s':>8}")
    for name, seconds in firsts.items():
        print(f"{name:<34}{seconds:>8.2f}")
    print(f"\n{'trials a second':<34}{'median':>8}{'min':>8}{'max':>8}{'trials':>8}")
    for name, found in rates.items():
        print(
            f"{name:<34}{middle[name]:>8.0f}{min(found):>8.0f}{max(found):>8.0f}{trials[name]:>8}"
        )
    ratios = {
        f"{ours}/{peer}": middle[ours] / middle[peer]
        for ours, peers in PEERS.items()
        for peer in peers
    }
    print()
    for name, ratio in ratios.items():
        print(f"{name:<34}{ratio:>8.2f}x")
    figures = {
        "benchmark": "throughput",
        "import_ms": {name: round(ms, 1) for name, ms in imports.items()},
        "first_trial_s": {name: round(seconds, 2) for name, seconds in firsts.items()},
        "trials_per_second": {name: round(rate, 1) for name, rate in middle.items()},
        "ratios": {name: round(ratio, 3) for name, ratio in ratios.items()},
        "ray_start_s": round(started, 1),
        "machine": f"{os.cpu_count()} cores, Python {platform.python_version()}",
        "versions": {name: version(name) for name in ("tuner", "optuna", "ray", "sqlalchemy")},
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
