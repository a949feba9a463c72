"""How well the forecast of further trials holds.

Real searches run on the problems of `benchmarks.quality` whose true values are known: without
noise, as the study states, and with unknown normal noise of a tenth of the scale, which is the
median of random points less the known best. After 20, 40 and 80 trials the next 10, 20 and 40 are
forecast. The true gain is the difference of the winner's true values before and after, as a part of
the scale. Reported for each optimizer and level of noise: how often the 95 % interval holds the
gain, the mean gain and its forecast, and the Brier score of the probability that the gain is above
`TOLERANCE`, beside the score of the overall rate.

The numbers of `tuner.optimizers.forecast` are chosen on the functions; `--aside` checks them on the
held-out problems that are cheap.

    python -m benchmarks.forecast --seeds 2
    python -m benchmarks.forecast --seeds 2 --aside
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import pairwise, product

import numpy as np

AT, NEXT = (20, 40, 80), (10, 20, 40)
LEVELS = (0.0, 0.1)
OPTIMIZERS = ("random", "tpe", "auto")
TOLERANCE = 0.01
"""The gain that does not matter, as a part of the scale of the problem."""


@dataclass(frozen=True, slots=True)
class Check:
    """A forecast and the true gain, as parts of the scale of the problem."""

    optimizer: str
    level: float
    at: int
    n_trials: int
    low: float
    high: float
    expected: float
    probability: float
    gain: float


def problems(aside: bool) -> list:
    """Return the problems of cheap functions."""
    from benchmarks.quality import aside as held_out
    from benchmarks.quality import functions

    if not aside:
        return functions.problems()
    slow = ("forest on wine", "pipeline on wine", "network on iris", "bowl 25", "five of 40")
    return [p for p in held_out.problems() if p.name not in slow]


def one_search(aside: bool, place: int, level: float, optimizer: str, seed: int) -> list[Check]:
    """Run a search, and compare its forecasts with what came."""
    from benchmarks.quality.contestants import Ours
    from benchmarks.quality.noise import noisy
    from tuner.optimizers import resolve
    from tuner.optimizers.forecast import forecast
    from tuner.optimizers.winner import winner_of
    from tuner.records import Goal, State, StudyInfo, Trial

    problem = problems(aside)[place]
    shown = noisy(problem, level) if level else problem
    scale = problem.random_median - problem.known_best
    search, rng = Ours(resolve(optimizer), shown, seed), np.random.default_rng(1000 + seed)
    trials: list[Trial] = []
    truth: list[float] = []
    known = {} if level else {"noise": 0.0}
    info = StudyInfo("", "", {}, "", (Goal(),), seed=seed, created=0.0, optimizer=known)
    winners = {}
    for number in range(max(AT) + max(NEXT)):
        params, _ = search.ask([])
        truth.append(problem.loss(params))
        value = shown.observe(params, rng) if shown.observe else truth[-1]
        trials.append(Trial(number, params, State.COMPLETED, (value,)))
        search.tell(trials[-1], value)
        if (done := number + 1) in {t + n for t, n in product(AT, (0, *NEXT))}:
            winners[done] = winner_of(info, problem.space, trials, [])
    checks = []
    for at, n in product(AT, NEXT):
        found = forecast(Goal(), trials[:at], winners[at], n, TOLERANCE * scale)
        gain = truth[winners[at].trial.number] - truth[winners[at + n].trial.number]
        numbers = (found.low, found.high, found.gain)
        parts = (x / scale for x in numbers)
        checks.append(Check(optimizer, level, at, n, *parts, found.probability, gain / scale))
    return checks


def row(name: str, checks: Sequence[Check]) -> dict[str, object]:
    """Return the figures of a group of checks."""
    known = [c for c in checks if not np.isnan(c.probability)]
    held = [c.low - 1e-12 <= c.gain <= c.high + 1e-12 for c in known]
    came = np.array([c.gain > TOLERANCE for c in known], dtype=float)
    said = np.array([c.probability for c in known])
    return {
        "group": name,
        "forecasts": len(known),
        "interval holds": round(float(np.mean(held)), 3),
        "gain": round(float(np.mean([c.gain for c in known])), 4),
        "forecast": round(float(np.mean([c.expected for c in known])), 4),
        "came": round(float(np.mean(came)), 3),
        "said": round(float(np.mean(said)), 3),
        "Brier": round(float(np.mean((said - came) ** 2)), 3),
        "Brier of rate": round(float(np.var(came)), 3),
    }


def main() -> None:
    """Print a table, one row for each group, and the same as a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--aside", action="store_true", help="the held-out problems")
    parser.add_argument("--seeds", type=int, default=2, help="searches of each kind")
    parser.add_argument("--quick", action="store_true", help="one seed and three problems")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    places = range(3 if options.quick else len(problems(options.aside)))
    seeds = range(1 if options.quick else options.seeds)
    calls = list(product([options.aside], places, LEVELS, OPTIMIZERS, seeds))
    with ProcessPoolExecutor(options.jobs) as pool:
        checks = [c for found in pool.map(one_search, *zip(*calls, strict=True)) for c in found]
    rows = [
        row(
            f"{name}, noise {level:g}",
            [c for c in checks if (c.optimizer, c.level) == (name, level)],
        )
        for name, level in product(OPTIMIZERS, LEVELS)
    ]
    rows += [row(f"after {at}", [c for c in checks if c.at == at]) for at in AT]
    rows += [row(f"next {n}", [c for c in checks if c.n_trials == n]) for n in NEXT]
    edges = (0.0, 0.1, 0.3, 0.5, 0.7, 1.0)
    for low, high in pairwise(edges):
        group = [c for c in checks if low <= c.probability < high]
        rows += [row(f"said {low:g} to {high:g}", group)] if group else []
    rows.append(row("all", checks))
    print("  ".join(f"{name:>14}" for name in rows[0]))
    for figures in rows:
        print("  ".join(f"{value!s:>14}" for value in figures.values()))
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
