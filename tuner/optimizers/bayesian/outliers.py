"""Find the losses that the model cannot explain, such as the loss of a broken run.

One loss that is far too good attracts a search and holds it: the model bends towards it, and all
other losses look alike. Such losses get a noise of their own, as in relevance pursuit (Ament et al.
2024, "Robust Gaussian Processes via Relevance Pursuit", arXiv:2410.24222), here an infinite one, so
that the model ignores them. Candidates are the losses with large standardized leave-one-out
residuals. They are rejected if a model of the other losses, together with a wide distribution for
the candidates, has more evidence than a model of all losses.

A narrow optimum looks like an outlier until a second trial is next to it. Therefore the search
makes such a trial for each loss that is too good to be true. If this loss is too good as well, both
are kept. If the model explains all losses, nothing changes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tuner.optimizers.bayesian.embedding import Bools, Embedding, Floats
from tuner.optimizers.bayesian.gaussian_process import GaussianProcess
from tuner.optimizers.bayesian.surrogate import Learned, learn
from tuner.optimizers.bayesian.unit_cube import UnitCube
from tuner.optimizers.bayesian.warping import (
    TAIL,
    Units,
    Warp,
    prepare,
    tie_weights,
)

Rows = NDArray[np.intp]

UNEXPLAINED = 3.5
"""Size of a standardized residual from which a loss is a candidate.

