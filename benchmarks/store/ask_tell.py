"""Many processes that ask and tell on one study: ours, and Optuna on the same kind of database."""

from __future__ import annotations

import multiprocessing
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import numpy as np

import tuner

NAME = "ask-tell"
SPACE = {"x": tuner.Float(-1.0, 1.0), "y": tuner.Float(1e-3, 1.0, log=True), "n": tuner.Int(1, 9)}

# One server process imports the libraries once; the askers are forked from it.
_PRELOAD = ["tuner.study", "tuner.engine.ask_tell", "tuner.optimizers.tpe", "optuna", __name__]


@dataclass(frozen=True)
class Answers:
    """Figures of one run; times in milliseconds."""

    processes: int
    rate: float
    """Pairs of ask and tell per second, summed over all processes."""
    p50: float
    p99: float
    worst: float
    fewest: int
    most: int
    late: float
    """Delay of the last answer after the end, in seconds."""

    @property
    def fairness(self) -> float:
        """Pairs of the process with the fewest, relative to the one with the most."""
        return self.fewest / max(self.most, 1)

    def json(self) -> dict[str, float]:
        """Return the figures, rounded."""
        return {
            "rate": round(self.rate, 1),
            "p50_ms": round(self.p50, 1),
            "p99_ms": round(self.p99, 1),
            "worst_ms": round(self.worst, 1),
            "fairness": round(self.fairness, 2),
        }

    def row(self) -> str:
        """Return one line of the table."""
        return (
            f"{self.processes:9d}{self.rate:10.1f}{self.p50:9.1f}{self.p99:9.1f}{self.worst:10.1f}"
            f"{self.fewest:8d}{self.most:8d}{self.fairness:8.2f}"
        )


HEAD = "processes   pairs/s   p50 ms   p99 ms  worst ms  fewest    most  min/max"


def ours(url: str | Path, processes: int, seconds: float, optimizer: str = "random") -> Answers:
    """Run `processes` that ask and tell on one of our studies, for `seconds`.

    Raises
    ------
    AssertionError
        If a trial was lost or counted twice, or lacks an outcome.
    """
    tuner.create_study(SPACE, study=NAME, store=url, optimizer=optimizer, seed=1).store.close()
    found, pairs = _run(_ask_ours, str(url), processes, seconds)
    study = tuner.load_study(NAME, store=url)
    numbers = [trial.number for trial in study if trial.state is tuner.State.COMPLETED]
    assert numbers == list(range(pairs + processes)), f"{len(numbers)} trials of {pairs} pairs"
    study.store.close()
    return found


def optunas(url: str, processes: int, seconds: float) -> Answers:
    """Run `processes` that ask and tell on one Optuna study, for `seconds`."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    optuna.create_study(storage=url, study_name=NAME)
    return _run(_ask_optuna, url, processes, seconds)[0]


def _run(
    ask: Callable[[str, int], Callable[[], list[float]]], url: str, processes: int, seconds: float
) -> tuple[Answers, int]:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOAD)
    ready, answers = context.Barrier(processes + 1), context.SimpleQueue()
    askers = [
        context.Process(target=_work, args=(ask, url, k, seconds, ready, answers))
        for k in range(processes)
    ]
    for asker in askers:
        asker.start()
    ready.wait(120)
    told = [answers.get() for _ in askers]
    for asker in askers:
        asker.join()
    times = 1e3 * np.concatenate([np.array(taken) for taken, _ in told])
    pairs = [len(taken) // 2 for taken, _ in told]
    lasted = max(elapsed for _, elapsed in told)
    return Answers(
        processes,
        sum(pairs) / lasted,
        float(np.quantile(times, 0.5)),
        float(np.quantile(times, 0.99)),
        float(times.max()),
        min(pairs),
        max(pairs),
        lasted - seconds,
    ), sum(pairs)


def _work(
    ask: Callable[[str, int], Callable[[], list[float]]],
    url: str,
    seed: int,
    seconds: float,
    ready: Barrier,
    answers: Any,
) -> None:
    taken: list[float] = []
    elapsed = 0.0
    try:
        pair = ask(url, seed)
        pair()  # exclude imports and other one-time costs
        ready.wait(120)
        began = time.perf_counter()
        while time.perf_counter() - began < seconds:
            taken += pair()
        elapsed = time.perf_counter() - began
    except Exception:
        ready.abort()
        raise
    finally:
        answers.put((taken, elapsed))


def _ask_ours(url: str, seed: int) -> Callable[[], list[float]]:  # noqa: ARG001 (as Optuna's)
    study = tuner.load_study(NAME, store=url)

    def pair() -> list[float]:
        began = time.perf_counter()
        trial = study.ask()
        asked = time.perf_counter()
        study.tell(trial, trial.params["x"] ** 2 + trial.params["y"])
        return [asked - began, time.perf_counter() - asked]

    return pair


def _ask_optuna(url: str, seed: int) -> Callable[[], list[float]]:
    import optuna

    warnings.simplefilter("ignore")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sampler = optuna.samplers.RandomSampler(seed=seed)
    study = optuna.load_study(study_name=NAME, storage=url, sampler=sampler)

    def pair() -> list[float]:
        while True:
            try:
                return once()
            except optuna.exceptions.StorageInternalError:  # SQLite was locked for too long
                continue

    def once() -> list[float]:
        began = time.perf_counter()
        trial = study.ask()
        x = trial.suggest_float("x", -1.0, 1.0)
        y = trial.suggest_float("y", 1e-3, 1.0, log=True)
        trial.suggest_int("n", 1, 9)
        asked = time.perf_counter()
        study.tell(trial, x**2 + y)
        return [asked - began, time.perf_counter() - asked]

    return pair
