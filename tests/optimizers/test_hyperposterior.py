"""Draws of hyperparameters lie around the most probable ones, as far as the data leave open."""

from __future__ import annotations

import numpy as np

from tuner.optimizers.embedding import Embedding
from tuner.optimizers.gaussian_process import fit, search_bounds
from tuner.optimizers.hyperposterior import draw, spread

EMBEDDING = Embedding([0, 3, 0], [False, False, True])


def history(n):
    """Points and targets in which the first column matters and the last does not."""
    rng = np.random.default_rng(0)
    X = rng.random((n, 3))
    active = np.ones_like(X, dtype=bool)
    active[:, 2] = X[:, 1] < 1 / 3
    y = np.sin(6.0 * X[:, 0]) + (X[:, 1] > 2 / 3)
    return X, active, (y - y.mean()) / y.std()


def draws(n_trials, n=200, seed=0):
    data = history(n_trials)
    best, _ = fit(EMBEDDING, *data)
    root, rng = spread(EMBEDDING, *data, best), np.random.default_rng(seed)
    return best.to_log(), np.array([draw(best, root, rng).to_log() for _ in range(n)])


def test_they_lie_around_the_most_probable_ones_within_the_bounds():
    best, found = draws(30)
    lower, upper = np.transpose(search_bounds(3))
    assert (found >= lower - 1e-9).all()
    assert (found <= upper + 1e-9).all()
    np.testing.assert_allclose(found.mean(axis=0), best, atol=0.5)  # one ends at its bound
    assert (found.std(axis=0) < 1.2).all()
    assert (found.std(axis=0) > 0.0).all()


def test_what_the_trials_settle_varies_less_than_what_they_leave_open():
    _, found = draws(60)
    deviations = found.std(axis=0)
    assert deviations[0] < 0.5 * deviations[2]


def test_more_trials_leave_less_open():
    assert draws(80)[1].std(axis=0)[0] < draws(10)[1].std(axis=0)[0]


def test_they_depend_on_the_generator_alone():
    np.testing.assert_array_equal(draws(20, 2)[1], draws(20, 2)[1])
    assert (draws(20, 2)[1] != draws(20, 2, seed=1)[1]).any()
