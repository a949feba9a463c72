"""Time a suggestion after many trials: our optimizers and Optuna's samplers.

The space has twenty parameters: eight continuous, six integer and six categorical (with
``--parameters 5``: two, two and one). The history consists of random trials. All optimizers run in
turn, in the same process and on one thread; CPU time is measured, because the load of the machine
affects it less. Prints the mean in milliseconds, including refits, then one line of JSON with the
ratios to the peers and the growth since 1,000 trials::

    python -m benchmarks.suggestion_time [--quick] [--optimizers tpe,optuna-tpe] [--trials 100,1000]
        [--parameters 20] [--constraints]

``--constraints`` compares suggestions of `random`, `tpe` and `bayesian` in spaces of ten parameters
under linear constraints with the same spaces without constraints. The whole search is timed, from
the first suggestion.

GPSampler takes part if PyTorch is installed. An optimizer that needs more than `PATIENCE` seconds
for a suggestion is left out of longer histories.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import json
import math
import os
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

for threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(threads, "1")

import numpy as np  # noqa: E402
import optuna  # noqa: E402

from tuner.optimizers import resolve  # noqa: E402
from tuner.records import Goal, Outcome, Params, State, Trial  # noqa: E402
from tuner.search_spaces import Choice, Domain, Float, Int, Space  # noqa: E402

TRIALS = (100, 500, 1000, 5000, 10_000)
PATIENCE = 5.0

_NUMBERS: dict[str, Float | Int] = {
    **{f"x{i}": Float(1e-4, 1.0, log=i % 2 == 0) for i in range(8)},
    **{f"n{i}": Int(1, (10, 1000)[i % 2], log=i % 2 == 1) for i in range(6)},
}
_CATEGORIES = {f"c{i}": Choice("a", "b", "c", "d") for i in range(6)}


@dataclass(frozen=True)
class Task:
    """A search task: a space, and a loss over it."""

    space: Space

    def loss(self, params: Params) -> float:
        """Return the distance of numbers from the middle, plus the number of changed categories."""
        X, _ = self.space.encode([params])
        domains = self.space.params
        number = np.array([not isinstance(domain, Choice) for domain in domains.values()])
        wrong = sum(params[n] != "a" for n, d in domains.items() if isinstance(d, Choice))
        return float(np.sum((X[0, number] - 0.4) ** 2) + 0.1 * wrong)


TASKS = {
    20: Task(Space({**_NUMBERS, **_CATEGORIES})),
    5: Task(
        Space({name: (_NUMBERS | _CATEGORIES)[name] for name in ("x0", "x1", "n0", "n1", "c0")})
    ),
}
"""Tasks by their number of parameters."""


class Timed(Protocol):
    """The interface of a search."""

    def fill(self, points: list[Params], losses: list[float]) -> None:
        """Record random trials as the history."""

    def step(self) -> float:
        """Return the CPU seconds of one suggestion, and tell its loss."""


class Ours:
    """An optimizer of `tuner`."""

    def __init__(self, name: str, task: Task) -> None:
        self._task = task
        self._optimizer = resolve(name)
        self._optimizer.reset(task.space, [Goal()], 0)
        self._told = 0

    def _tell(self, params: Params, value: float) -> None:
        outcome = Outcome(State.COMPLETED, {"value": value})
        self._optimizer.tell(Trial(self._told, params), outcome)
        self._told += 1

    def fill(self, points: list[Params], losses: list[float]) -> None:
        """Record random trials as the history."""
        for params, value in zip(points, losses, strict=True):
            self._tell(params, value)

    def step(self) -> float:
        """Return the CPU seconds of one suggestion, and tell its loss."""
        began = time.process_time()
        (params,) = self._optimizer.ask(1)
        seconds = time.process_time() - began
        self._tell(params, self._task.loss(params))
        return seconds


class Theirs:
    """A sampler of Optuna, in a study in memory; telling is not timed."""

    def __init__(self, sampler: optuna.samplers.BaseSampler, task: Task) -> None:
        self._task = task
        self._study = optuna.create_study(sampler=sampler)
        self._distributions = {name: _distribution(d) for name, d in task.space.params.items()}

    def fill(self, points: list[Params], losses: list[float]) -> None:
        """Record random trials as the history."""
        self._study.add_trials(
            [
                optuna.trial.create_trial(
                    params=params, distributions=self._distributions, value=value
                )
                for params, value in zip(points, losses, strict=True)
            ]
        )

    def step(self) -> float:
        """Return the CPU seconds of one suggestion, and tell its loss."""
        began = time.process_time()
        trial = self._study.ask(self._distributions)
        seconds = time.process_time() - began
        self._study.tell(trial, self._task.loss(trial.params))
        return seconds


def _distribution(domain: Domain) -> Any:
    if isinstance(domain, Choice):
        return optuna.distributions.CategoricalDistribution(list(domain.options))
    if isinstance(domain, Int):
        return optuna.distributions.IntDistribution(domain.low, domain.high, log=domain.log)
    assert isinstance(domain, Float)
    return optuna.distributions.FloatDistribution(domain.low, domain.high, log=domain.log)


CONTESTANTS: dict[str, Callable[[Task], Timed]] = {
    **{name: partial(Ours, name) for name in ("tpe", "bayesian", "auto", "random")},
    "optuna-tpe": lambda task: Theirs(optuna.samplers.TPESampler(seed=0), task),
    "optuna-tpe-multivariate": lambda task: Theirs(
        optuna.samplers.TPESampler(seed=0, multivariate=True), task
    ),
}
if importlib.util.find_spec("torch"):
    CONTESTANTS["optuna-gp"] = lambda task: Theirs(optuna.samplers.GPSampler(seed=0), task)

PEERS = {"tpe": ("optuna-tpe", "optuna-tpe-multivariate"), "bayesian": ("optuna-gp",)}
"""The compared optimizers."""


def measure(
    task: Task, names: list[str], lengths: list[int], repeats: int
) -> dict[str, dict[int, float]]:
    """Return mean CPU seconds per suggestion, by name and length of the history."""
    result: dict[str, dict[int, float]] = {name: {} for name in names}
    print(f"{'CPU ms a suggestion':24s}" + "".join(f"{n:>10d}" for n in lengths))
    for n in lengths:
        points = task.space.sample(np.random.default_rng(n), n)
        losses = [task.loss(point) for point in points]
        searches = {}
        for name in names:
            if all(seconds < PATIENCE for seconds in result[name].values()):
                searches[name] = CONTESTANTS[name](task)
                searches[name].fill(points, losses)
        seconds: dict[str, list[float]] = {name: [] for name in searches}
        for _ in range(repeats + 1):  # the first suggestion imports modules and warms up
            for name, search in searches.items():
                if sum(seconds[name]) < 2 * PATIENCE:
                    seconds[name].append(search.step())
        for name, taken in seconds.items():
            result[name][n] = float(np.mean(taken[1:] or taken))
    for name in names:
        shown = (f"{1e3 * result[name].get(n, math.nan):10.2f}" for n in lengths)
        print(f"{name:24s}" + "".join(shown))
    return result


def figures(result: dict[str, dict[int, float]]) -> dict[str, Any]:
    """Return milliseconds, the ratios of the peers' times, and the growth since 1,000 trials."""
    return {
        "milliseconds": {
            name: {n: round(1e3 * s, 3) for n, s in row.items()} for name, row in result.items()
        },
        "times_faster": {
            f"{name} than {peer}": {
                n: round(result[peer][n] / s, 1)
                for n, s in result[name].items()
                if n in result[peer]
            }
            for name, peers in PEERS.items()
            for peer in peers
            if name in result and peer in result
        },
        "growth_since_1000": {
            name: {n: round(s / row[1000], 2) for n, s in row.items() if n > 1000}
            for name, row in result.items()
            if 1000 in row
        },
    }


