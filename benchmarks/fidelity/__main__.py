"""Compare searches that stop or pause trials early, at equal compute, on recorded curves.

    python -m benchmarks.fidelity [--contestants random,tpe+asha] [--tasks linear-clusters]
        [--seeds 5] [--workers 1,4] [--whole 50] [--noise 0] [--aside]

One step of a training is the unit of cost, and time is virtual. Each search may run as many steps
as `whole` whole trainings have. Printed, for each number of workers: the normalized regret of the
trial that looks best, at its full length, after 5, 10, 20, 50 and 100 % of the steps, over tasks
and seeds; and the share of the steps after which the mean regret reaches the one of `random`
without a scheduler at its end. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import time

import numpy as np

from benchmarks.fidelity.contestants import regrets, run
from benchmarks.fidelity.curves import load
from benchmarks.fidelity.record import ASIDE, TASKS

SHARES = (0.05, 0.1, 0.2, 0.5, 1.0)
POINTS = np.unique(np.concatenate([np.geomspace(0.002, 1.0, 200), SHARES]))
USUAL = "random,random+median,random+asha,random+halving,random+hyperband,bayesian,bayesian+median"


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--contestants", default=USUAL, help="names, with commas between")
    parser.add_argument("--tasks", default="", help="names, with commas between")
    parser.add_argument("--seeds", type=int, default=5, help="searches a task (5)")
    parser.add_argument("--workers", default="1", help="workers, several with commas")
    parser.add_argument("--whole", type=int, default=50, help="whole trainings a search (50)")
    parser.add_argument("--noise", type=float, default=0.0, help="deviation of each report")
    parser.add_argument("--aside", action="store_true", help="tasks that only judge")
    given = parser.parse_args()
    chosen = [name for name in TASKS if (name in ASIDE) == given.aside]
    tasks = [load(name) for name in (given.tasks.split(",") if given.tasks else chosen)]
    names = given.contestants.split(",")
    if "random" not in names:
        names.insert(0, "random")
    for workers in map(int, given.workers.split(",")):
        means, errors, seconds = {}, {}, {}
        for name in names:
            rows, spent = [], 0.0
            for curves in tasks:
                budget = float(given.whole * curves.steps)
                for seed in range(given.seeds):
                    began = time.process_time()
                    seen = run(name, curves, seed, workers, budget, given.noise)
                    spent += time.process_time() - began
                    rows.append(regrets(seen, curves, list(POINTS * budget / workers)))
            means[name] = np.mean(rows, axis=0)
            errors[name] = np.std(rows, axis=0) / np.sqrt(len(rows))
            seconds[name] = spent / len(rows)
        print(f"{workers} worker(s), noise {given.noise:g}: mean normalized regret")
        print(
            f"{'':22}"
            + "".join(f"{share:>14.0%}" for share in SHARES)
            + f"{'as random':>12}{'CPU s':>8}"
        )
        goal = means["random"][-1]
        figures = {}
        for name in names:
            at = [int(np.searchsorted(POINTS, share)) for share in SHARES]
            cells = [f"{means[name][k]:.3f} ± {errors[name][k]:.3f}" for k in at]
            reached = np.flatnonzero(means[name] <= goal)
            share = float(POINTS[reached[0]]) if len(reached) else float("nan")
            print(
                f"{name:22}"
                + "".join(f"{c:>14}" for c in cells)
                + f"{share:>12.3f}{seconds[name]:>8.1f}"
            )
            figures[name] = {
                "regret": [round(float(means[name][k]), 4) for k in at],
                "as random": share,
            }
        print(
            json.dumps(
                {
                    "benchmark": "fidelity",
                    "workers": workers,
                    "noise": given.noise,
                    "searches": figures,
                }
            )
        )


if __name__ == "__main__":
    main()
