"""Estimates of true values: their intervals, optimism, and behavior with few or extreme values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuner.optimizers.estimates import Estimates, estimate
from tuner.records import Direction, Goal, State, Trial
from tuner.search_spaces import Choice, Float, Space

SPACE = Space({"x": Float(0, 1), "y": Float(0, 1)})


def bowl(X: np.ndarray) -> np.ndarray:
    return (X[:, 0] - 0.3) ** 2 + (X[:, 1] - 0.6) ** 2


def history(values: np.ndarray, X: np.ndarray) -> list[Trial]:
    return [
        Trial(i, {"x": float(x), "y": float(y)}, State.COMPLETED, (float(v),))
        for i, ((x, y), v) in enumerate(zip(X, values, strict=True))
    ]


def noisy(seed: int, n: int = 40, noise: float = 0.05) -> tuple[list[Trial], np.ndarray]:
    rng = np.random.default_rng(seed)
    X = rng.random((n, 2))
    truth = bowl(X)
    return history(truth + noise * rng.standard_normal(n), X), truth


@pytest.fixture(scope="module")
def studies() -> list[tuple[Estimates, np.ndarray]]:
    """The estimates of 25 noisy studies, and the true values of their trials."""
    drawn = [noisy(seed) for seed in range(25)]
    return [(estimate(SPACE, Goal(), trials), truth) for trials, truth in drawn]


@pytest.mark.slow
def test_intervals_cover_the_true_value_and_optimism_is_estimated(studies) -> None:
    covered, claimed, true = [], [], []
    for found, truth in studies:
        winner, best = found.winner, found.best_observed
        covered.append(winner.low <= truth[winner.trial] <= winner.high)
        claimed.append(found.optimism)
        true.append(truth[best.trial] - best.observed)
        assert 0.03 < found.noise < 0.08
    assert np.mean(covered) >= 0.84  # of 25 at 0.95, fewer than 21 happen in 1 of 1,000 tests
    assert np.mean(claimed) == pytest.approx(np.mean(true), rel=0.3)


@pytest.mark.slow
def test_the_winner_has_a_better_true_value_than_the_best_observed(studies) -> None:
    by_winner, by_value = [], []
    for found, truth in studies:
        by_winner.append(truth[found.winner.trial])
        by_value.append(truth[found.best_observed.trial])
    assert np.mean(by_winner) < 0.6 * np.mean(by_value)


@pytest.mark.slow
def test_intervals_of_a_rough_objective_cover_the_true_value() -> None:
    covered = []
    for seed in range(15):
        rng = np.random.default_rng(seed)
        X = rng.random((40, 2))
        truth = bowl(X) + 0.05 * rng.standard_normal(40)
        found = estimate(SPACE, Goal(), history(truth + 0.01 * rng.standard_normal(40), X)).winner
        covered.append(found.low <= truth[found.trial] <= found.high)
    assert np.mean(covered) >= 0.75  # of 15 at 0.95, fewer than 12 happen in 1 of 1,000 tests


def test_a_value_that_is_too_good_does_not_win() -> None:
    trials, truth = noisy(3)
    worst = int(np.argmax(truth))
    broken = [replace(t, values=(-3.0,)) if t.number == worst else t for t in trials]
    found = estimate(SPACE, Goal(), broken)
    assert found.best_observed.trial == worst
    assert found.optimism > 2.5
    assert truth[found.winner.trial] < np.quantile(truth, 0.2)
    assert 0.03 < found.noise < 0.08
    confirmed = estimate(SPACE, Goal(), broken, {worst: [-3.0] * 3})
    assert confirmed.winner.trial == worst


@pytest.mark.parametrize("noise", [None, 0.1])
def test_a_broken_value_among_equal_ones_gives_an_estimate(noise: float | None) -> None:
    X = np.random.default_rng(0).random((20, 2))
    found = estimate(SPACE, Goal(), history(np.r_[np.ones(19), -50.0], X), noise=noise)
    assert np.isfinite([(e.mean, e.low, e.high) for e in found.leaders]).all()


def test_repeats_tell_roughness_from_noise() -> None:
    rng = np.random.default_rng(0)
    X = rng.random((40, 2))
    truth = bowl(X) + 0.05 * rng.standard_normal(40)
    best = np.argsort(truth)[:6].tolist()
    once = estimate(SPACE, Goal(), history(truth, X))
    again = estimate(SPACE, Goal(), history(truth, X), {i: [truth[i]] * 2 for i in best})
    assert once.noise > 2.0 * again.noise
    assert again.winner.trial == best[0]
    assert again.winner.mean == pytest.approx(truth[best[0]], abs=0.01)


def test_without_noise_the_winner_is_the_best() -> None:
    for seed in range(5):
        trials, truth = noisy(seed, noise=0.0)
        found = estimate(SPACE, Goal(), trials)
        assert found.noise == 0.0
        assert found.winner.trial == int(np.argmin(truth)) == found.best_observed.trial
        assert (found.winner.mean, found.optimism) == (truth.min(), 0.0)
        assert found.winner.low == found.winner.high == truth.min()


def test_maximizing_mirrors_the_estimates() -> None:
    trials, _ = noisy(3)
    mirrored = [Trial(t.number, t.params, t.state, (-t.values[0],)) for t in trials]
    down = estimate(SPACE, Goal(), trials)
    up = estimate(SPACE, Goal(direction=Direction.MAXIMIZE), mirrored)
    assert [e.trial for e in up.leaders] == [e.trial for e in down.leaders]
    for one, two in zip(up.leaders, down.leaders, strict=True):
        assert (one.mean, one.low, one.high) == (-two.mean, -two.high, -two.low)
    assert up.optimism == pytest.approx(down.optimism)


def test_stated_noise_is_used() -> None:
    trials, _ = noisy(1)
    assert (
        estimate(SPACE, Goal(), trials, noise=0.0).winner.trial
        == min(trials, key=lambda t: t.values).number
    )
    for noise in (0.01, 0.2):
        found = estimate(SPACE, Goal(), trials, noise=noise)
        assert (found.noise, found.source) == (pytest.approx(noise), "given")
    wide, narrow = (estimate(SPACE, Goal(), trials, noise=x).winner for x in (0.2, 0.02))
    assert wide.high - wide.low > narrow.high - narrow.low


def test_repeats_narrow_the_interval_and_move_the_estimate() -> None:
    trials, _ = noisy(2)
    before = estimate(SPACE, Goal(), trials)
    number = before.winner.trial
    after = estimate(SPACE, Goal(), trials, {number: [1.0, 1.02, 0.98, 1.0]})
    assert after.winner.trial != number
    same = estimate(SPACE, Goal(), trials, {number: [before.winner.mean] * 6}).leaders
    again = next(e for e in same if e.trial == number)
    assert again.runs == 7
    assert again.high - again.low < before.winner.high - before.winner.low


def few(*losses: float) -> list[Trial]:
    return history(np.array(losses), np.linspace(0.1, 0.9, 2 * len(losses)).reshape(-1, 2))


def test_few_points_without_repeats_give_no_noise_estimate() -> None:
    found = estimate(SPACE, Goal(), few(3.0, 1.0, 2.0))
    assert (found.noise, found.source, found.winner.trial) == (None, "", 1)
    assert np.isnan([found.winner.low, found.winner.high, found.winner.chance]).all()


def test_few_points_with_repeats_give_a_noise_estimate() -> None:
    found = estimate(SPACE, Goal(), few(3.0, 1.0, 2.0), {1: [1.1, 0.9], 2: [2.1, 1.9]})
    assert (found.source, found.winner.trial) == ("repeats", 1)
    assert found.noise == pytest.approx(0.1, rel=0.3)
    assert found.winner.low < 1.0 < found.winner.high
    exact = estimate(SPACE, Goal(), few(3.0, 1.0, 2.0), {1: [1.0, 1.0]})
    assert (exact.noise, exact.winner.mean) == (0.0, 1.0)


def test_intervals_of_few_points_hold_the_truth() -> None:
    """Points that hardly differ, so that a single estimate of their spread is often zero."""
    rng = np.random.default_rng(5)
    covered = 0
    for study in range(60):
        true = 0.3 * rng.standard_normal(4)
        values = true[:, None] + rng.standard_normal((4, 3))
        trials = few(*values[:, 0].tolist())
        repeats = {i: rest.tolist() for i, rest in enumerate(values[:, 1:])}
        found = estimate(SPACE, Goal(), trials, repeats, seed=study).winner
        covered += found.low <= true[found.trial] <= found.high
    assert covered >= 0.87 * 60  # below the expected 57 by four standard deviations


def test_trials_at_one_point_are_repeats_of_it() -> None:
    trials, _ = noisy(4)
    twin = Trial(40, trials[7].params, State.COMPLETED, (trials[7].values[0] + 0.01,))
    found = estimate(SPACE, Goal(), [*trials, twin], leaders=50)
    assert next(e.runs for e in found.leaders if e.trial == 7) == 2
    assert all(e.trial != 40 for e in found.leaders)


def test_the_best_value_of_a_point_is_that_of_its_best_trial() -> None:
    trials, _ = noisy(4)
    twin = Trial(40, trials[7].params, State.COMPLETED, (-1.0,))
    found = estimate(SPACE, Goal(), [*trials, twin])
    assert found.best_observed.trial == 40
    assert found.best_observed.runs == 2


def test_only_completed_feasible_trials_can_win() -> None:
    trials, _ = noisy(5)
    others = [
        Trial(100, {"x": 0.3, "y": 0.6}, State.FAILED),
        Trial(101, {"x": 0.3, "y": 0.6}, State.STOPPED, (-9.0,)),
        Trial(102, {"x": 0.3, "y": 0.6}, State.COMPLETED, (-9.0,), constraints={"c": 1.0}),
    ]
    assert estimate(SPACE, Goal(), [*trials, *others]) == estimate(SPACE, Goal(), trials)
    with pytest.raises(ValueError, match="no trial"):
        estimate(SPACE, Goal(), others)


def test_a_conditional_space_gives_estimates() -> None:
    space = Space({"m": Choice(a={"u": Float(0, 1)}, b={"v": Float(1e-3, 1, log=True)})})
    rng = np.random.default_rng(0)
    trials = []
    for number in range(40):
        params = space.sample(rng)
        kind, options = params["m"]
        true = (options["u"] - 0.4) ** 2 if kind == "a" else 0.2 + options["v"]
        trials.append(
            Trial(number, params, State.COMPLETED, (true + 0.05 * rng.standard_normal(),))
        )
    found = estimate(space, Goal(), trials)
    by_number = {t.number: t for t in trials}
    assert by_number[found.winner.trial].params["m"][0] == "a"
    assert 0.02 < found.noise < 0.1


odd = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False), st.sampled_from([0.0, 1.0, 1e-300, 1e300])
)


@given(st.lists(odd, min_size=1, max_size=25), st.lists(odd, max_size=4))
@settings(max_examples=40, deadline=None)
def test_extreme_values_give_an_estimate(values: list[float], repeats: list[float]) -> None:
    rng = np.random.default_rng(0)
    trials = history(np.array(values), rng.random((len(values), 2)))
    with np.errstate(all="ignore"):
        found = estimate(SPACE, Goal(), trials, {0: repeats})
    check(found, len(trials))


def check(found: Estimates, n: int) -> None:
    assert 1 <= len(found.leaders) <= min(n, 10)
    assert len({e.trial for e in found.leaders}) == len(found.leaders)
    if found.noise:
        assert found.draws.shape[1] == len(found.leaders)
        assert sum(e.chance for e in found.leaders) == pytest.approx(1.0)
        for each in found.leaders:
            assert each.low <= each.high


@pytest.mark.parametrize("make", [noisy, lambda seed: noisy(seed, n=8)])
def test_the_same_study_gives_the_same_estimates(
    make: Callable[[int], tuple[list, object]],
) -> None:
    trials, _ = make(0)
    assert estimate(SPACE, Goal(), trials, {0: [0.5]}) == estimate(
        SPACE, Goal(), trials, {0: [0.5]}
    )
