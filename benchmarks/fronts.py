"""Measure the share of the Pareto front that our optimizers and Optuna's find.

    python -m benchmarks.fronts [--quick] [--contestants bayesian,optuna-tpe] [--problems zdt]
        [--seeds 5] [--trials 200]

All run on the same problems and seeds. Prints the share of the reachable hypervolume after 50, 100
and 200 trials; 1 is the whole front.
The problems are ZDT (Zitzler et al. 2000), DTLZ (Deb et al. 2002), and a real one: the error of
1,227 scikit-learn pipelines on digits against the time that a prediction takes, recorded by

    python -m benchmarks.fronts --record

The last line is JSON.
"""

from __future__ import annotations

import argparse
import gzip
import json
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.quality import models
from benchmarks.quality.contestants import OURS, Theirs, description
from benchmarks.quality.peers.process import Peer
from tuner.optimizers import resolve
from tuner.optimizers.pareto import hypervolume
from tuner.records import Goal, Outcome, Params, State, Trial
from tuner.search_spaces import Float, Space

CONTESTANTS = ("random", "tpe", "bayesian", "auto", "optuna-tpe-default", "optuna-tpe",
               "optuna-nsga2")  # fmt: skip
BUDGETS = (50, 100, 200)
LATENCIES = models.RECORDED / "digits_latency.json.gz"


@dataclass(frozen=True)
class Front:
    """A problem with several goals; `best` is the hypervolume of the true front."""

    name: str
    space: Space
    values: Callable[[Params], list[float]]
    reference: tuple[float, ...]
    best: float


MOVED = np.array([0.11, -0.17, 0.06, -0.13, 0.19])
"""Shift of the front from the middle of each column, as a share of its range. In the original
problem, the front lies exactly in the middle, where some searches start."""


def zdt(number: int, d: int = 6) -> Front:
    """Return ZDT 1, 2, 3, 4 (moved) or 6 in `d` parameters, at most 6."""
    deep = number == 4
    bounds = {f"x{i}": Float(-5, 5) if deep and i else Float(0, 1) for i in range(d)}

    def values(params: Params) -> list[float]:
        first, *rest = (params[f"x{i}"] for i in range(d))
        x = np.array(rest)
        f = float(first)
        if deep:
            x -= 10 * MOVED[: d - 1]
            g = 1 + 10 * (d - 1) + float(np.sum(x**2 - 10 * np.cos(4 * np.pi * x)))
        elif number == 6:
            f = 1 - np.exp(-4 * first) * np.sin(6 * np.pi * first) ** 6
            g = 1 + 9 * float(np.mean(x)) ** 0.25
        else:
            g = 1 + 9 * float(np.mean(x))
        return [float(f), float(_zdt_second(number, f, g))]

    f = np.linspace(0, 1, 2001)
    if number == 6:
        f = 1 - np.exp(-4 * f) * np.sin(6 * np.pi * f) ** 6
    front = np.stack([f, _zdt_second(number, f, 1.0)], axis=1)
    corner = (1.1, 60.0) if deep else (1.1, 3.0)
    return Front(f"zdt{number}", Space(bounds), values, corner, hypervolume(front, corner))


def _zdt_second(number: int, f: Any, g: Any) -> Any:
    if number in (2, 6):
        return g * (1 - (f / g) ** 2)
    if number == 3:
        return g * (1 - np.sqrt(f / g) - f / g * np.sin(10 * np.pi * f))
    return g * (1 - np.sqrt(f / g))


def dtlz(number: int, goals: int = 2, d: int = 6) -> Front:
    """Return DTLZ 1, 2 (both moved) or 7 with `goals` in `d` parameters, at most 6."""
    space = Space({f"x{i}": Float(0, 1) for i in range(d)})
    middle = 0.5 + MOVED[: d - goals + 1]
    optimum = np.zeros_like(middle) if number == 7 else middle

    def of(x: np.ndarray) -> np.ndarray:
        head, tail = x[: goals - 1], x[goals - 1 :]
        if number == 7:
            g = 1 + 9 * np.mean(tail)
            h = goals - np.sum(head / (1 + g) * (1 + np.sin(3 * np.pi * head)))
            return np.append(head, (1 + g) * h)
        off = tail - middle
        if number == 1:
            g = 100 * (len(tail) + np.sum(off**2 - np.cos(20 * np.pi * off)))
            sides, rest, scale = head, 1 - head, 0.5 * (1 + g)
        else:
            g = np.sum(off**2)
            sides, rest = np.cos(head * np.pi / 2), np.sin(head * np.pi / 2)
            scale = 1 + g
        parts = [np.prod(sides[: goals - 1 - k]) for k in range(goals)]
        return scale * np.array(
            [part * (rest[goals - 1 - k] if k else 1) for k, part in enumerate(parts)]
        )

    axes = np.meshgrid(*[np.linspace(0, 1, 2001 if goals == 2 else 41)] * (goals - 1))
    heads = np.stack([axis.ravel() for axis in axes], axis=1)
    front = np.array([of(np.append(head, optimum)) for head in heads])
    corner = {1: (60.0,), 2: (1.5,), 7: (1.1,)}[number] * goals
    if number == 7:
        corner = (*corner[:-1], 4.0 * goals)
    return Front(
        f"dtlz{number} of {goals}",
        space,
        lambda params: of(np.array([params[f"x{i}"] for i in range(d)])).tolist(),
        corner,
        hypervolume(front, corner),
    )


