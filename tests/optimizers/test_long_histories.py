"""Suggestions finish in time for sixty parameters, ten thousand trials, and one parameter."""

from __future__ import annotations

import numpy as np
import pytest

from support import pace
from support.effort import each_once
from tuner.optimizers import AutoOptimizer, BayesianOptimizer, RandomOptimizer, TPEOptimizer
from tuner.records import Goal, Outcome, State, Trial
from tuner.search_spaces import Float, Space

OPTIMIZERS = {
    "auto": AutoOptimizer, "bayesian": BayesianOptimizer, "random": RandomOptimizer,
    "tpe": TPEOptimizer,
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("goals", [1, 2])
@pytest.mark.parametrize(
    ("make", "size"), each_once(OPTIMIZERS, [(10, 10_000), (60, 300), (1, 500)])
)
def test_a_suggestion_takes_less_than_a_second(make, size, goals):
    d, n = size
    space = Space({f"x{i}": Float(0, 1) for i in range(d)})
    search = make()
    search.reset(space, [Goal(f"g{k}") for k in range(goals)], 0)
    for number, params in enumerate(space.sample(np.random.default_rng(0), n)):
        x = np.array(list(params.values()))
        metrics = {f"g{k}": float(np.sum((x - 0.3 * k) ** 2)) for k in range(goals)}
        limits = {"c": params["x0"] - 0.5} if number % 2 else {}
        state = State.FAILED if number % 50 == 7 else State.COMPLETED
        search.tell(Trial(number, params), Outcome(state, metrics, constraints=limits))
    search.ask(1)
    points = []
    assert pace.seconds(lambda: points.extend(search.ask(1)), 2) < 1.0  # the slowest: about 0.06
    assert all(point in space for point in points)
