"""Losses that the model cannot explain are ignored; searches without them are unchanged."""

from __future__ import annotations

import numpy as np
import pytest

from tuner.optimizers import BayesianOptimizer
from tuner.optimizers.bayesian import outliers
from tuner.optimizers.bayesian.outliers import learn_without_outliers
from tuner.optimizers.bayesian.surrogate import learn
from tuner.optimizers.bayesian.unit_cube import BESIDE, UnitCube
from tuner.optimizers.bayesian.warping import WARPS
from tuner.records import Goal, Outcome, State, Trial
from tuner.search_spaces import Choice, Float, Int, Space

SPACE = Space({"x": Float(0, 1), "y": Float(0, 1)})
CUBE = UnitCube(SPACE)


def bowl(X):
    return np.sum((X - 0.3) ** 2, axis=1)


def points(n=24, near=()):
    """Return `n` random points, the last of them at `near`, and their masks."""
    X, active = SPACE.encode(SPACE.sample(np.random.default_rng(0), n))
    if len(near):
        X[n - len(near) :] = near
    return X, active


def rejected(X, active, losses, noise=None):
    return learn_without_outliers(CUBE, X, active, losses, WARPS, 0.0, noise)[1].rows.tolist()


@pytest.mark.parametrize("error", [-10.0, -1.0, 3.0, 50.0])
def test_a_wrong_loss_is_ignored(error):
    X, active = points()
    losses = bowl(X)
    losses[9] += error
    learned, found = learn_without_outliers(CUBE, X, active, losses, WARPS, 0.0, None)
    losses[9] = np.nan
    assert found.rows.tolist() == [9]
    assert found.too_good.tolist() == [error < 0]
    assert learned.warp == learn(CUBE.embedding, X, active, losses).warp


def test_several_wrong_losses_are_ignored_in_both_directions():
    X, active = points(30)
    losses = bowl(X)
    losses[[4, 11, 17]] += [-3.0, 2.0, -1.0]
    assert sorted(rejected(X, active, losses)) == [4, 11, 17]


def test_rows_are_those_of_all_trials_if_some_failed():
    X, active = points()
    losses = bowl(X)
    losses[[2, 5]] = np.nan
    losses[9] -= 10.0
    assert rejected(X, active, losses) == [9]


def test_an_optimum_with_two_trials_in_it_is_kept():
    optimum = np.array([0.8, 0.8])
    X, active = points(near=[optimum, optimum + 0.01, [0.1, 0.9], [0.9, 0.1]])
    losses = bowl(X) - 3.0 * np.exp(-0.5 * np.sum(((X - optimum) / 0.05) ** 2, axis=1))
    assert rejected(X, active, losses) == []


def test_exact_values_have_no_outliers():
    X, active = points()
    losses = bowl(X)
    losses[9] -= 10.0
    assert rejected(X, active, losses, noise=0.0) == []


SPACES = {
    "numbers": (Space({"x": Float(0, 1), "c": Choice("a", "b"), "n": Int(1, 4)}), ["x"]),
    "grid": (Space({"n": Int(1, 4), "m": Int(1, 4), "c": Choice("a", "b")}), ["n", "m"]),
    "nested": (Space({"k": Choice(a={"x": Float(0, 1)}, b={"y": Int(0, 9)})}), ["k"]),
    "categories": (Space({"c": Choice("a", "b"), "d": Choice("a", "b")}), []),
}


@pytest.mark.parametrize(("space", "moving"), SPACES.values(), ids=SPACES)
def test_points_next_to_a_point_differ_in_few_numbers(space, moving):
    cube = UnitCube(space)
    rng = np.random.default_rng(0)
    for point in space.sample(rng, 20):
        X, active = space.encode([point])
        beside = space.decode(cube.beside(rng, X[0], active[0], 8))
        assert bool(beside) == bool(moving)
        for other in beside:
            changed = [name for name in point if point[name] != other[name]]
            assert changed
            assert set(changed) <= set(moving)
            if "n" in changed:
                assert (len(changed), abs(point["n"] - other["n"])) == (1, 1)


@pytest.mark.parametrize("unusual", [0.0, 1e308, -1e308])
def test_unusual_losses_are_learned_from(unusual):
    X, active = points()
    for some in (slice(3, None), slice(3, 4), slice(None)):
        losses = bowl(X)
        losses[some] = unusual
        with np.errstate(all="raise", under="ignore"):
            rejected(X, active, losses)
        learned, _ = learn_without_outliers(CUBE, X, active, losses, WARPS, 0.0, None)
        assert np.isfinite(learned.hyperparameters.to_log()).all()


PLAIN = {
    "cliff": lambda X: bowl(X) + 3.0 * (X[:, 0] > 0.35),
    "narrow": lambda X: bowl(X) - 2.0 * np.exp(-0.5 * np.sum(((X - 0.7) / 0.1) ** 2, axis=1)),
    "noisy": lambda X: bowl(X) + 0.1 * np.sin(1e6 * X[:, 0]),
}


def search_of(function, n_trials=20, wrong=()):
    """Return the points of a search, some of whose losses are 10 below those of the function."""
    search = BayesianOptimizer()
    search.reset(SPACE, [Goal()], 0)
    found = []
    for number in range(n_trials):
        (params,) = search.ask(1)
        found.append(list(params.values()))
        loss = float(function(np.array(found[-1:]))[0]) - 10.0 * (number in wrong)
        search.tell(Trial(number, params), Outcome(State.COMPLETED, {"value": loss}))
    return np.array(found)


@pytest.mark.parametrize("function", PLAIN.values(), ids=PLAIN)
def test_a_search_without_outliers_is_unchanged(function, monkeypatch):
    found = search_of(function, 16)
    monkeypatch.setattr(outliers, "UNEXPLAINED", np.inf)
    assert found.tolist() == search_of(function, 16).tolist()


def test_a_wrong_loss_costs_one_trial_next_to_it():
    found = search_of(bowl, 16, wrong=(6,))
    distances = np.abs(found - found[6]).max(axis=1)
    assert np.sum(distances[7:] <= BESIDE) == 1
    assert bowl(found).min() < 1e-3


def test_a_search_follows_a_lucky_trial_into_a_narrow_optimum():
    """Without a trial next to the lucky one, this search takes it for an outlier."""
    center = search_of(bowl, 4)[3] + 0.018

    def narrow(X):
        return bowl(X) - 0.5 * np.exp(-0.5 * np.sum(((X - center) / 0.03) ** 2, axis=1))

    found = narrow(search_of(narrow, 20))
    assert found[4:].min() < found[3] - 0.1


def test_one_of_several_workers_makes_the_trial_next_to_a_wrong_loss():
    search = BayesianOptimizer()
    search.reset(SPACE, [Goal()], 0)
    told = SPACE.sample(np.random.default_rng(0), 14)
    for number, params in enumerate(told):
        loss = float(bowl(np.array([list(params.values())]))[0]) - 10.0 * (number == 13)
        search.tell(Trial(number, params), Outcome(State.COMPLETED, {"value": loss}))
    asked = np.array([list(params.values()) for params in search.ask(3)])
    distances = np.abs(asked - list(told[13].values())).max(axis=1)
    assert (distances <= BESIDE).tolist() == [True, False, False]
