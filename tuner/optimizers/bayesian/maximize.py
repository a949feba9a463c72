"""Maximize a smooth function in the unit cube from many starts at once.

A suggestion maximizes the acquisition function of a model of a few hundred trials, from a few
starts. Evaluating the model at all of them costs hardly more than at one, so the ascents run as one
batch. Each has its own step size and its own estimate of the curvature.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from tuner.optimizers.bayesian.embedding import Bools, Floats

Slope: TypeAlias = Callable[[NDArray[np.intp], Floats], tuple[Floats, Floats]]
"""Values (m,) and gradients (m, d) at rows (m, d); the first argument has the rows' indices."""

FIRST_STEP = 0.1
"""Length of the first step of an ascent, in units of the cube, with unknown curvature."""

SHORTER = 0.25
ENOUGH = 1e-4
"""Factor that shortens a rejected step; minimum share of the linear gain of an accepted step
(Nocedal & Wright 2006, "Numerical Optimization", eq. 3.4)."""


def ascend(
    function: Slope, starts: Floats, free: Bools, *, iterations: int = 30, tolerance: float = 1e-5
) -> Floats:
    """Return the end points of the ascents, shape (m, d); none is lower than its start.

    Projected BFGS: a quasi-Newton step in the columns that are free and not at an active bound,
    clipped to the cube (Bertsekas 1982, "Projected Newton methods for optimization problems with
    simple constraints"; the update is Nocedal & Wright 2006, eq. 6.17).

    Parameters
    ----------
    function
        Called with the indices of the ascents, shape (k,), and their positions, shape (k, d).
    starts
        Rows of the unit cube, shape (m, d).
    free
        Mask of the columns that may change in each row, shape (m, d).
    iterations
        Maximum number of evaluations of each ascent.
    tolerance
        An ascent ends when a step gains less than this.

    Examples
    --------
    >>> def function(_, rows):
    ...     return -((rows - 0.3) ** 2).sum(axis=1), -2 * (rows - 0.3)
    >>> ascend(function, np.array([[0.9, 0.1]]), np.array([[True, False]])).round(3).tolist()
    [[0.3, 0.1]]
    """
    m, d = starts.shape
    found, live = starts.copy(), np.arange(m)
    x = starts.copy()
    value, gradient = function(live, x)
    gradient = np.where(free, gradient, 0.0)
    steepness = np.sqrt(np.sum(gradient**2, axis=1))
    live = np.flatnonzero(np.isfinite(value) & (steepness > 0.0))
    x, value, gradient, free = x[live], value[live], gradient[live], free[live]
    curvature = np.eye(d) * (FIRST_STEP / steepness[live])[:, None, None]  # of the inverse Hessian
    length, fresh = np.ones(len(live)), np.ones(len(live), dtype=bool)
    for _ in range(iterations):
        if not len(live):
            break
        held = ((x <= 0.0) & (gradient < 0.0)) | ((x >= 1.0) & (gradient > 0.0)) | ~free
        uphill = np.where(held, 0.0, gradient)
        direction = np.where(held, 0.0, np.einsum("mij,mj->mi", curvature, uphill))
        step = np.clip(x + length[:, None] * direction, 0.0, 1.0) - x
        promised = np.sum(step * uphill, axis=1)
        new_value, new_gradient = function(live, x + step)
        new_gradient = np.where(free, new_gradient, 0.0)
        gain = np.where(np.isfinite(new_value), new_value, -np.inf) - value
        better = (gain > ENOUGH * promised) & (promised > 0.0)

        bend = np.where(held, 0.0, gradient - new_gradient)
        _learn(curvature, np.where(better[:, None], step, 0.0), bend, fresh)
        fresh &= ~better
        x = np.where(better[:, None], x + step, x)
        value = np.where(better, new_value, value)
        gradient = np.where(better[:, None], new_gradient, gradient)
        length = np.where(better, 1.0, SHORTER * length)

        found[live] = x
        over = np.where(better, gain < tolerance, promised < tolerance)
        if over.any():
            on = ~over
            live, x, value, gradient = live[on], x[on], value[on], gradient[on]
            free, curvature, length, fresh = free[on], curvature[on], length[on], fresh[on]
    return found


def _learn(curvature: Floats, step: Floats, bend: Floats, fresh: Bools) -> None:
    """Update the inverse Hessians (m, d, d) of -f in place, for steps of positive curvature."""
    product = np.sum(step * bend, axis=1)
    rows = np.flatnonzero(product > 1e-12)
    if not len(rows):
        return
    s, y, rho = step[rows], bend[rows], 1.0 / product[rows]
    H = curvature[rows]
    scale = 1.0 / (rho * np.sum(y * y, axis=1))
    first = fresh[rows]
    H[first] = np.eye(s.shape[1]) * scale[first, None, None]  # ibid., eq. 6.20
    Hy = np.einsum("mij,mj->mi", H, y)
    yHy = np.sum(y * Hy, axis=1)
    cross = s[:, :, None] * Hy[:, None, :]
    H += (rho * (1.0 + rho * yHy))[:, None, None] * (s[:, :, None] * s[:, None, :])
    H -= rho[:, None, None] * (cross + cross.transpose(0, 2, 1))
    curvature[rows] = H
