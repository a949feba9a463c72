"""Noisy variants of the problems of the yardstick, and the case of tied values."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.quality import learning
from benchmarks.quality.noise import KINDS, noisy, noisy_by_name
from benchmarks.quality.problem import Problem
from benchmarks.quality.results import Result, run
from benchmarks.quality.ties import TIED, flat, is_stuck, nested
from tuner.search_spaces import Float, Space

LINE = Problem("line", "f", Space({"x": Float(0, 1)}), lambda p: 10.0 + 4.0 * p["x"], 10.0)


def draws(kind: str, level: float, x: float, n: int = 4000) -> np.ndarray:
    problem = noisy(LINE, level, kind)
    rng = np.random.default_rng(0)
    assert problem.observe is not None
    return problem.normalised(np.array([problem.observe({"x": x}, rng) for _ in range(n)]))


def test_the_noise_level_is_relative_to_the_range_from_best_to_median() -> None:
    assert LINE.random_median == pytest.approx(12.0, abs=0.2)
    assert np.std(draws("gaussian", 0.1, 0.3)) == pytest.approx(0.1, rel=0.05)
    assert np.mean(draws("gaussian", 0.1, 0.0)) == pytest.approx(0.0, abs=0.01)


def test_each_kind_of_noise_has_its_distribution() -> None:
    assert np.std(draws("growing", 0.1, 0.0)) < 0.5 * np.std(draws("growing", 0.1, 0.5))
    far = np.abs(draws("outliers", 0.05, 0.0)) > 0.25
    assert 0.02 < np.mean(far) < 0.06
    steps = draws("rounded", 0.05, 0.331, n=1) / 0.05
    assert steps == pytest.approx(np.round(steps))
    assert draws("plateau", 0.2, 0.9, n=1) == pytest.approx(0.8)
    assert set(KINDS) == {"gaussian", "growing", "outliers", "rounded", "plateau"}


def test_a_noisy_problem_is_found_by_its_name() -> None:
    problem = noisy(LINE, 0.1, "growing")
    assert problem.name == "line@growing-0.1"
    assert noisy_by_name(problem.name, {"line": LINE}).name == problem.name
    assert noisy_by_name("line", {"line": LINE}) is LINE


def test_the_chosen_trial_is_the_luckiest_the_winner_or_the_best_tried() -> None:
    result = Result("line", 0, 1, [3.0, 1.0, 2.0], [0.0, 5.0, 1.0], winners={"3": 2})
    assert result.chosen("confirmed", 3) == 2.0
    assert replace(result, confirmed={"3": 1}).chosen("confirmed", 3) == 1.0
    assert result.chosen("looks best", 3) == 3.0
    assert result.chosen("winner", 3) == 2.0
    assert result.chosen("winner", 2) == 3.0
    assert result.chosen("best tried", 3) == 1.0


def test_the_noise_differs_between_problems_of_one_seed() -> None:
    other = replace(LINE, name="other line")
    first, second = (run("random", noisy(p, 0.1), seed=0, n_trials=5) for p in (LINE, other))
    assert first.losses == second.losses
    assert not set(first.observed) & set(second.observed)


def test_winners_are_chosen_at_each_budget_of_a_noisy_search() -> None:
    result = run("random", noisy(LINE, 0.2), seed=0, n_trials=26)
    assert result.winners.keys() == {"25"}
    assert result.winners["25"] < 25
    assert result.confirmed.keys() == {"25"}
    confirmed = run("random", noisy(LINE, 0.02), seed=0, n_trials=25).chosen("confirmed", 25)
    assert confirmed <= result.chosen("best tried", 25) + 0.1
    assert run("random", LINE, seed=0, n_trials=26).winners == {}


@pytest.mark.slow
@pytest.mark.parametrize(
    "problem", [*learning.problems(), *learning.held_out()], ids=lambda p: p.name
)
def test_a_learning_task_has_a_fixed_loss_above_the_known_best(problem: Problem) -> None:
    assert len(problem.space.columns) == 7
    points = problem.space.sample(np.random.default_rng(0), 12)
    losses = [problem.loss(p) for p in points]
    assert losses == [problem.loss(p) for p in points]
    assert np.isfinite(losses).all()
    assert min(losses) > problem.known_best


def test_the_tie_problem_has_the_declared_better_share() -> None:
    rng = np.random.default_rng(0)
    for problem in (flat(0.2), nested(0.2)):
        losses = np.array([problem.loss(p) for p in problem.space.sample(rng, 2000)])
        assert np.mean(losses == TIED) == pytest.approx(0.5, abs=0.05)
        assert np.mean(losses < TIED) == pytest.approx(0.1, abs=0.03)
    assert not is_stuck("random", flat(0.3), seed=0)
