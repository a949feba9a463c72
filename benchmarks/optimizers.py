"""How far from the optimum each optimizer ends, against random search and Optuna's TPE.

Functions with logarithmic scales, integers, categories and conditions; the regret is the best
value found less the known minimum. Prints the median over seeds, then one line of JSON::

    python -m benchmarks.optimizers [--quick] [--optimizers tpe,random] [--functions branin,mixed]
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tuner.optimizers import OptunaOptimizer, resolve
from tuner.optimizers.protocol import Optimizer
from tuner.records import Goal, Outcome, Params, State, Trial
from tuner.search_spaces import Bool, Choice, Float, Int, Ordinal, P, Space


@dataclass(frozen=True)
class Function:
    """What is minimized: `loss` over `space`, at best `minimum`, in `n_trials`."""

    space: Space
    loss: Callable[[Params], float]
    minimum: float
    n_trials: int


def branin(p: Params) -> float:
    """Return Branin's function; three minima."""
    x, y = p["x"], p["y"]
    inner = y - 5.1 / (4 * math.pi**2) * x**2 + 5 / math.pi * x - 6
    return float(inner**2 + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x) + 10)


_A = np.array(
    [[10, 3, 17, 3.5, 1.7, 8], [0.05, 10, 17, 0.1, 8, 14], [3, 3.5, 1.7, 10, 17, 8],
     [17, 8, 0.05, 10, 0.1, 14]]
)  # fmt: skip
_P = 1e-4 * np.array(
    [[1312, 1696, 5569, 124, 8283, 5886], [2329, 4135, 8307, 3736, 1004, 9991],
     [2348, 1451, 3522, 2883, 3047, 6650], [4047, 8828, 8732, 5743, 1091, 381]]
)  # fmt: skip


def hartmann(p: Params) -> float:
    """Return Hartmann's function in six dimensions; four local minima."""
    x = np.array([p[f"x{i}"] for i in range(6)])
    return -float(np.array([1, 1.2, 3, 3.2]) @ np.exp(-(_A * (x - _P) ** 2).sum(axis=1)))


def rastrigin(p: Params) -> float:
    """Return Rastrigin's function of ten variables: a bowl with a grid of local minima."""
    x = np.array(list(p.values())) - 0.7
    return float((x**2 - np.cos(2 * math.pi * x) + 1).sum())


def network(p: Params) -> float:
    """Return a loss such as a network's: rates and sizes that depend on each other."""
    rate, decay, width = map(math.log10, (p["rate"], p["decay"], p["width"]))
    loss = (rate + 2.5 + 0.3 * (width - 2)) ** 2 + 0.1 * (decay + 4) ** 2
    loss += 0.2 * (width - 2.1) ** 2 + 0.05 * abs(p["layers"] - 3)
    loss += {"relu": 0.0, "gelu": 0.02, "tanh": 0.3, "sigmoid": 0.8}[p["activation"]]
    return loss + (0.0 if p["skip"] else 0.1) + 0.1 * abs(math.log2(p["batch"] / 64))


def pipeline(p: Params) -> float:
    """Return a loss over three models, of which one is best if its parameters are."""
    loss = 0.0 if p["scaler"] == "standard" else 0.1
    kind, o = p["model"]
    if kind == "svm":
        kernel, inner = o["kernel"]
        loss += 0.15 + 0.05 * (math.log10(o["C"]) - 1) ** 2
        loss += {"linear": 0.3, "poly": 0.1}.get(kernel, 0.0)
        return loss + (0.1 * (math.log10(inner["gamma"]) + 2) ** 2 if kernel == "rbf" else 0.0)
    if kind == "forest":
        return loss + 0.2 + 0.1 * (o["share"] - 0.4) ** 2 + 10 / o["trees"]
    if kind == "boosting":
        loss += 0.1 * (math.log10(o["rate"]) + 1.2) ** 2 + 0.004 * abs(o["depth"] - 6)
        return loss + 0.1 * (o["subsample"] - 0.8) ** 2
    return loss + 1.0


def assignment(p: Params) -> float:
    """Return how many of eight categories are not the hidden ones; two count only together."""
    hidden = "cadbacbd"
    wrong = [p[f"c{i}"] != letter for i, letter in enumerate(hidden)]
    return float(sum(wrong[2:]) + 2 * (wrong[0] or wrong[1]))


