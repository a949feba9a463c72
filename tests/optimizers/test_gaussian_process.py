"""The Gaussian process against finite differences, brute force and hostile data."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import LinAlgError
from scipy.optimize import approx_fprime

from tuner.optimizers.bayesian.embedding import Embedding
from tuner.optimizers.bayesian.gaussian_process import (
    LOG_BOUNDS,
    MEAN_VARIANCE,
    GaussianProcess,
    Hyperparameters,
    fit,
    log_marginal_likelihood,
    log_prior,
    matern,
    stable_cholesky,
)

# numeric, categorical with 3 options, numeric only under option 0, categorical only under option 1
EMBEDDING = Embedding(options=[0, 3, 0, 2], conditional=[False, False, True, True])


def points(n, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.random((n, 4))
    X[:, 1] = (np.floor(3 * X[:, 1]) + 0.5) / 3
    X[:, 3] = (np.floor(2 * X[:, 3]) + 0.5) / 2
    active = np.ones((n, 4), dtype=bool)
    active[:, 2] = X[:, 1] < 0.3
    active[:, 3] = np.abs(X[:, 1] - 0.5) < 0.1
    X[~active] = 0.5
    return X, active


def targets(X, active):
    y = np.sin(6 * X[:, 0]) + active[:, 2] * X[:, 2] ** 2 - active[:, 3] * X[:, 3]
    return (y - y.mean()) / y.std()


def some_hyperparameters(seed=0, noise=1e-3):
    rng = np.random.default_rng(seed)
    return Hyperparameters(np.exp(rng.normal(0.0, 0.5, 4)), 1.7, noise, 0.6)


def inner_products(X, active):
    effects = EMBEDDING.effects(X, active, EMBEDDING(X, active))
    return effects @ effects.T


def posterior(n=20, noise=1e-3):
    X, active = points(n)
    return GaussianProcess(EMBEDDING, X, active, targets(X, active), some_hyperparameters(0, noise))


class TestEmbedding:
    def distances(self, X, active):
        Z = EMBEDDING(np.array(X), np.array(active))
        return EMBEDDING.squared_distances(Z, Z)[:, 0, 1]

    def test_distances_between_active_points(self):
        X = [[0.1, 1 / 6, 0.2, 0.5], [0.4, 1 / 6, 0.9, 0.5]]
        active = [[True, True, True, False]] * 2
        expected = [0.09, 0.0, 2 - 2 * np.cos(0.7), 0.0]
        np.testing.assert_allclose(self.distances(X, active), expected, atol=1e-12)

    @pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
    def test_an_active_and_an_inactive_value_have_distance_one(self, value):
        X = [[0.1, 1 / 6, value, 0.5], [0.1, 0.5, 0.5, 0.25]]
        active = [[True, True, True, False], [True, True, False, True]]
        np.testing.assert_allclose(self.distances(X, active), [0, 1, 1, 1], atol=1e-12)

    def test_two_inactive_values_have_distance_zero(self):
        X = [[0.1, 5 / 6, 0.2, 0.25], [0.1, 5 / 6, 0.9, 0.75]]
        active = [[True, True, False, False]] * 2
        np.testing.assert_allclose(self.distances(X, active), 0.0, atol=1e-12)

    def test_the_distances_of_the_columns_add_up_to_that_of_the_coordinates(self):
        Z = EMBEDDING(*points(15))
        direct = np.sum((Z[:, None, :] - Z[None, :, :]) ** 2, axis=2)
        np.testing.assert_allclose(EMBEDDING.squared_distances(Z, Z).sum(0), direct, atol=1e-12)

    def test_distance_derivatives_match_finite_differences(self):
        X, active = points(12)
        for j in (0, 2):
            step = np.zeros(4)
            step[j] = 1e-6
            difference = EMBEDDING(X + step, active) - EMBEDDING(X - step, active)
            numeric = np.where(EMBEDDING.column == j, difference / 2e-6, 0.0)
            analytic = np.where(EMBEDDING.column == j, EMBEDDING.derivative(X, active)[0], 0.0)
            np.testing.assert_allclose(analytic, numeric, atol=1e-8)

    def test_the_upper_end_of_a_categorical_column_is_its_last_option(self):
        embedding = Embedding([4], [False])
        Z = embedding(np.array([[1.0], [0.875]]), np.ones((2, 1), dtype=bool))
        np.testing.assert_array_equal(Z[0], Z[1])

    def test_arguments_of_different_length_are_refused(self):
        with pytest.raises(ValueError, match="2 entries in options, 1 in conditional"):
            Embedding([0, 0], [False])

    def test_effects_are_of_one_column_each(self):
        X, active = points(12)
        effects = EMBEDDING.effects(X, active, EMBEDDING(X, active))
        for j in (0, 2):
            moved = X.copy()
            moved[:, j] = 0.77
            changed = effects != EMBEDDING.effects(moved, active, EMBEDDING(moved, active))
            of_j = np.append(EMBEDDING.column, [0, 2, 0, 2]) == j
            assert not changed[:, ~of_j].any()
            assert changed[active[:, j]][:, of_j].any()

    def test_effects_of_inactive_columns_are_the_same_whatever_the_value(self):
        X, active = points(12)
        other = np.where(active, X, 0.123)
        one = EMBEDDING.effects(X, active, EMBEDDING(X, active))
        np.testing.assert_array_equal(
            one, EMBEDDING.effects(other, active, EMBEDDING(other, active))
        )


class TestKernel:
    def test_matern_against_its_formula_and_finite_differences(self):
        squared = np.array([1e-6, 0.3, 2.0, 50.0])
        value, slope = matern(squared)
        r = np.sqrt(squared)
        expected = (1 + np.sqrt(5) * r + 5 / 3 * squared) * np.exp(-np.sqrt(5) * r)
        np.testing.assert_allclose(value, expected)
        numeric = (matern(squared + 1e-7)[0] - matern(squared - 1e-7)[0]) / 2e-7
        np.testing.assert_allclose(slope, numeric, rtol=1e-4, atol=1e-10)

    @given(st.integers(0, 10_000), st.floats(-3.0, 5.0))
    @settings(max_examples=40, deadline=None)
    def test_the_kernel_matrix_is_positive_semidefinite(self, seed, log_length):
        Z = EMBEDDING(*points(25, seed)) * np.exp(-log_length)
        squared = np.sum((Z[:, None, :] - Z[None, :, :]) ** 2, axis=2)
        assert np.linalg.eigvalsh(matern(squared)[0])[0] > -1e-8

    def test_a_singular_matrix_gets_just_enough_jitter(self):
        K = np.ones((30, 30))
        L = stable_cholesky(K)
        np.testing.assert_allclose(L @ L.T, K, atol=1e-3)

    def test_a_positive_definite_matrix_gets_none(self):
        K = np.array([[2.0, 1.0], [1.0, 2.0]])
        L = stable_cholesky(K)
        np.testing.assert_allclose(L @ L.T, K, rtol=1e-15)

    def test_an_indefinite_matrix_is_refused(self):
        with pytest.raises(LinAlgError, match="not positive definite"):
            stable_cholesky(np.array([[1.0, 2.0], [2.0, 1.0]]))


class TestLikelihood:
    @pytest.mark.parametrize("seed", range(4))
    @pytest.mark.slow
    def test_gradient_against_finite_differences(self, seed):
        X, active = points(25, seed)
        Z = EMBEDDING(X, active)
        distances, y = EMBEDDING.squared_distances(Z, Z), targets(X, active)
        shared = inner_products(X, active)
        theta = some_hyperparameters(seed).to_log()

        def value(t):
            return log_marginal_likelihood(distances, shared, y, Hyperparameters.from_log(t))[0]

        _, gradient = log_marginal_likelihood(distances, shared, y, Hyperparameters.from_log(theta))
        numeric = [(value(theta + e) - value(theta - e)) / 2e-5 for e in 1e-5 * np.eye(7)]
        np.testing.assert_allclose(gradient, numeric, rtol=1e-4, atol=1e-5)

    def test_value_against_the_density_of_a_multivariate_normal(self):
        X, active = points(12)
        Z = EMBEDDING(X, active)
        distances, y, h = (
            EMBEDDING.squared_distances(Z, Z),
            targets(X, active),
            some_hyperparameters(),
        )
        squared = np.tensordot(h.lengthscales**-2, distances, 1)
        shared = inner_products(X, active)
        K = MEAN_VARIANCE + h.signal * matern(squared)[0] + h.noise * np.eye(12)
        K += h.effects * shared
        _, log_determinant = np.linalg.slogdet(2 * np.pi * K)
        expected = -0.5 * (y @ np.linalg.solve(K, y) + log_determinant)
        assert log_marginal_likelihood(distances, shared, y, h)[0] == pytest.approx(expected)

    def test_gradient_of_the_prior_against_finite_differences(self):
        theta = some_hyperparameters().to_log()
        numeric = approx_fprime(theta, lambda t: log_prior(t)[0], 1e-7)
        np.testing.assert_allclose(log_prior(theta)[1], numeric, atol=1e-5)

    def test_the_lengthscale_prior_widens_with_the_dimension(self):
        def most_probable(d):
            lengths = np.linspace(-2, 4, 2001)
            densities = [log_prior(np.array([x] * d + [0.0, -8.0, 0.0]))[0] for x in lengths]
            return np.exp(lengths[np.argmax(densities)])

        assert most_probable(16) / most_probable(4) == pytest.approx(2.0, rel=0.01)


class TestFit:
    @pytest.mark.slow
    def test_lengthscales_identify_the_relevant_columns(self):
        rng = np.random.default_rng(0)
        X = rng.random((60, 3))
        y = np.sin(8 * X[:, 1])
        embedding = Embedding([0, 0, 0], [False] * 3)
        found, _ = fit(embedding, X, np.ones_like(X, dtype=bool), (y - y.mean()) / y.std())
        assert found.lengthscales[1] < 1.0
        assert min(found.lengthscales[0], found.lengthscales[2]) > 5 * found.lengthscales[1]

    @pytest.mark.slow
    def test_the_noise_level_is_learned(self):
        rng = np.random.default_rng(1)
        X = rng.random((80, 1))
        y = np.sin(5 * X[:, 0]) + 0.3 * rng.standard_normal(80)
        found, _ = fit(Embedding([0], [False]), X, np.ones_like(X, dtype=bool), y)
        assert found.noise == pytest.approx(0.09, rel=0.4)

    def test_the_order_of_the_data_does_not_matter(self):
        X, active = points(30)
        y = targets(X, active)
        order = np.random.default_rng(3).permutation(30)
        one, value = fit(EMBEDDING, X, active, y)
        other, other_value = fit(EMBEDDING, X[order], active[order], y[order])
        assert other_value == pytest.approx(value, abs=1e-2)
        np.testing.assert_allclose(one.to_log()[:2], other.to_log()[:2], atol=0.1)

    @pytest.mark.slow
    def test_it_learns_the_effect_of_each_category_from_few_of_their_combinations(self):
        options = np.random.default_rng(0).integers(5, size=(60, 6))
        effect = np.random.default_rng(1).normal(size=(6, 5))
        y = effect[np.arange(6), options].sum(axis=1)
        y = (y - y.mean()) / y.std()
        X = (options + 0.5) / 5
        embedding, on = Embedding([5] * 6, [False] * 6), np.ones(X.shape, dtype=bool)
        found, _ = fit(embedding, X[:40], on[:40], y[:40])
        mean, _ = GaussianProcess(embedding, X[:40], on[:40], y[:40], found).predict(
            X[40:], on[40:]
        )
        assert np.mean((mean - y[40:]) ** 2) < 1e-6

    @pytest.mark.slow
    def test_fits_are_repeatable_bit_for_bit(self):
        X, active = points(30)
        one, _ = fit(EMBEDDING, X, active, targets(X, active))
        other, _ = fit(EMBEDDING, X, active, targets(X, active))
        assert one.to_log().tobytes() == other.to_log().tobytes()

    @pytest.mark.parametrize("n", [1, 2, 30])
    def test_equal_targets_and_equal_points_give_finite_hyperparameters(self, n):
        X, active = points(1)
        X, active = np.repeat(X, n, 0), np.repeat(active, n, 0)
        found, value = fit(EMBEDDING, X, active, np.zeros(n))
        assert np.isfinite(value)
        assert np.isfinite(found.to_log()).all()
        low, high = LOG_BOUNDS["lengthscale"]
        assert (np.log(found.lengthscales) >= low - 1e-9).all()
        assert (np.log(found.lengthscales) <= high + 1e-9).all()

    def test_a_start_outside_the_bounds_is_moved_inside(self):
        X, active = points(10)
        start = Hyperparameters(np.full(4, 1e9), 1e9, 1e-30, 1e9)
        _, value = fit(EMBEDDING, X, active, targets(X, active), [start])
        assert np.isfinite(value)


class TestPosterior:
    def test_noiseless_data_are_interpolated(self):
        model = posterior(noise=1e-9)
        mean, variance = model.predict(model.X, model.active)
        np.testing.assert_allclose(mean, model.y, atol=1e-5)
        assert variance.max() < 1e-6

    def test_predictions_far_from_data_equal_the_prior(self):
        embedding = Embedding([0], [False])
        h = Hyperparameters(np.array([0.01]), 2.0, 1e-6, 1e-12)
        on = np.ones((1, 1), dtype=bool)
        model = GaussianProcess(embedding, np.array([[0.0]]), on, np.array([1.0]), h)
        mean, variance = model.predict(np.array([[1.0]]), on)
        # one observation, with prior variance 1 of the mean and 2 of the signal
        assert mean[0] == pytest.approx(1 / 3, rel=1e-5)
        assert variance[0] == pytest.approx(3 - 1 / 3, rel=1e-5)

    def test_gradient_against_finite_differences(self):
        model = posterior()
        X, active = points(8, seed=5)
        mean, variance, mean_gradient, variance_gradient = model.predict_with_gradient(X, active)
        np.testing.assert_allclose([mean, variance], model.predict(X, active), rtol=1e-8)
        for j in np.flatnonzero(EMBEDDING.options == 0):
            step = 1e-5 * (np.arange(X.shape[1]) == j)
            high, low = model.predict(X + step, active), model.predict(X - step, active)
            for gradient, above, below in zip(
                (mean_gradient, variance_gradient), high, low, strict=True
            ):
                expected = np.where(active[:, j], (above - below) / 2e-5, 0.0)
                np.testing.assert_allclose(gradient[:, j], expected, rtol=1e-4, atol=1e-6)
        still = ~active | (EMBEDDING.options > 0)
        assert (mean_gradient[still] == 0).all()
        assert (variance_gradient[still] == 0).all()

    def test_leave_one_out_formulas_match_refits(self):
        model = posterior(15)
        mean, variance = model.leave_one_out()
        for i in range(15):
            rest = np.arange(15) != i
            without = GaussianProcess(
                EMBEDDING, model.X[rest], model.active[rest], model.y[rest], model.hyperparameters
            )
            m, v = without.predict(model.X[i : i + 1], model.active[i : i + 1])
            assert mean[i] == pytest.approx(m[0], abs=1e-9)
            assert variance[i] == pytest.approx(v[0] + model.hyperparameters.noise, rel=1e-8)

    def test_the_order_of_the_data_does_not_matter(self):
        model = posterior()
        order = np.random.default_rng(1).permutation(20)
        shuffled = GaussianProcess(
            EMBEDDING, model.X[order], model.active[order], model.y[order], model.hyperparameters
        )
        X, active = points(10, seed=9)
        for a, b in zip(model.predict(X, active), shuffled.predict(X, active), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-9)

    def test_an_inactive_value_does_not_change_predictions(self):
        model = posterior()
        X, active = points(10, seed=9)
        moved = np.where(active, X, 0.123)
        for a, b in zip(model.predict(X, active), model.predict(moved, active), strict=True):
            np.testing.assert_array_equal(a, b)

    def test_believing_the_mean_keeps_the_mean_and_lowers_the_variance(self):
        model = posterior()
        X, active = points(3, seed=9)
        mean, before = model.predict(X, active)
        mean_after, after = model.condition(X[:1], active[:1], mean[:1]).predict(X, active)
        np.testing.assert_allclose(mean_after, mean, atol=1e-8)
        assert after[0] < 0.5 * before[0]
        assert (after <= before + 1e-12).all()

    def test_repeated_noiseless_points_give_finite_predictions(self):
        X, active = points(1)
        X, active = np.repeat(X, 40, 0), np.repeat(active, 40, 0)
        h = some_hyperparameters(noise=1e-16)
        mean, variance = GaussianProcess(EMBEDDING, X, active, np.ones(40), h).predict(X, active)
        assert np.isfinite(mean).all()
        assert (variance > 0).all()

    @given(st.integers(0, 10_000), st.integers(1, 30))
    @settings(max_examples=25, deadline=None)
    def test_variance_is_positive_and_below_the_prior(self, seed, n):
        X, active = points(n, seed)
        h = some_hyperparameters(seed)
        y = np.random.default_rng(seed).normal(size=n)
        mean, variance = GaussianProcess(EMBEDDING, X, active, y, h).predict(*points(20, seed + 1))
        assert np.isfinite(mean).all()
        assert (variance > 0).all()
        assert (variance <= MEAN_VARIANCE + h.signal + 2.0 * h.effects).all()


class TestJointPredictions:
    def test_mean_and_variances_are_those_of_single_predictions(self):
        model, (X, active) = posterior(), points(6, seed=1)
        mean, variance = model.predict(X, active)
        joint_mean, covariance = model.predict_jointly(X, active)
        np.testing.assert_allclose(model.mean(X, active), mean)
        np.testing.assert_allclose(joint_mean, mean)
        np.testing.assert_allclose(np.diagonal(covariance), variance)

    def test_draws_have_the_predicted_moments(self):
        model, (X, active) = posterior(), points(4, seed=2)
        mean, covariance = model.predict_jointly(X, active)
        draws = model.draw(X, active, 40_000, np.random.default_rng(0))
        np.testing.assert_allclose(draws.mean(axis=0), mean, atol=0.02)
        np.testing.assert_allclose(np.cov(draws.T), covariance, atol=0.02)