def pipelines() -> Front:
    """Return the recorded task: minimize error on digits and microseconds per prediction."""
    with gzip.open(LATENCIES, "rt") as file:
        latencies = json.load(file)
    (errors,) = [p for p in models.recorded() if p.name == "recorded/digits"]

    def values(params: Params) -> list[float]:
        key = json.dumps(models.GRID.flatten(params))
        return [errors.loss(params), float(np.log10(latencies[key]))]

    table = np.array([values(params) for params in models.GRID.grid(100)])
    corner = (0.5, float(table[:, 1].max()))
    return Front("error and latency", models.GRID, values, corner, hypervolume(table, corner))


def record() -> None:
    """Time the predictions of every pipeline of the grid, fitted on digits."""
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import QuantileTransformer, StandardScaler

    X, y = models.data_of("digits")
    latencies: dict[str, float] = {}
    warnings.simplefilter("ignore")  # some pipelines do not converge; this does not matter here
    for params in models.GRID.grid(100):
        scaler = {
            "none": "passthrough",
            "standard": StandardScaler(),
            "quantile": QuantileTransformer(n_quantiles=100),
        }[params["scaler"]]
        model = make_pipeline(scaler, models._model(False, *params["model"])).fit(X, y)
        times = []
        for _ in range(5):
            began = time.perf_counter()
            model.predict(X)
            times.append(time.perf_counter() - began)
        latencies[json.dumps(models.GRID.flatten(params))] = round(1e6 * min(times) / len(X), 3)
    with gzip.GzipFile(LATENCIES, "wb", mtime=0) as file:
        file.write(json.dumps(latencies).encode())


def problems() -> list[Front]:
    """Return all problems."""
    return [
        *(zdt(number) for number in (1, 2, 3, 4, 6)),
        *(dtlz(number) for number in (1, 2, 7)),
        dtlz(2, goals=3),
        pipelines(),
    ]


def search(name: str, problem: Front, seed: int, n_trials: int) -> tuple[np.ndarray, float]:
    """Return the values, shape (n_trials, g), and the seconds per suggestion."""
    goals = [Goal(f"g{k}") for k in range(len(problem.reference))]
    found: list[list[float]] = []
    seconds = 0.0
    if name in OURS:
        optimizer = resolve(name)
        optimizer.reset(problem.space, goals, seed)
        for number in range(n_trials):
            began = time.perf_counter()
            (params,) = optimizer.ask(1)
            seconds += time.perf_counter() - began
            found.append(problem.values(params))
            metrics = {goal.metric: v for goal, v in zip(goals, found[-1], strict=True)}
            optimizer.tell(Trial(number, params), Outcome(State.COMPLETED, metrics))
        return np.array(found), seconds / n_trials
    columns = [description(column, problem.space) for column in problem.space.columns]
    peer = Peer(name)
    peer.start(columns=columns, goals=len(goals), seed=seed, n_trials=n_trials, noisy=False)
    try:
        theirs = Theirs(peer, problem.space)
        for _ in range(n_trials):
            params, took = theirs.ask([])
            seconds += took
            found.append(problem.values(params))
            peer.tell(found[-1])
    finally:
        peer.close()
    return np.array(found), seconds / n_trials


def main(argv: Sequence[str] | None = None) -> None:
    """Run the searches and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="3 problems, 2 seeds, 50 trials, ours")
    parser.add_argument("--contestants", default=",".join(CONTESTANTS))
    parser.add_argument("--problems", default="", help="names, or parts of them")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--record", action="store_true", help="time the pipelines again")
    args = parser.parse_args(argv)
    if args.record:
        return record()
    if args.quick:
        args.contestants, args.seeds, args.trials = "random,tpe,bayesian", 2, 50
        args.problems = args.problems or "zdt1,dtlz2 of 2,latency"
    names = args.contestants.split(",")
    wanted = [w for w in args.problems.split(",") if w]
    chosen = [p for p in problems() if not wanted or any(w in p.name for w in wanted)]
    budgets = [b for b in BUDGETS if b <= args.trials] or [args.trials]
    shares: dict[str, dict[str, list[float]]] = {}
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for problem in chosen:
        shares[problem.name] = {}
        for name in names:
            rows = []
            for seed in range(args.seeds):
                values, took = search(name, problem, seed, args.trials)
                seconds[name].append(took)
                covered = [hypervolume(values[:b], problem.reference) for b in budgets]
                rows.append(np.array(covered) / problem.best)
            shares[problem.name][name] = np.mean(rows, axis=0).round(4).tolist()
            row = " ".join(f"{share:8.4f}" for share in shares[problem.name][name])
            print(f"{problem.name:<18} {name:<20} {row}", flush=True)
    print(f"\nshare of the front's hypervolume after {', '.join(map(str, budgets))} trials, mean")
    mean = {
        name: np.mean([s[name] for s in shares.values()], axis=0).round(4).tolist()
        for name in names
    }
    for name in names:
        took = 1e3 * float(np.mean(seconds[name]))
        print(f"{name:<20} {' '.join(f'{m:8.4f}' for m in mean[name])} {took:8.1f} ms a suggestion")
    print(json.dumps({"benchmark": "fronts", "budgets": budgets, "seeds": args.seeds,
                      "shares": shares, "mean": mean}))  # fmt: skip
    return None


if __name__ == "__main__":
    sys.exit(main())
