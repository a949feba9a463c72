"""Batched ascent: known maxima, bounds, and points whose columns are all fixed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from tuner.optimizers.bayesian.maximize import ascend


def hill(top, steepness):
    """A quadratic with its maximum 0 at `top`."""

    def function(_, rows):
        away = rows - top
        return -(steepness * away**2).sum(axis=1), -2 * steepness * away

    return function


def rosenbrock(_, rows):
    x, y = 2 * rows[:, 0], 2 * rows[:, 1]
    value = -((1 - x) ** 2) - 10 * (y - x**2) ** 2
    by_x = 2 * (1 - x) + 40 * x * (y - x**2)
    return value, 2 * np.stack([by_x, -20 * (y - x**2)], axis=1)


everything = np.ones((1, 2), dtype=bool)


class TestAscend:
    def test_each_row_reaches_the_maximum(self):
        starts = np.random.default_rng(0).random((7, 5))
        steepness = np.array([1.0, 3.0, 10.0, 30.0, 100.0])
        found = ascend(hill(0.4, steepness), starts, np.ones((7, 5), bool), iterations=60)
        np.testing.assert_allclose(found, 0.4, atol=1e-2)

    def test_a_curved_ridge_is_climbed_as_by_scipy(self):
        start = np.array([[0.05, 0.9]])
        found = ascend(rosenbrock, start, everything, iterations=100, tolerance=1e-9)
        other = minimize(
            lambda x: tuple(-v[0] for v in rosenbrock(None, x[None])),
            start[0],
            jac=True,
            method="L-BFGS-B",
            bounds=[(0, 1)] * 2,
        )
        np.testing.assert_allclose(found[0], other.x, atol=1e-2)

    def test_a_maximum_outside_is_approached_at_the_bounds(self):
        found = ascend(hill(np.array([1.5, 0.3]), 4.0), np.array([[0.2, 0.9]]), everything)
        np.testing.assert_allclose(found, [[1.0, 0.3]], atol=1e-2)

    def test_fixed_coordinates_do_not_change(self):
        starts = np.array([[0.9, 0.9], [0.9, 0.9]])
        free = np.array([[True, False], [False, False]])
        found = ascend(hill(0.2, 1.0), starts, free)
        assert found[0, 0] == pytest.approx(0.2, abs=1e-2)
        assert found[0, 1] == 0.9
        assert found[1].tolist() == [0.9, 0.9]

    def test_rows_are_independent_of_each_other(self):
        starts = np.random.default_rng(1).random((5, 2))
        free = np.ones((5, 2), bool)
        together = ascend(rosenbrock, starts, free)
        apart = [ascend(rosenbrock, row[None], everything)[0] for row in starts]
        np.testing.assert_allclose(together, apart, rtol=1e-12)

    def test_the_function_receives_the_indices_of_active_rows(self):
        def function(rows, X):
            assert len(rows) == len(X)
            top = np.array([0.1, 0.5, 0.9])[rows]
            return -((X[:, 0] - top) ** 2), -2 * (X - top[:, None])

        found = ascend(function, np.array([[0.1], [0.4], [0.0]]), np.ones((3, 1), bool))
        np.testing.assert_allclose(found[:, 0], [0.1, 0.5, 0.9], atol=1e-2)

    def test_a_row_with_a_nan_value_does_not_move(self):
        def function(_, rows):
            return np.full(len(rows), np.nan), np.ones_like(rows)

        assert ascend(function, np.array([[0.5, 0.5]]), everything).tolist() == [[0.5, 0.5]]

    @given(st.integers(0, 10_000), st.integers(1, 6))
    def test_no_row_ends_lower_or_out_of_bounds(self, seed, d):
        rng = np.random.default_rng(seed)
        waves, phase = rng.normal(0, 6, (4, d)), rng.uniform(0, 6, 4)

        def function(_, rows):
            angles = rows @ waves.T + phase
            return np.sin(angles).sum(axis=1), np.cos(angles) @ waves

        starts = rng.random((6, d))
        found = ascend(function, starts, rng.random((6, d)) < 0.8)
        assert ((found >= 0) & (found <= 1)).all()
        assert (function(None, found)[0] >= function(None, starts)[0]).all()
