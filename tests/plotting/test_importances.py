"""Importances are shares of the whole variance, on records whose shares are known."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from support.effort import each_once
from tuner.plotting import Plots
from tuner.plotting.importance_scores import Importances, importance_scores
from tuner.plotting.importances import share_text
from tuner.plotting.measure import Measure
from tuner.records import Goal, State, Trial
from tuner.search_spaces import Choice, Float, Space

LOSS = Measure.of_goal(Goal())
CUBE = Space({"a": Float(0, 1), "b": Float(0, 1), "c": Float(0, 1)})
BRANCHES = Space({"model": Choice(small={}, large={"depth": Float(0, 1)})})


def evaluated(space: Space, n: int, value: Callable[[dict[str, Any]], float]) -> list[Trial]:
    points = space.sample(np.random.default_rng(1), n)
    return [Trial(i, p, State.COMPLETED, (value(p),)) for i, p in enumerate(points)]


def shares(space: Space, n: int, value: Callable[[dict[str, Any]], float]) -> Importances:
    found = importance_scores(space, LOSS, evaluated(space, n, value))
    total = sum(found.scores.values()) + found.together + found.unexplained
    assert total == pytest.approx(1)
    return found


@pytest.mark.slow
def test_shares_of_an_additive_function() -> None:
    found = shares(CUBE, 150, lambda p: 2 * p["a"] + p["b"])  # variances 4 : 1
    assert found.scores["a"] == pytest.approx(0.8, abs=0.1)
    assert found.scores["b"] == pytest.approx(0.2, abs=0.1)
    assert found.scores["c"] < 0.02
    assert found.unexplained < 0.1


def test_noise_is_left_unexplained() -> None:
    rng = np.random.default_rng(0)
    half = shares(CUBE, 200, lambda p: p["a"] + rng.normal(0, 1 / math.sqrt(12)))
    assert half.scores["a"] == pytest.approx(0.5, abs=0.12)
    assert half.unexplained == pytest.approx(0.5, abs=0.12)
    nothing = shares(CUBE, 100, lambda p: rng.normal())
    assert nothing.unexplained > 0.9
    assert max(nothing.scores.values()) < 0.05


@pytest.mark.slow
def test_a_single_parameter_without_effect_has_a_low_importance() -> None:
    rng = np.random.default_rng(0)
    alone = Space({"x": Float(0, 1)})
    trials = evaluated(alone, 60, lambda p: rng.normal())
    assert importance_scores(alone, LOSS, trials).scores["x"] < 0.1
    ax = Plots(alone, [Goal()], lambda: trials).importances()
    assert [t.get_text() for t in ax.get_yticklabels()] == ["x", "interactions", "unexplained"]
    widths = [patch.get_width() for patch in ax.patches]
    assert sum(widths) == pytest.approx(1)
    assert widths[0] < 0.1


@pytest.mark.slow
def test_a_parameter_of_a_branch_has_a_share_of_the_whole_variance() -> None:
    def value(p: dict[str, Any]) -> float:
        kind, options = p["model"]
        return float(options["depth"] if kind == "large" else 3.0)

    trials = evaluated(BRANCHES, 200, value)
    large = np.array([t.params["model"][0] == "large" for t in trials])
    y = np.array([t.values[0] for t in trials])
    within = large.mean() * y[large].var() / y.var()
    found = importance_scores(BRANCHES, LOSS, trials)
    assert within < 0.05
    assert found.scores["model.large.depth"] == pytest.approx(within, abs=0.01)
    assert found.scores["model"] == pytest.approx(1 - within, abs=0.05)


def test_a_joint_effect_of_two_parameters_is_an_interaction() -> None:
    found = shares(CUBE, 200, lambda p: float((p["a"] < 0.5) == (p["b"] < 0.5)))
    assert max(found.scores.values()) < 0.1
    assert found.together > 0.5


def test_a_log_parameter_is_measured_on_its_log_scale() -> None:
    space = Space({"lr": Float(1e-5, 1.0, log=True), "b": Float(0, 1)})
    # On a linear scale, nine tenths of the learning rates lie where the value does not change.
    found = shares(space, 150, lambda p: min(math.log10(p["lr"]), -2.0) + 0.3 * p["b"])
    assert found.scores["lr"] > 0.9


def test_copies_of_points_do_not_explain_noise() -> None:
    rng = np.random.default_rng(0)
    points = CUBE.sample(rng, 25)
    noise = rng.normal(size=25)
    trials = [
        Trial(i, points[i % 25], State.COMPLETED, (float(noise[i % 25]),)) for i in range(100)
    ]
    found = importance_scores(CUBE, LOSS, trials)
    assert found.unexplained > 0.7


def test_a_choice_explains_the_values_of_constant_options() -> None:
    space = Space({"m": Choice(*"abcdefghijkl")})
    level = dict(zip("abcdefghijkl", np.random.default_rng(0).permutation(12), strict=True))
    assert shares(space, 100, lambda p: float(level[p["m"]])).scores["m"] > 0.95


@pytest.mark.slow
@pytest.mark.parametrize(("n", "seed"), each_once([4, 5, 8, 12, 40], range(3)))
def test_a_range_contains_its_score(n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    space = Space(
        {**{f"x{i}": Float(0, 1) for i in range(3)}, "m": Choice(a={}, b={"k": Float(0, 1)})}
    )
    trials = [
        # Two values only, so that many are equal.
        Trial(i, p, State.COMPLETED, (float(rng.random() < 0.3 + 0.4 * p["x0"]),))
        for i, p in enumerate(space.sample(rng, n))
    ]
    found = importance_scores(space, LOSS, trials, ranges=True)
    for group in found.groups:
        for path, (low, high) in group.ranges.items():
            assert 0 <= low <= group.scores[path] <= high <= 1
    assert n < 12 or found.groups[0].ranges


def test_a_branch_with_too_few_trials_is_named() -> None:
    trials = [
        Trial(i, {"model": ("large", {"depth": i / 3})}, State.COMPLETED, (float(i),))
        for i in range(3)
    ]
    trials += [
        Trial(3 + i, {"model": ("small", {})}, State.COMPLETED, (0.5 + i,)) for i in range(9)
    ]
    found = importance_scores(BRANCHES, LOSS, trials)
    assert found.skipped == ("model.large.depth",)
    ax = Plots(BRANCHES, [Goal()], lambda: trials).importances()
    assert "too few trials or equal values: model.large.depth" in ax.get_xlabel()


def test_shares_are_shown_with_significant_digits() -> None:
    assert [share_text(s) for s in (0.0, 1e-5, 0.019, 0.0996, 0.5, 1.0)] == [
        "0 %", "< 0.1 %", "1.9 %", "10 %", "50 %", "100 %",
    ]  # fmt: skip
