"""Expected hypervolume improvement: against samples, its gradient, and far from any front."""

from __future__ import annotations

import numpy as np
import pytest

from tuner.optimizers.embedding import Embedding
from tuner.optimizers.gaussian_process import GaussianProcess, Hyperparameters
from tuner.optimizers.hypervolume_improvement import LogExpectedHypervolumeImprovement
from tuner.optimizers.pareto import hypervolume, nondominated

EMBEDDING = Embedding([0, 0], [False, False])
REFERENCE = np.array([1.5, 1.5])


def improvement(front=None, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.random((12, 2))
    on = np.ones_like(X, dtype=bool)
    values = np.stack([np.sin(4 * X[:, 0]) + X[:, 1], np.cos(3 * X[:, 1]) - X[:, 0]], axis=1)
    h = Hyperparameters(np.array([0.5, 0.5]), 1.0, 1e-4)
    models = tuple(GaussianProcess(EMBEDDING, X, on, column, h) for column in values.T)
    if front is None:
        front = values[nondominated(values)]
        front = front[np.argsort(front[:, 0])]
    return LogExpectedHypervolumeImprovement(models, np.asarray(front).reshape(-1, 2), REFERENCE)


def points(m=6, seed=3):
    X = np.random.default_rng(seed).random((m, 2))
    return X, np.ones_like(X, dtype=bool)


@pytest.mark.parametrize("front", [None, [], [[0.2, 0.1]]])
def test_against_the_mean_of_samples(front):
    acquisition = improvement(front)
    X, on = points(3)
    rng = np.random.default_rng(0)
    before = hypervolume(acquisition.front, REFERENCE) if len(acquisition.front) else 0.0
    for k, value in enumerate(acquisition(X, on)):
        predictions = [model.predict(X[k : k + 1], on[:1]) for model in acquisition.models]
        draws = np.stack([rng.normal(m[0], np.sqrt(v[0]), 20_000) for m, v in predictions], axis=1)
        gains = [
            hypervolume(np.vstack([acquisition.front, draw]), REFERENCE) - before for draw in draws
        ]
        error = 4 * np.std(gains) / np.sqrt(len(gains)) + 1e-4
        assert np.exp(value) == pytest.approx(np.mean(gains), abs=error)


@pytest.mark.parametrize("front", [None, [], [[0.2, 0.1]], [[-9.0, 1.0], [1.0, -9.0]]])
def test_gradient_against_finite_differences(front):
    acquisition = improvement(front)
    X, on = points()
    values, gradients = acquisition.with_gradient(X, on)
    np.testing.assert_allclose(values, acquisition(X, on), rtol=1e-10)
    for j in range(2):
        step = 1e-6 * (np.arange(2) == j)
        expected = (acquisition(X + step, on) - acquisition(X - step, on)) / 2e-6
        np.testing.assert_allclose(gradients[:, j], expected, rtol=1e-3, atol=1e-3)


def test_it_is_finite_where_nothing_can_be_gained():
    acquisition = improvement([[-60.0, 1.0], [-50.0, -50.0], [1.0, -60.0]])
    X, on = points(50)
    values, gradients = acquisition.with_gradient(X, on)
    assert np.isfinite(values).all()
    assert np.isfinite(gradients).all()
    assert (values < -100).all()