The residuals are also divided by their robust deviation if it is below 1, because outliers inflate
the noise of the model and hide behind it."""

LEAST_TOO_GOOD = 2.4
"""Size of the residual of a loss that is too good before this division, at least. In a model
of eight losses that takes all of them for noise, the largest possible residual is 2.5."""

SHARE = 0.05
"""Prior probability that a loss is an outlier."""

CLEAR = 5.0
"""Minimum gain in log density for which losses are rejected."""

MOST = 0.15
"""Maximum share of the losses that are rejected, or one loss."""

FEWEST = 8
"""Number of losses below which none is rejected."""

HUGE = 1e100
"""Size above which losses are scaled, so that their differences do not overflow."""

CHECKED = 400
"""Maximum number of losses that are checked, the best ones."""


@dataclass(frozen=True, slots=True)
class Outliers:
    """The rows of the losses that the model ignores, and whether each is too good, not too bad."""

    rows: Rows
    too_good: Bools


def learn_without_outliers(
    cube: UnitCube,
    X: Floats,
    active: Bools,
    losses: Floats,
    warps: Sequence[Warp],
    doubt: float,
    noise: float | None,
) -> tuple[Learned, Outliers]:
    """Return the result of `learn` for the losses without outliers, and the outliers.

    The arguments are as for `learn`, in the order of the trials. If `noise` is 0, all losses are
    exact, and none is an outlier.
    """
    embedding = cube.embedding
    learned = learn(embedding, X, active, losses, warps, doubt, noise)
    n = int(np.sum(np.isfinite(losses)))
    if n < FEWEST or noise == 0.0:
        return learned, Outliers(np.zeros(0, dtype=np.intp), np.zeros(0, dtype=bool))
    magnitude = max(float(np.nanmax(np.abs(losses))), HUGE) / HUGE
    losses, noise = losses / magnitude, None if noise is None else noise / magnitude
    rejected: list[tuple[int, bool]] = []
    fit = _Fit(learned, embedding, X, active, losses)
    while True:
        room = max(int(MOST * n), 1) - len(rejected)
        rows = unconfirmed(cube, X, active, *fit.suspects())[:room]
        if not len(rows):
            break
        values, losses[rows] = losses[rows], np.nan
        others = learn(embedding, X, active, losses, warps, doubt, noise)
        without = _Fit(others, embedding, X, active, losses)
        residuals = without.residuals_at(X[rows], active[rows], values)
        found = np.abs(residuals) > UNEXPLAINED
        if without.gain_over(fit, rows) <= CLEAR or not found.any():
            break
        learned, fit = others, without
        rejected += zip(rows[found].tolist(), (residuals[found] < 0.0).tolist(), strict=True)
    found_rows, too_good = np.array(rejected, dtype=np.intp).reshape(-1, 2).T
    return learned, Outliers(found_rows, too_good.astype(bool))


def unconfirmed(cube: UnitCube, X: Floats, active: Bools, rows: Rows, too_good: Bools) -> Rows:
    """Return the suspected `rows` that are not next to one suspected of the same."""
    kept = []
    for row, low in zip(rows, too_good, strict=True):
        same = rows[too_good == low]
        if not cube.adjoins(X[row], active[row], X[same], active[same]).any():
            kept.append(row)
    return np.array(kept, dtype=np.intp)


class _Fit:
    """The leave-one-out predictions of the finite losses, or of the best `CHECKED` ones.

    Attributes
    ----------
    rows
        The rows of the losses, ascending, shape (m,).
    residuals
        The standardized residuals.
    densities
        The log predictive densities, in the units of the losses.
    """

    def __init__(
        self, learned: Learned, embedding: Embedding, X: Floats, active: Bools, losses: Floats
    ) -> None:
        finite = np.flatnonzero(np.isfinite(losses))
        rows = np.sort(finite[np.argsort(losses[finite], kind="stable")[:CHECKED]])
        self.rows, self._losses = rows, losses[rows]
        self._scaled = prepare(self._losses)
        self._units = Units.of(self._losses, learned.warp)
        y = self._units.standardized(self._losses)
        self._model = GaussianProcess(embedding, X[rows], active[rows], y, learned.hyperparameters)
        # Rasmussen & Williams (2006), eq. 5.10; as a density of the loss: Snelson et al. (2004),
        # eq. 6.
        mean, variance = self._model.leave_one_out()
        self.residuals = (y - mean) / np.sqrt(variance)
        self.densities = -0.5 * (self.residuals**2 + np.log(2.0 * math.pi * variance))
        self.densities += learned.warp.log_slope(self._scaled)
        self.densities -= math.log(self._units.scale) + math.log(self._units.unit)

    def suspects(self) -> tuple[Rows, Bools]:
        """Return the rows with large residuals, the largest first, and which are too good."""
        sizes = np.abs(self.residuals)
        robust = sizes / min(1.4826 * float(np.median(sizes)) or 1.0, 1.0)
        low = self.residuals < 0.0
        found = (robust > UNEXPLAINED) & (sizes > np.where(low, LEAST_TOO_GOOD, UNEXPLAINED))
        order = np.argsort(-robust, kind="stable")
        order = order[found[order]]
        return self.rows[order], low[order]

    def gain_over(self, whole: _Fit, rejected: Rows) -> float:
        """Return the gain in log density over the fit of all losses, the `rejected` among them."""
        inside = np.isin(whole.rows, rejected)
        _, ours, theirs = np.intersect1d(self.rows, whole.rows, return_indices=True)
        # The density of a clipped loss depends on the place of the clip.
        clipped = (self._scaled[ours] >= TAIL) | (whole._scaled[theirs] >= TAIL)
        weights = np.where(clipped, 0.0, tie_weights(self._losses)[ours])
        gain = float(weights @ (self.densities[ours] - whole.densities[theirs]))
        clip = whole._units.offset + TAIL * whole._units.unit
        values = np.minimum(whole._losses, clip)[inside]
        gain += float(np.sum(log_density_outside(values, self._losses) - whole.densities[inside]))
        return gain + len(values) * math.log(SHARE / (1.0 - SHARE))

    def residuals_at(self, X: Floats, active: Bools, losses: Floats) -> Floats:
        """Return the standardized residuals of other losses (k,), observed at `X` (k, d).

        Below the best loss, the warp goes on as its tangent.
        """
        units = self._units
        with np.errstate(over="ignore"):
            u = np.minimum((losses - units.offset) / units.unit, TAIL)
        slope = float(np.exp(units.warp.log_slope(np.zeros(1)))[0])
        warped = np.where(u < 0.0, u * slope, units.warp(np.maximum(u, 0.0)))
        mean, variance = self._model.predict(X, active)
        variance = variance + self._model.hyperparameters.noise
        return ((warped - units.center) / units.scale - mean) / np.sqrt(variance)


def log_density_outside(values: Floats, losses: Floats) -> Floats:
    """Return the log density of outliers: Cauchy's, with the median and spread of `losses`.

    The spread is the median distance from the median.

    Examples
    --------
    >>> log_density_outside(np.array([2.0]), np.array([1.0, 2.0, 3.0])).round(3).tolist()
    [-1.145]
    """
    tiny = np.finfo(float).tiny
    center = np.median(losses)
    spread = math.log(max(float(np.median(np.abs(losses - center))), tiny))
    distance = np.log(np.maximum(np.abs(values - center), tiny)) - spread
    return np.asarray(-math.log(math.pi) - spread - np.logaddexp(0.0, 2.0 * distance))
