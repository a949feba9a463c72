"""Transformation of losses to targets: order, clipping, and extreme values."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tuner.optimizers.bayesian.warping import IDENTITY, TAIL, WARPS, Warp, prepare, standardise

any_losses = arrays(
    np.float64, st.integers(1, 30), elements=st.floats(allow_nan=False, allow_infinity=False)
)


@given(any_losses)
def test_targets_are_finite_and_bounded_for_any_losses(losses):
    scaled = prepare(losses)
    assert np.isfinite(scaled).all()
    assert scaled.min() >= 0.0
    assert scaled.max() <= TAIL * (1 + 1e-12)
    for warp in WARPS:
        y, deviation = standardise(warp(scaled))
        assert np.isfinite(y).all()
        assert deviation > 0.0


@given(any_losses)
def test_the_order_is_kept(losses):
    scaled = prepare(losses)
    order = np.argsort(losses)
    for warp in WARPS:
        assert (np.diff(warp(scaled)[order]) >= 0.0).all()


@given(st.permutations(range(8)))
def test_the_order_of_the_trials_does_not_matter(order):
    losses = np.array([3.0, 1.0, 7.0, 1e300, 2.0, -5.0, 1e9, 0.0])
    np.testing.assert_array_equal(prepare(losses)[list(order)], prepare(losses[list(order)]))


@given(st.floats(1e-3, 1e3), st.floats(-1e3, 1e3))
def test_targets_are_invariant_to_shift_and_scale(scale, shift):
    losses = np.array([0.0, 1.0, 2.0, 5.0, 400.0])
    np.testing.assert_allclose(prepare(scale * losses + shift), prepare(losses), rtol=1e-6)


def test_the_best_is_0_the_median_1_and_the_tail_is_bounded():
    assert prepare(np.array([5.0, 7.0, 1e6])).tolist() == [0.0, 1.0, TAIL]


def test_one_extreme_value_does_not_compress_the_others():
    losses = np.array([1.0, 2.0, 3.0, 4.0, 1e300, 1e308])
    assert len(np.unique(prepare(losses)[:4])) == 4


def test_if_most_losses_tie_at_the_best_the_next_best_sets_the_scale():
    assert prepare(np.array([1.0, 1.0, 1.0, 3.0])).tolist() == [0.0, 0.0, 0.0, 1.0]


def test_equal_losses_are_equal_targets():
    y, deviation = standardise(prepare(np.full(5, 7.0)))
    assert y.tolist() == [0.0] * 5
    assert deviation == 1.0


@pytest.mark.parametrize("warp", WARPS)
def test_log_slope_against_finite_differences(warp):
    u = np.array([0.01, 0.5, 3.0, 15.0])
    numeric = (warp(u + 1e-6) - warp(u - 1e-6)) / 2e-6
    np.testing.assert_allclose(np.exp(warp.log_slope(u)), numeric, rtol=1e-6)


def test_a_soft_warp_spreads_the_best_and_the_identity_does_not():
    u = np.array([0.0, 0.01, 10.0])
    soft = Warp(0.01)(u)
    assert soft[1] / soft[2] > 0.09
    assert IDENTITY(u).tolist() == u.tolist()