SUGGESTIONS = {"random": 200, "tpe": 60, "bayesian": 25}
"""Number of suggestions of each optimizer under constraints."""

_TEN = [f"x{i}" for i in range(10)]
_TOTAL = " + ".join(_TEN)
_ORDER = [f"{a} <= {b}" for a, b in itertools.pairwise(_TEN)]

CONSTRAINED: dict[str, tuple[Domain, list[str]]] = {
    "simplex": (Float(0, 1), [f"{_TOTAL} <= 1"]),
    "ordering": (Float(0, 1), _ORDER),
    "log ordering": (Float(1e-4, 1, log=True), _ORDER),
    "budget of integers": (Int(0, 100), [f"{_TOTAL} <= 100"]),
    "mixture on a grid": (Float(0, 1, step=0.1), [f"{_TOTAL} == 1"]),
}
"""Domain and constraints of each constrained space."""


def search_time(name: str, task: Task, n: int) -> float:
    """Return the mean CPU seconds of `n` suggestions of a new search."""
    search = Ours(name, task)
    return sum(search.step() for _ in range(n)) / n


def measure_constraints(names: list[str], quick: bool) -> dict[str, dict[str, float]]:
    """Return the times under constraints, as multiples of the times without, by optimizer."""
    ratios: dict[str, dict[str, float]] = {name: {} for name in names}
    print(f"{'CPU ms a suggestion':24s}{'':22s}{'free':>10s}{'bounded':>10s}{'ratio':>8s}")
    for name in names:
        n = SUGGESTIONS[name] // (2 if quick else 1)
        for label, (domain, constraints) in CONSTRAINED.items():
            free = Task(Space(dict.fromkeys(_TEN, domain)))
            bounded = Task(free.space.where(*constraints))
            search_time(name, free, min(n, 15))  # imports modules and warms up
            alone, within = search_time(name, free, n), search_time(name, bounded, n)
            ratios[name][label] = round(within / alone, 2)
            print(
                f"{name:24s}{label:22s}{1e3 * alone:10.3f}{1e3 * within:10.3f}{within / alone:8.2f}"
            )
    return ratios


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="100 and 1,000 trials, 8 suggestions")
    parser.add_argument("--optimizers", default=",".join(CONTESTANTS))
    parser.add_argument("--trials", default="", help="lengths of the history, with commas between")
    parser.add_argument("--parameters", type=int, default=20, choices=list(TASKS))
    parser.add_argument("--constraints", action="store_true", help="compare constrained spaces")
    given = parser.parse_args()
    if given.constraints:
        names = [name for name in SUGGESTIONS if name in given.optimizers.split(",")]
        ratios = measure_constraints(names, given.quick)
        print(json.dumps({"benchmark": "suggestion_time", "ratio_under_constraints": ratios}))
        return
    usual = (100, 1000) if given.quick else TRIALS
    lengths = [int(n) for n in given.trials.split(",")] if given.trials else list(usual)
    warnings.simplefilter("ignore")  # some of Optuna's options are experimental
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    repeats = 8 if given.quick else 16
    result = measure(TASKS[given.parameters], given.optimizers.split(","), lengths, repeats)
    known = {"benchmark": "suggestion_time", "parameters": given.parameters}
    print(json.dumps(known | figures(result)))


if __name__ == "__main__":
    main()
