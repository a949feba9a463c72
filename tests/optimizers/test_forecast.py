"""The forecast of further trials: its rules, its units, and records that tell nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from tuner.optimizers.forecast import Forecast, forecast
from tuner.optimizers.winner import winner_of
from tuner.records import Direction, Goal, State, StudyInfo, Trial
from tuner.search_spaces import Float, Space

SPACE = Space({"x": Float(0, 1)})


def of(
    values: Sequence[float],
    n_trials: int = 20,
    tolerance: float = 0.0,
    noise: float | None = 0.0,
    direction: Direction = Direction.MINIMIZE,
) -> Forecast:
    """Return the forecast of a study with these values at different points."""
    goal = Goal(direction=direction)
    known = {} if noise is None else {"noise": noise}
    info = StudyInfo("", "", {}, "", (goal,), seed=0, created=0.0, optimizer=known)
    trials = [
        Trial(i, {"x": (7 * i % len(values)) / len(values)}, State.COMPLETED, (value,))
        for i, value in enumerate(values)
    ]
    return forecast(goal, trials, winner_of(info, SPACE, trials, []), n_trials, tolerance)


def searched(best_at: int, n: int = 40) -> list[float]:
    """Return values of which the best one is at a place."""
    values = np.random.default_rng(0).uniform(1.0, 2.0, n)
    values[best_at] = 0.9
    return values.tolist()


def test_an_old_winner_makes_a_gain_unlikely_and_more_trials_make_it_likely() -> None:
    old, new = of(searched(1)), of(searched(38))
    assert old.probability < 0.5 < new.probability
    assert of(searched(20), 5).probability < of(searched(20), 80).probability


def test_a_gain_has_the_units_of_the_goal_in_both_directions() -> None:
    values = searched(30)
    found = of(values, tolerance=0.1)
    scaled = of([1000.0 * v for v in values], tolerance=100.0)
    mirrored = of([-v for v in values], tolerance=0.1, direction=Direction.MAXIMIZE)
    assert scaled.high == pytest.approx(1000.0 * found.high)
    assert scaled.probability == mirrored.probability == found.probability
    assert mirrored.gain == pytest.approx(found.gain)
    assert 0.0 == found.low < found.gain < found.high


def test_a_search_that_converged_has_little_to_gain() -> None:
    near = [1.0, *(1e-4 * v for v in searched(30))]
    assert of(near).high < 0.001
    assert of(near, tolerance=0.01).probability == 0.0


def test_a_later_winner_may_be_luckier_but_not_better() -> None:
    noisy = np.random.default_rng(1).normal(size=20).tolist()
    found = of(noisy, noise=1.0)
    assert found.low < 0.0 < found.high
    assert (found.noise, found.source, found.basis) == (pytest.approx(1.0), "given", 20)


def test_a_plateau_keeps_the_probability_of_exchangeable_trials() -> None:
    tied = [1.0] * 30 + [2.0, 3.0] * 5
    assert of(tied, 20).probability == pytest.approx(20 / 60, abs=0.04)


@pytest.mark.parametrize("values", [[1.0], [1.0, 2.0], [1.0] * 20, [1e308, -1e308, 0.0]], ids=str)
def test_without_different_values_nothing_is_known(values: list[float]) -> None:
    found = of(values, noise=None)
    assert not found.known
    assert math.isnan(found.gain)
    assert "unknown" in found.in_words()


def test_without_an_eligible_trial_nothing_is_known() -> None:
    assert not forecast(Goal(), [Trial(0, {"x": 0.5}, State.FAILED)], None).known
