"""Compare the quality of our optimizers with the peers, on the same problems and seeds.

    python -m benchmarks.quality [--quick] [--contestants auto,optuna-gp] [--problems hpolib]
        [--seeds 5] [--trials 200] [--workers 1,4,8,16] [--noisy] [--aside] [--jobs 1]
        [--noise .02,.1] [--noise-kind gaussian|growing|outliers|rounded|plateau]

Prints, for each family of problems, the mean normalised regret after 25, 50, 100 and 200 trials:
(best so far - known best) / (median of random points - known best). Below are mean ranks over all
problems with the critical difference, and seconds per suggestion; the last line is JSON. With
`--noise`, there is a table for each level and each trial that may be chosen: the one that looks
best, the contestant's winner before and after a confirmation (at most 20 % more runs; peers have
none), and the best of those tried; all by their noise-free loss. Results are cached in
``.build/quality/results``: only changed searches run again. Peers are installed in separate
environments below ``.build/quality``.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed

import numpy as np

from benchmarks.quality import aside, functions, learning, models, tables
from benchmarks.quality.contestants import OURS
from benchmarks.quality.noise import KINDS, noisy, noisy_by_name
from benchmarks.quality.problem import Problem
from benchmarks.quality.report import CHOICES, Table
from benchmarks.quality.results import BUDGETS, Results

QUICK = ("hpolib/protein_structure", "nasbench201/cifar100", "branin", "network", "pipeline")
USUAL_PEERS = ("optuna-tpe", "optuna-gp", "hyperopt-tpe", "smac")


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="5 problems, 3 seeds, 50 trials, ours")
    parser.add_argument("--contestants", default="", help="names, with commas between")
    parser.add_argument("--problems", default="", help="families or names, or parts of them")
    parser.add_argument("--seeds", type=int, default=0, help="searches a problem (5)")
    parser.add_argument("--trials", type=int, default=0, help="trials a search (200)")
    parser.add_argument("--workers", default="1", help="trials at once, several with commas")
    parser.add_argument(
        "--noise", default="", help="levels of noise on problems with a truth, such as .02,.1"
    )
    parser.add_argument("--noise-kind", choices=sorted(KINDS), default="gaussian")
    parser.add_argument("--noisy", action="store_true", help="tables as they were drawn")
    parser.add_argument("--aside", action="store_true", help="problems that only judge")
    parser.add_argument("--jobs", type=int, default=1, help="searches at once; timings suffer")
    parser.add_argument("--cached", action="store_true", help="run nothing, show what is known")
    parser.add_argument("--each", action="store_true", help="a row for each problem as well")
    given = parser.parse_args()

    offered = aside.problems() if given.aside else all_problems(given.noisy)
    problems = [p for p in offered if _wanted(p, given)]
    levels = [float(level) for level in given.noise.split(",") if level]
    sets = [[noisy(p, level, given.noise_kind) for p in problems] for level in levels] or [problems]
    names = given.contestants.split(",") if given.contestants else [*OURS]
    if not given.contestants and not given.quick:
        names += USUAL_PEERS
    seeds = range(given.seeds or (3 if given.quick else 5))
    n_trials = given.trials or (50 if given.quick else 200)
    widths = [int(w) for w in given.workers.split(",")]

    if not given.cached:
        fill(names, [p for each in sets for p in each], list(seeds), n_trials, widths, given.jobs)
    budgets = [b for b in BUDGETS if b <= n_trials]
    for level, members in itertools.zip_longest(levels, sets):
        for choice in CHOICES if levels else CHOICES[:1]:
            table = Table(members, list(seeds), budgets, choice)
            for name in names:
                for width in widths:
                    label = name if width == 1 else f"{name} x{width}"
                    table.add(label, Results(name), width)
            if levels:
                print(f"=== {given.noise_kind} noise {level:g}: the trial that is {choice}")
            print(table.text(each=given.each))
            noise = {"noise": level, "kind": given.noise_kind, "choice": choice} if levels else {}
            print(json.dumps({"benchmark": "quality"} | noise | table.figures()))


def all_problems(noisy: bool) -> list[Problem]:
    """Return the problems that are used to choose designs."""
    if noisy:
        return tables.problems(noisy=True)
    return tables.problems() + functions.problems() + models.problems() + learning.problems()


def _wanted(problem: Problem, given: argparse.Namespace) -> bool:
    if given.problems:
        parts = given.problems.split(",")
        return any(part in problem.family or part in problem.name for part in parts)
    return problem.name in QUICK if given.quick else True


def fill(
    names: list[str],
    problems: list[Problem],
    seeds: list[int],
    n_trials: int,
    widths: list[int],
    jobs: int,
) -> None:
    """Run the searches without a cached result."""
    missing = [
        (name, problem.name, seed, n_trials, width)
        for name in names
        for known in [Results(name)]
        for width in widths
        for seed in seeds
        for problem in problems
        if not known.has(problem, seed, n_trials, width)
    ]
    if not missing:
        return
    print(f"{len(missing)} searches to run", file=sys.stderr)
    if jobs == 1:
        for task in missing:
            _search(*task)
        return
    with ProcessPoolExecutor(jobs) as pool:
        for done in as_completed([pool.submit(_search, *task) for task in missing]):
            done.result()


def _search(name: str, problem: str, seed: int, n_trials: int, workers: int) -> None:
    offered = [all_problems(noisy=False), all_problems(noisy=True), aside.problems()]
    known = {p.name: p for p in itertools.chain(*offered)}
    Results(name).get(noisy_by_name(problem, known), seed, n_trials, workers)


if __name__ == "__main__":
    np.seterr(all="ignore")
    main()
