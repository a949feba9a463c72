"""How often a search stays on an option whose values are all tied, although another is better.

The option ``a`` always has the loss 0.3. The option ``b`` has ``0.3 y / share``: the part `share`
of its points is better. Classification errors on small test sets, clipped metrics and defaults that
many configurations fall back to are like that. A search of 40 trials is stuck if none of its points
is better than 0.3. In the nested space, `y` exists below ``b`` only.

    python -m benchmarks.quality.ties [--contestants auto,tpe,random,optuna-gp] [--seeds 20]
"""

from __future__ import annotations

import argparse

import numpy as np

from benchmarks.quality.contestants import OURS
from benchmarks.quality.problem import Problem
from benchmarks.quality.results import run
from tuner.records import Params
from tuner.search_spaces import Choice, Float, Space

SHARES = (0.05, 0.1, 0.2, 0.3)
TIED = 0.3
TRIALS = 40


def flat(share: float) -> Problem:
    """Return the problem with `x` and `y` for both options."""
    space = Space({"c": Choice("a", "b"), "x": Float(0, 1), "y": Float(0, 1)})

    def loss(params: Params) -> float:
        return TIED if params["c"] == "a" else params["y"] * TIED / share

    return Problem(f"flat-{share:g}", "ties", space, loss, known_best=0.0)


def nested(share: float) -> Problem:
    """Return the problem in which each option has its own parameter."""
    space = Space({"c": Choice(a={"x": Float(0, 1)}, b={"y": Float(0, 1)})})

    def loss(params: Params) -> float:
        kind, options = params["c"]
        return TIED if kind == "a" else options["y"] * TIED / share

    return Problem(f"nested-{share:g}", "ties", space, loss, known_best=0.0)


def is_stuck(contestant: str, problem: Problem, seed: int) -> bool:
    """Whether a search finds nothing that is better than the tied option."""
    return min(run(contestant, problem, seed, TRIALS).losses) >= TIED


def main() -> None:
    """Print the number of stuck searches by contestant and problem."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--contestants", default=",".join(OURS), help="names, with commas between")
    parser.add_argument("--seeds", type=int, default=20, help="searches a problem")
    given = parser.parse_args()
    problems = [make(share) for make in (flat, nested) for share in SHARES]
    print(f"{'stuck of ' + str(given.seeds):16}" + "  ".join(f"{p.name:>11}" for p in problems))
    for name in given.contestants.split(","):
        counts = [sum(is_stuck(name, p, seed) for seed in range(given.seeds)) for p in problems]
        print(f"{name:16}" + "  ".join(f"{n:11d}" for n in counts), flush=True)


if __name__ == "__main__":
    np.seterr(all="ignore")
    main()
