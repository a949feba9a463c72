"""Log expected improvement against its definition, and the search for its maximum."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuner.optimizers.bayesian.acquisition import Columns, Product, maximise, neighbours
from tuner.optimizers.bayesian.embedding import Embedding
from tuner.optimizers.bayesian.feasibility import ProbabilityOfFeasibility
from tuner.optimizers.bayesian.gaussian_process import GaussianProcess, Hyperparameters
from tuner.optimizers.bayesian.improvement import LogExpectedImprovement, log_h


def one(function, z):
    return float(function(np.array([z]))[0])


class TestLogH:
    @pytest.mark.parametrize("z", [-8.0, -3.0, -1.0, -0.5, 0.0, 1.0, 5.0, 30.0])
    def test_the_expected_improvement_matches_quadrature(self, z):
        # h(z) = E max(z + t, 0) for a standard normal t
        t = np.linspace(-z, max(-z, 0.0) + 40.0, 2_000_001)
        integrand = (z + t) * np.exp(-0.5 * t * t) / math.sqrt(2 * math.pi)
        assert one(log_h, z) == pytest.approx(math.log(np.trapezoid(integrand, t)), abs=1e-6)

    def test_log_improvement_is_monotonic_from_minus_1000_to_10(self):
        z = np.linspace(-1e3, 10, 1_000_001)
        values = log_h(z)
        slopes = np.diff(values) / np.diff(z)
        assert np.isfinite(values).all()
        assert (slopes > 0).all()
        # concave: the slope falls, up to rounding of differences
        assert (np.diff(slopes) < 1e-4).all()

    @pytest.mark.parametrize("edge", [-1.0, -1e5])
    def test_the_three_formulas_agree_at_their_limits(self, edge):
        below, above = one(log_h, edge * (1 + 1e-12)), one(log_h, edge * (1 - 1e-12))
        assert above == pytest.approx(below, rel=1e-9)

    @given(st.floats(-1e300, 1e300))
    def test_log_improvement_is_finite_everywhere(self, z):
        assert math.isfinite(one(log_h, z))

    @given(st.floats(-1e6, 1e3), st.floats(-1e6, 1e3))
    def test_log_improvement_never_decreases(self, a, b):
        low, high = sorted((a, b))
        assert one(log_h, low) <= one(log_h, high) + 1e-9


EMBEDDING = Embedding(options=[0, 3, 0], conditional=[False, False, True])
COLUMNS = Columns((None, np.array([1, 3, 5]) / 6, None), np.array([False, True, False]))


def snap(rows):
    """Two continuous columns, the second only under option 1 of the categorical between them."""
    X = rows.copy()
    X[:, 1] = (np.minimum(np.floor(3 * X[:, 1]), 2) + 0.5) / 3
    active = np.ones_like(X, dtype=bool)
    active[:, 2] = X[:, 1] == 0.5
    X[~active] = 0.5
    return X, active, np.ones(len(X), dtype=bool)


def loss(X, active):
    return (X[:, 0] - 0.3) ** 2 + np.where(active[:, 2], (X[:, 2] - 0.8) ** 2 - 0.2, 0.1)


def model(n=25, seed=0):
    X, active, _ = snap(np.random.default_rng(seed).random((n, 3)))
    y = loss(X, active)
    h = Hyperparameters(np.array([0.6, 1.5, 0.6]), 1.0, 1e-5, 0.1)
    return GaussianProcess(EMBEDDING, X, active, (y - y.mean()) / y.std(), h)


def starts(m=60, seed=1):
    return np.random.default_rng(seed).random((m, 3))


def success(n=25):
    """A model by which trials fail where the first column is above 0.6."""
    X, active, _ = snap(np.random.default_rng(2).random((n, 3)))
    y = np.where(X[:, 0] < 0.6, 0.8, -1.2)
    h = Hyperparameters(np.array([0.3, 5.0, 5.0]), 1.0, 1e-2, 0.1)
    return ProbabilityOfFeasibility(GaussianProcess(EMBEDDING, X, active, y, h), threshold=-0.2)


class TestLogExpectedImprovement:
    def test_against_the_mean_of_samples(self):
        gp = model()
        X, active, _ = snap(starts(1))
        mean, variance = gp.predict(X, active)
        draws = np.random.default_rng(0).normal(mean[0], np.sqrt(variance[0]), 1_000_000)
        incumbent = mean[0] - 0.5 * np.sqrt(variance[0])
        expected = np.log(np.mean(np.maximum(incumbent - draws, 0.0)))
        found = LogExpectedImprovement(gp, incumbent)(X, active)
        assert found[0] == pytest.approx(expected, abs=0.02)

    def test_a_better_incumbent_leaves_less_to_improve(self):
        X, active, _ = snap(starts())
        values = [LogExpectedImprovement(model(), f)(X, active) for f in (-3.0, -2.0, -1.0)]
        assert (np.diff(values, axis=0) > 0).all()

    @pytest.mark.parametrize("incumbent", [-30.0, -1.5, 3.0])
    @pytest.mark.parametrize("probable", [None, success()])
    def test_gradient_against_finite_differences(self, incumbent, probable):
        acquisition = LogExpectedImprovement(model(), incumbent)
        if probable is not None:
            acquisition = Product([acquisition, probable])
        X, active, _ = snap(starts(8))
        values, gradients = acquisition.with_gradient(X, active)
        np.testing.assert_allclose(values, acquisition(X, active), rtol=1e-8)
        for j in np.flatnonzero(~COLUMNS.categorical):
            step = 1e-6 * (np.arange(3) == j)
            high, low = acquisition(X + step, active), acquisition(X - step, active)
            expected = np.where(active[:, j], (high - low) / 2e-6, 0.0)
            np.testing.assert_allclose(gradients[:, j], expected, rtol=1e-3, atol=1e-3)

    def test_a_probable_failure_lowers_the_acquisition(self):
        X, active, _ = snap(np.array([[0.9, 0.5, 0.8], [0.1, 0.5, 0.8]]))
        plain = LogExpectedImprovement(model(), -1.0)(X, active)
        careful = Product([LogExpectedImprovement(model(), -1.0), success()])(X, active)
        assert careful[0] < plain[0] - 3.0
        assert careful[1] == pytest.approx(plain[1], abs=0.3)


class TestMaximise:
    def test_candidates_come_in_falling_order_and_are_points_of_the_space(self):
        found = maximise(LogExpectedImprovement(model(), -1.0), COLUMNS, snap, starts())
        assert (np.diff(found.scores) <= 0).all()
        X, active, _ = snap(found.X)
        np.testing.assert_array_equal(X, found.X)
        np.testing.assert_array_equal(active, found.active)

    def test_ascent_improves_on_the_starts(self):
        acquisition = LogExpectedImprovement(model(), -1.0)
        scored = acquisition(*snap(starts())[:2])
        assert maximise(acquisition, COLUMNS, snap, starts()).scores[0] > scored.max()

    def test_maximization_reaches_the_maximum_of_a_fine_grid(self):
        acquisition = LogExpectedImprovement(model(), -1.0)
        axis = np.linspace(0, 1, 101)
        grid = np.stack(np.meshgrid(axis, [1 / 6, 0.5, 5 / 6], axis), -1).reshape(-1, 3)
        fine = acquisition(*snap(grid)[:2]).max()
        found = maximise(acquisition, COLUMNS, snap, starts(200))
        assert found.scores[0] >= fine - 1e-3

    def test_maximization_leaves_a_wrong_branch(self):
        wrong = starts()
        wrong[:, 1] = 0.9
        found = maximise(LogExpectedImprovement(model(40), -1.4), COLUMNS, snap, wrong)
        assert found.X[0, 1] == 0.5

    def test_infeasible_points_are_not_candidates(self):
        def constrained(rows):
            X, active, feasible = snap(rows)
            return X, active, feasible & (X[:, 0] > 0.6)

        found = maximise(LogExpectedImprovement(model(), -1.0), COLUMNS, constrained, starts())
        assert (found.X[:, 0] > 0.6).all()

    def test_candidates_are_repeatable_bit_for_bit(self):
        one_way = maximise(LogExpectedImprovement(model(), -1.0), COLUMNS, snap, starts())
        same_way = maximise(LogExpectedImprovement(model(), -1.0), COLUMNS, snap, starts())
        assert one_way.X.tobytes() == same_way.X.tobytes()

    def test_without_any_feasible_start_there_is_no_candidate(self):
        def nothing(rows):
            X, active, feasible = snap(rows)
            return X, active, feasible & False

        assert not len(
            maximise(LogExpectedImprovement(model(), -1.0), COLUMNS, nothing, starts()).X
        )


class TestNeighbours:
    def test_a_categorical_moves_to_every_other_option(self):
        moved = neighbours(np.array([0.3, 0.5, 0.7]), COLUMNS)
        assert sorted(moved[:, 1]) == pytest.approx([1 / 6, 5 / 6])
        assert (moved[:, [0, 2]] == [0.3, 0.7]).all()

    def test_an_ordered_column_moves_to_the_next_values(self):
        columns = Columns((np.array([0.0, 0.4, 0.7, 0.9, 1.0]),), np.array([False]))
        assert neighbours(np.array([0.7]), columns)[:, 0].tolist() == [0.0, 0.4, 0.9, 1.0]
        assert neighbours(np.array([0.0]), columns)[:, 0].tolist() == [0.4, 0.7]

    def test_a_continuous_space_has_no_neighbor_moves(self):
        columns = Columns((None,), np.array([False]))
        assert neighbours(np.array([0.5]), columns).shape == (0, 1)


def test_ordered_columns_with_many_values_are_smooth():
    columns = Columns(
        (None, np.linspace(0, 1, 5), np.linspace(0, 1, 50), np.linspace(0, 1, 50)),
        np.array([False, False, False, True]),
    )
    assert columns.smooth.tolist() == [True, False, True, False]
