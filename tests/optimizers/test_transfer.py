"""Trials that were measured on other data guide a search without being believed."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from tuner.errors import ArgumentError
from tuner.optimizers import BayesianOptimizer, TransferOptimizer
from tuner.optimizers.bayesian.gaussian_process import GaussianProcess
from tuner.optimizers.transfer import OldLosses
from tuner.records import Direction, Goal, Outcome, Params, State, Trial
from tuner.search_spaces import Choice, Float, Space

SPACE = Space({"x": Float(0, 1), "y": Float(0, 1), "kind": Choice("a", "b")})


def bowl(x: float) -> Callable[[Params], float]:
    return lambda p: (p["x"] - x) ** 2 + (p["y"] - 0.5) ** 2 + 0.1 * (p["kind"] == "b")


def tell(search: BayesianOptimizer, number: int, params: Params, value: float) -> None:
    state = State.FAILED if math.isnan(value) else State.COMPLETED
    metrics = {} if math.isnan(value) else {"value": value}
    search.tell(Trial(number, params, state), Outcome(state, metrics))


def guided(old: Callable[[Params], float], *, goal: Goal | None = None) -> TransferOptimizer:
    search = TransferOptimizer()
    search.reset(SPACE, [goal or Goal()], 1)
    for k, params in enumerate(SPACE.sample(np.random.default_rng(0), 30)):
        tell(search, k - 30, params, old(params))
    return search


def run(search: BayesianOptimizer, loss: Callable[[Params], float], n: int) -> list[float]:
    found = []
    for number in range(n):
        [params] = search.ask(1)
        found.append(loss(params))
        tell(search, number, params, found[-1])
    return found


def test_the_best_old_points_are_measured_first() -> None:
    old = bowl(0.3)
    sampled = sorted(SPACE.sample(np.random.default_rng(0), 30), key=old)
    search = guided(old)
    assert search.ask(2) == sampled[:2]


def test_a_goal_to_maximize_has_its_best_point_where_it_is_largest() -> None:
    search = guided(lambda p: -bowl(0.3)(p), goal=Goal("value", Direction.MAXIMIZE))
    [first] = search.ask(1)
    assert first == guided(bowl(0.3)).ask(1)[0]


def test_the_first_trials_are_near_the_old_optimum() -> None:
    cold = BayesianOptimizer()
    cold.reset(SPACE, [Goal()], 1)
    new = bowl(0.35)
    assert max(run(guided(bowl(0.3)), new, 6)) < 0.2 < max(run(cold, new, 6))


def test_misleading_old_trials_are_overcome() -> None:
    assert min(run(guided(lambda p: -bowl(0.9)(p)), bowl(0.9), 18)) < 0.05


def test_failed_old_trials_do_not_count() -> None:
    search = guided(lambda p: math.nan if p["x"] < 0.5 else bowl(0.3)(p))
    [first] = search.ask(1)
    assert first["x"] >= 0.5


def test_without_old_trials_it_is_bayesian_optimization() -> None:
    found = []
    for search in (TransferOptimizer(), BayesianOptimizer()):
        search.reset(SPACE, [Goal()], 3)
        found.append(run(search, bowl(0.2), 9))
    assert found[0] == found[1]


def test_several_goals_are_refused() -> None:
    with pytest.raises(ArgumentError, match="optimizes one metric"):
        TransferOptimizer().reset(SPACE, [Goal("a"), Goal("b")], 0)


def test_the_density_is_constant_where_the_old_losses_are_low() -> None:
    search = guided(bowl(0.3))
    run(search, bowl(0.3), 3)
    model, least = search._learned()
    assert isinstance(model, GaussianProcess)
    density = OldLosses(model, least, 2.0)
    X, active = SPACE.encode(
        [{"x": 0.31, "y": 0.5, "kind": "a"}, {"x": 0.9, "y": 0.1, "kind": "b"}]
    )
    values, slopes = density.with_gradient(X, active)
    assert values == pytest.approx(density(X, active))
    assert values[0] == -2.0 * least > values[1]
    assert not slopes[0].any()
    step = np.array([[0.0, 0.0, 0.0], [1e-5, 0.0, 0.0]])
    assert (density(X + step, active) - values)[1] / 1e-5 == pytest.approx(slopes[1, 0], rel=1e-2)
