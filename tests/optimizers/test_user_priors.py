"""User-defined priors: a good one speeds up the search; the search recovers from a wrong one."""

from __future__ import annotations

import numpy as np
import pytest

from tuner.optimizers import BayesianOptimizer, RandomOptimizer, TPEOptimizer
from tuner.records import Goal, Outcome, State, Trial
from tuner.search_spaces import Choice, Float, Normal, Space

TOP = {"a": 0.83, "b": 0.12, "c": 0.4, "d": 0.65}


def space(centre=None, kind=None):
    prior = {n: None if centre is None else Normal(centre[n], 0.05) for n in TOP}
    return Space(
        {n: Float(0, 1, prior=prior[n]) for n in TOP}
        | {
            "kind": Choice(
                "x", "y", "z", prior=None if kind is None else {**dict.fromkeys("xyz", 1), kind: 8}
            )
        }
    )


def loss(params):
    return sum((params[n] - v) ** 2 for n, v in TOP.items()) + (0.3 if params["kind"] != "y" else 0)


def best(make, where, n, seed):
    search = make()
    search.reset(where, [Goal()], seed)
    losses = []
    for number in range(n):
        (params,) = search.ask(1)
        losses.append(loss(params))
        search.tell(Trial(number, params), Outcome(State.COMPLETED, {"value": losses[-1]}))
    return min(losses)


def median(make, where, n, seeds=7):
    return float(np.median([best(make, where, n, seed) for seed in range(seeds)]))


each = pytest.mark.parametrize("make", [RandomOptimizer, TPEOptimizer, BayesianOptimizer])
GOOD = space({n: v + 0.02 for n, v in TOP.items()}, "y")
WRONG = space({n: 1 - v for n, v in TOP.items()}, "z")


@each
def test_a_good_prior_speeds_up_the_search(make):
    assert median(make, GOOD, 8) < 0.5 * median(make, space(), 8)


@pytest.mark.slow
@pytest.mark.parametrize(("make", "n"), [(TPEOptimizer, 80), (BayesianOptimizer, 40)])
def test_the_search_recovers_from_a_wrong_prior(make, n):
    assert median(make, WRONG, n, seeds=3) < median(RandomOptimizer, space(), n)