FUNCTIONS = {
    "branin": Function(
        Space({"x": Float(-5, 10), "y": Float(0, 15)}), branin, 0.39788735772973816, 60
    ),
    "hartmann 6": Function(
        Space({f"x{i}": Float(0, 1) for i in range(6)}), hartmann, -3.322368011391339, 100
    ),
    "rastrigin 10": Function(
        Space({f"x{i}": Float(-5.12, 5.12) for i in range(10)}), rastrigin, 0.0, 150
    ),
    "network": Function(
        Space(
            {
                "rate": Float(1e-6, 1.0, log=True),
                "decay": Float(1e-8, 1.0, log=True),
                "width": Int(8, 1024, log=True),
                "layers": Int(1, 10),
                "activation": Choice("relu", "gelu", "tanh", "sigmoid"),
                "skip": Bool(),
                "batch": Ordinal(16, 32, 64, 128, 256),
            }
        ),
        network,
        0.0,
        100,
    ),
    "pipeline": Function(
        Space(
            {
                "scaler": Choice("none", "standard", "robust"),
                "model": Choice(
                    "dummy",
                    svm={
                        "C": Float(1e-3, 1e3, log=True),
                        "kernel": Choice(
                            "linear",
                            rbf={"gamma": Float(1e-5, 10, log=True)},
                            poly={"degree": Int(2, 5)},
                        ),
                    },
                    forest={"trees": Int(10, 1000, log=True), "share": Float(0.05, 1.0)},
                    boosting={
                        "rate": Float(1e-3, 1.0, log=True),
                        "depth": Int(1, 16),
                        "subsample": Float(0.3, 1.0),
                    },
                ),
            }
        ),
        pipeline,
        0.0,
        80,
    ),
    "assignment": Function(
        Space({f"c{i}": Choice("a", "b", "c", "d", "e") for i in range(8)}), assignment, 0.0, 120
    ),
    "constrained": Function(
        Space({"x": Float(-5, 10), "y": Float(0, 15), "n": Int(1, 9)}).where(
            P("x") + P("n") <= 8, P("y") >= P("n")
        ),
        lambda p: branin(p) + 0.5 * abs(p["n"] - 4),
        0.39788735772973816,
        80,
    ),
}

OPTIMIZERS: dict[str, Callable[[], Optimizer]] = {
    "random": lambda: resolve("random"),
    "tpe": lambda: resolve("tpe"),
    "bayesian": lambda: resolve("bayesian"),
    "auto": lambda: resolve("auto"),
    "optuna tpe": lambda: OptunaOptimizer("TPESampler", multivariate=True, group=True),
}


def regret(optimizer: Optimizer, function: Function, seed: int) -> float:
    """Return how far from the minimum one search ends."""
    optimizer.reset(function.space, [Goal()], seed)
    best = math.inf
    for number in range(function.n_trials):
        (params,) = optimizer.ask(1)
        loss = function.loss(params)
        best = min(best, loss)
        optimizer.tell(Trial(number, params), Outcome(State.COMPLETED, {"value": loss}))
    return max(best - function.minimum, 0.0)


def measure(names: list[str], functions: list[str], seeds: int) -> dict[str, Any]:
    """Run every optimizer on every function and print a row for each function."""
    print(f"{'median regret of ' + str(seeds):20s}" + "".join(f"{name:>18s}" for name in names))
    result: dict[str, Any] = {}
    for title in functions:
        function, row = FUNCTIONS[title], {}
        line = f"{title + ' (' + str(function.n_trials) + ')':20s}"
        for name in names:
            began = time.perf_counter()
            regrets = [regret(OPTIMIZERS[name](), function, seed) for seed in range(seeds)]
            milliseconds = 1e3 * (time.perf_counter() - began) / seeds / function.n_trials
            row[name] = {"regret": float(np.median(regrets)), "ms_per_trial": milliseconds}
            line += f"{row[name]['regret']:10.4f} {milliseconds:4.0f} ms"
        print(line, flush=True)
        result[title] = row
    return result


def main() -> None:
    """Run as a command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="three seeds, three functions")
    parser.add_argument("--seeds", type=int, help="searches a function, 11 if not given")
    parser.add_argument("--optimizers", default=",".join(OPTIMIZERS))
    parser.add_argument("--functions", default="")
    given = parser.parse_args()
    quick = "branin,network,pipeline"
    functions = given.functions or (quick if given.quick else ",".join(FUNCTIONS))
    seeds = given.seeds or (3 if given.quick else 11)
    result = measure(given.optimizers.split(","), functions.split(","), seeds)
    print(json.dumps({"benchmark": "optimizers", "seeds": seeds, "functions": result}))


if __name__ == "__main__":
    main()
