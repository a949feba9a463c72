"""The choice of the warp, and the models fitted to a history."""

from __future__ import annotations

import numpy as np
import pytest

from tuner.optimizers.bayesian.embedding import Embedding
from tuner.optimizers.bayesian.surrogate import (
    LEARN_FROM,
    learn,
    learning_size,
    loss_model,
)
from tuner.optimizers.bayesian.warping import IDENTITY, WARPS

EMBEDDING = Embedding([0, 0], [False, False])


def history(n, function, seed=0):
    X = np.random.default_rng(seed).random((n, 2))
    return X, np.ones_like(X, dtype=bool), np.array([function(x) for x in X])


def valley(x):
    return 1e3 * np.sum((x - 0.3) ** 2) ** 2


def waves(x):
    return np.sin(5 * x[0]) + np.cos(5 * x[1])


@pytest.mark.slow
def test_losses_over_orders_of_magnitude_are_warped():
    assert learn(EMBEDDING, *history(40, valley)).warp != IDENTITY


@pytest.mark.slow
def test_losses_from_a_gaussian_process_are_not_warped():
    assert learn(EMBEDDING, *history(40, waves)).warp == IDENTITY


@pytest.mark.slow
def test_higher_doubt_requires_more_evidence_for_a_warp():
    data = history(40, valley)
    assert learn(EMBEDDING, *data, WARPS, 5.0).warp != IDENTITY
    assert learn(EMBEDDING, *data, WARPS, 1e3).warp == IDENTITY


@pytest.mark.slow
def test_the_model_is_invariant_to_shift_and_scale_of_losses():
    X, active, losses = history(30, waves)
    one, other = learn(EMBEDDING, X, active, losses), learn(EMBEDDING, X, active, losses * 64 + 128)
    assert one.warp == other.warp
    np.testing.assert_allclose(
        one.hyperparameters.to_log(), other.hyperparameters.to_log(), atol=0.05
    )


@pytest.mark.parametrize(
    "losses",
    [
        np.full(12, 3.0),
        np.r_[np.full(11, 3.0), np.nan],
        np.r_[1.0, 2.0, 3.0, np.full(9, 1e300)],
        np.r_[-1e308, 1e308, np.arange(10.0)],
        np.array([4.0]),
        np.array([4.0, np.inf]),
    ],
)
@pytest.mark.slow
def test_extreme_losses_give_a_model(losses):
    X, active, _ = history(len(losses), waves)
    learned = learn(EMBEDDING, X, active, losses)
    mean, variance = loss_model(learned, EMBEDDING, X, active, losses).predict(X, active)
    assert np.isfinite(mean).all()
    assert (variance > 0).all()


@pytest.mark.slow
def test_the_model_ranks_unseen_points():
    X, active, losses = history(60, valley)
    learned = learn(EMBEDDING, X, active, losses)
    model = loss_model(learned, EMBEDDING, X, active, losses)
    new, on, truth = history(40, valley, seed=1)
    mean, _ = model.predict(new, on)
    ranks = [np.argsort(np.argsort(v)) for v in (mean, truth)]
    assert np.corrcoef(*ranks)[0, 1] > 0.95


@pytest.mark.slow
def test_learning_from_a_long_history_takes_bounded_time():
    learned = learn(EMBEDDING, *history(3 * LEARN_FROM, valley))
    assert np.isfinite(learned.hyperparameters.to_log()).all()


def test_hyperparameters_are_relearned_less_often_over_time():
    sizes = [learning_size(n) for n in range(1, 1000)]
    assert sizes[:20] == list(range(1, 21))
    assert all(0.89 * n < size <= n for n, size in enumerate(sizes, start=1))
    assert len(set(sizes)) < 120


def test_a_failed_trial_has_no_improvement_and_does_not_bias_the_model():
    X, active, losses = history(40, valley)
    best = int(np.argmin(losses))
    losses[best] = np.nan
    learned = learn(EMBEDDING, X, active, losses)
    model = loss_model(learned, EMBEDDING, X, active, losses)
    mean, _ = model.predict(X, active)
    others = np.arange(40) != best
    assert mean[best] >= mean[others].min() - 1e-2
    assert mean[best] <= np.quantile(mean[others], 0.2)


def test_a_plateau_at_the_best_loss_selects_no_warp():
    rng = np.random.default_rng(0)
    X = rng.random((16, 2))
    losses = np.where(X[:, 0] < 0.6, 0.3, 0.3 + 2.0 * X[:, 1])
    assert learn(EMBEDDING, X, np.ones_like(X, dtype=bool), losses).warp == IDENTITY


def test_few_losses_beside_a_plateau_select_no_warp():
    """Three losses off the plateau with nearly equal logarithms are not evidence for a warp."""
    X = np.vstack([np.random.default_rng(0).random((21, 2)), [[0.5, 0.5], [0.7, 0.5], [0.9, 0.5]]])
    losses = np.array([0.3] * 21 + [1.5, 2.1, 2.9])
    assert learn(EMBEDDING, X, np.ones_like(X, dtype=bool), losses).warp == IDENTITY
