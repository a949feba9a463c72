"""Expected hypervolume improvement: against samples, its gradient, and far from any front."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuner.optimizers.bayesian.embedding import Embedding
from tuner.optimizers.bayesian.gaussian_process import GaussianProcess, Hyperparameters
from tuner.optimizers.bayesian.improvement import (
    LogExpectedHypervolumeImprovement,
    free_boxes,
)
from tuner.optimizers.pareto import hypervolume, nondominated

EMBEDDING = Embedding([0, 0], [False, False])


def values_at(X, goals=2):
    columns = [np.sin(4 * X[:, 0]) + X[:, 1], np.cos(3 * X[:, 1]) - X[:, 0], X[:, 0] * X[:, 1]]
    return np.stack(columns[:goals], axis=1)


def improvement(front=None, goals=2):
    X = np.random.default_rng(0).random((12, 2))
    on = np.ones_like(X, dtype=bool)
    values = values_at(X, goals)
    h = Hyperparameters(np.array([0.5, 0.5]), 1.0, 1e-4, 0.1)
    models = [GaussianProcess(EMBEDDING, X, on, column, h) for column in values.T]
    front = values[nondominated(values)] if front is None else np.array(front).reshape(-1, goals)
    return LogExpectedHypervolumeImprovement(models, *free_boxes(front, reference(goals))), front


def reference(goals):
    return np.full(goals, 1.5)


def points(m=6, seed=3):
    X = np.random.default_rng(seed).random((m, 2))
    return X, np.ones_like(X, dtype=bool)


class TestFreeBoxes:
    @given(
        st.integers(1, 4).flatmap(
            lambda g: st.lists(
                st.tuples(*[st.integers(0, 6).map(float)] * g), min_size=0, max_size=8
            ).map(lambda rows: np.array(rows, dtype=float).reshape(-1, g))
        )
    )
    def test_boxes_partition_the_nondominated_region(self, values):
        goals = values.shape[1]
        corner = np.full(goals, 6.5)
        front = values[nondominated(values)] if len(values) else values
        lower, upper = free_boxes(front, corner)
        floor = np.full(goals, -1.0)
        whole = np.prod(corner - floor)
        volume = np.sum(np.prod(np.maximum(upper - np.maximum(lower, floor), 0.0), axis=1))
        dominated = hypervolume(front, corner) if len(front) else 0.0
        assert volume == pytest.approx(whole - dominated)
        probes = np.random.default_rng(0).uniform(-1, 6.5, (200, goals))
        inside = ((lower < probes[:, None]) & (probes[:, None] <= upper)).all(axis=2).sum(axis=1)
        beaten = (front <= probes[:, None]).all(axis=2).any(axis=1)
        np.testing.assert_array_equal(inside, ~beaten)

    def test_three_goals_give_few_boxes(self):
        rng = np.random.default_rng(0)
        front = np.abs(rng.normal(size=(60, 3)))
        front = 2 - front / np.linalg.norm(front, axis=1, keepdims=True)
        lower, _ = free_boxes(front, np.full(3, 2.5))
        assert len(lower) <= 2 * 60 + 1


@pytest.mark.slow
@pytest.mark.parametrize("goals", [2, 3])
@pytest.mark.parametrize("front", [None, []])
def test_the_expected_improvement_matches_the_mean_of_samples(front, goals):
    acquisition, front = improvement(front, goals)
    corner = reference(goals)
    X, on = points(3)
    rng = np.random.default_rng(0)
    before = hypervolume(front, corner) if len(front) else 0.0
    for k, value in enumerate(acquisition(X, on)):
        predictions = [model.predict(X[k : k + 1], on[:1]) for model in acquisition.models]
        draws = np.stack([rng.normal(m[0], np.sqrt(v[0]), 2_000) for m, v in predictions], axis=1)
        gains = [hypervolume(np.vstack([front, draw]), corner) - before for draw in draws]
        error = 4 * np.std(gains) / np.sqrt(len(gains)) + 1e-4
        assert np.exp(value) == pytest.approx(np.mean(gains), abs=error)


@pytest.mark.parametrize("front", [None, [], [[0.2, 0.1]], [[-9.0, 1.0], [1.0, -9.0]]])
def test_gradient_against_finite_differences(front):
    acquisition, _ = improvement(front)
    X, on = points()
    values, gradients = acquisition.with_gradient(X, on)
    np.testing.assert_allclose(values, acquisition(X, on), rtol=1e-10)
    for j in range(2):
        step = 1e-6 * (np.arange(2) == j)
        expected = (acquisition(X + step, on) - acquisition(X - step, on)) / 2e-6
        np.testing.assert_allclose(gradients[:, j], expected, rtol=1e-3, atol=1e-3)


def test_log_improvement_is_finite_without_possible_gain():
    acquisition, _ = improvement([[-60.0, 1.0], [-50.0, -50.0], [1.0, -60.0]])
    X, on = points(50)
    values, gradients = acquisition.with_gradient(X, on)
    assert np.isfinite(values).all()
    assert np.isfinite(gradients).all()
    assert (values < -100).all()
