"""Races: which trial runs next, when a race is decided, and ties."""

from __future__ import annotations

import numpy as np
import pytest

from tuner.optimizers.estimates import Estimate, Estimates
from tuner.optimizers.racing import Race, confidence_in, is_decided, next_repeats, preferred


def estimates(
    means: list[float],
    deviations: list[float],
    runs: list[int],
    noise: float | None = 1.0,
    source: str = "model",
) -> Estimates:
    rng = np.random.default_rng(0)
    draws = np.array(means) + np.array(deviations) * rng.standard_normal((4000, len(means)))
    leaders = tuple(
        Estimate(10 + i, n, m, m) for i, (m, n) in enumerate(zip(means, runs, strict=True))
    )
    return Estimates(leaders, leaders[0], noise, source, 0.0, draws)


CLEAR = estimates([0.0, 9.0], [0.3, 0.3], [3, 1])
CLOSE = estimates([0.0, 0.1, 9.0], [0.5, 0.5, 0.5], [2, 2, 2])


def test_a_clear_lead_ends_the_race() -> None:
    assert confidence_in(CLEAR, 0.0) > 0.99
    assert is_decided(Race(), CLEAR, repeats=2)
    assert not is_decided(Race(), CLOSE, repeats=2)
    assert is_decided(Race(tolerance=5.0), CLOSE, repeats=2)
    assert is_decided(Race(confidence=0.4), CLOSE, repeats=2)


def test_a_winner_without_a_repeat_is_not_confirmed() -> None:
    once = estimates([0.0, 9.0], [0.3, 0.3], [1, 1])
    assert not is_decided(Race(), once, repeats=0)
    assert not is_decided(Race(), once, repeats=3)
    assert next_repeats(Race(), once, {}, 1) == [10]
    known = estimates([0.0, 9.0], [0.3, 0.3], [1, 1], source="given")
    assert is_decided(Race(), known, repeats=0)
    exact = estimates([0.0, 9.0], [0.0, 0.0], [1, 1], noise=0.0)
    assert not is_decided(Race(), exact, repeats=0)
    assert next_repeats(Race(), exact, {}, 2) == [10, 10]


def test_unknown_noise_is_measured_on_the_leaders_in_turn() -> None:
    unknown = estimates([0.0, 1.0, 2.0, 3.0], [0.0] * 4, [1] * 4, noise=None, source="")
    assert not is_decided(Race(), unknown, repeats=0)
    assert next_repeats(Race(), unknown, {}, 6) == [10, 11, 12, 10, 11, 12]
    assert next_repeats(Race(), unknown, {10: 1}, 1) == [11]


def test_runs_go_to_the_leader_and_its_strongest_challenger() -> None:
    chosen = next_repeats(Race(), CLOSE, {}, 8)
    assert set(chosen) == {10, 11}
    assert chosen.count(10) == chosen.count(11)
    uneven = estimates([0.0, 0.1], [0.1, 2.0], [9, 2])
    assert next_repeats(Race(), uneven, {}, 1) == [11]
    assert next_repeats(Race(), uneven, {11: 200}, 1) == [10]


def test_a_tie_goes_to_the_cheaper() -> None:
    costs = {10: 5.0, 11: 1.0, 12: 0.1}
    assert preferred(Race(), CLOSE, costs).trial == 11
    assert preferred(Race(), CLOSE, {}).trial == 10
    assert preferred(Race(), CLEAR, {10: 5.0, 11: 1.0}).trial == 10


@pytest.mark.parametrize("noise", [0.0, None])
def test_cost_decides_ties_of_equal_values_only_if_the_noise_is_known(noise: float | None) -> None:
    same = estimates([1.0, 1.0], [0.0, 0.0], [2, 2], noise=noise)
    cheaper = preferred(Race(), same, {10: 2.0, 11: 1.0})
    assert cheaper.trial == (10 if noise is None else 11)
