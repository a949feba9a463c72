"""Joint draws of the true losses of the leading points, by a Gaussian process over noisy losses.

A loss is modeled as

    y = f(x) + r(x) + e,

a smooth function ``f``, a part ``r`` of the true loss that the kernel cannot explain, and the noise
``e``. Both parts that are not smooth are normal and independent between points; a share of their
variance is real, and the rest is noise. The true loss is ``f + r``. Without repeats, the values
tell nothing about the share, so its prior decides: a model that takes all roughness for noise
chooses a worse point than the best value does where losses are rough. Repeats of a point differ by
the noise alone, so they tell the share. Losses that the model cannot explain are ignored (see
`tuner.optimizers.bayesian.outliers`).

The hyperparameters are integrated out (see `tuner.optimizers.bayesian.hyperposterior`), since a
single level of noise that happens to explain the values gives intervals that are too short.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from tuner.optimizers.bayesian.embedding import Bools, Embedding, Floats
from tuner.optimizers.bayesian.gaussian_process import GaussianProcess, Hyperparameters
from tuner.optimizers.bayesian.hyperposterior import sample_hyperparameters
from tuner.optimizers.bayesian.outliers import learn_without_outliers
from tuner.optimizers.bayesian.unit_cube import UnitCube
from tuner.optimizers.bayesian.warping import IDENTITY, WARPS, Units
from tuner.search_spaces import Space

Indices = NDArray[np.intp]

SAMPLES = 32
"""Hyperparameters over which the draws are spread."""

LEARN_FROM, FITTED = 120, 300
"""Points from which hyperparameters are learned, and points in the model, at most."""

NEGLIGIBLE = 0.005
"""Deviation of the noise, as a part of the median less the best loss, that counts as none."""

INFLATION = 1.15
"""Factor on the deviations of the model, for the misfit of its kernel; see `benchmarks.winner`."""

NOTHING = 1e-9
"""Number of observations that counts for an ignored loss."""

SHARES = (np.arange(40) + 0.5) / 40
"""Shares of the roughness that may be real."""

SHARE_PRIOR = 5.0
"""The prior density of a share s is proportional to ``(1 - s) ** SHARE_PRIOR``; see
`benchmarks.winner`."""


@dataclass(frozen=True, slots=True)
class TrueLosses:
    """The true losses of the leading points.

    Attributes
    ----------
    noise : float
        Standard deviation of the noise near the best losses; 0 if none was found.
    chosen : ndarray
        Indices of the leading points, shape (k,).
    draws : ndarray
        Joint draws of their losses, shape (s, k).
    """

    noise: float
    chosen: Indices
    draws: Floats


def draw_true_losses(
    space: Space,
    params: Sequence[dict[str, Any]],
    losses: Sequence[Sequence[float]],
    noise: float | None,
    leaders: int,
    kept: int,
    n: int,
    rng: np.random.Generator,
) -> TrueLosses | None:
    """Return draws of the true losses of the points with the lowest expected losses.

    Parameters
    ----------
    space
        The search space.
    params, losses
        The points by increasing mean, and the losses that were observed at each.
    noise
        Standard deviation of the noise in the units of the losses; None if it is unknown.
    leaders
        Number of points to draw.
    kept
        The index of a point that is among them in any case.
    n
        Number of draws.
    rng
        Source of the draws.

    Returns
    -------
    TrueLosses or None
        None if there is no noise.
    """
    counts = np.array([len(values) for values in losses])
    first = np.cumsum(counts) - counts
    observed = np.concatenate([np.asarray(values, dtype=float) for values in losses])
    if np.ptp(observed) == 0.0:
        return None
    X, active = space.encode(params)
    cube = UnitCube(space)
    with threadpool_limits(1):  # the matrices are too small for more threads to help
        known = _spread(len(losses), LEARN_FROM)
        warps = WARPS if noise is None else (IDENTITY,)
        learned, outliers = learn_without_outliers(
            cube, X[known], active[known], observed[first[known]], warps, 0.0, noise
        )
        ignored = known[outliers.rows]
        ignored = ignored[counts[ignored] == 1]  # a repeat tells more than the model
        observed[first[ignored]] = np.median(np.delete(observed, first[ignored]))
        inside = _spread(len(losses), FITTED)
        units = Units.of(observed, learned.warp, first[inside])
        y = units.standardized(observed)
        means = np.add.reduceat(y, first) / counts
        squares = float(np.sum((y - np.repeat(means, counts)) ** 2))
        points = _Points(X, active, means, counts.astype(float))
        points.counts[ignored] = NOTHING
        known = np.setdiff1d(known, ignored)
        samples, weights = sample_hyperparameters(
            cube.embedding,
            X[known],
            active[known],
            y[first[known]],
            rng,
            noise=None if noise is None else (noise / (units.unit * units.scale)) ** 2,
        )
        levels = np.array([s.noise for s in samples])
        shares = SHARES if noise is None else np.zeros(1)
        density = weights[:, None] * _density(levels, shares, squares, int(np.sum(counts - 1)))
        density /= np.sum(density)
        deviation = math.sqrt(float(np.sum(density * np.outer(levels, 1.0 - shares))))
        if noise is None and deviation * units.scale < NEGLIGIBLE and not len(ignored):
            return None
        models = [
            _Model.of(cube.embedding, points.at(inside), samples[i], float(shares[j]))
            for i, j in _spread_over(density, rng)
        ]
        chosen = _leading(models, points, leaders, kept)
        leading = points.at(chosen)
        draws = np.vstack([model.draw(leading, n // SAMPLES, rng) for model in models])
    middle = draws.mean(axis=0)
    draws = middle + INFLATION * (draws - middle)
    found = deviation * units.slope(float(np.min(middle))) if noise is None else noise
    return TrueLosses(found, chosen, units.losses(draws))


def _leading(models: Sequence[_Model], points: _Points, leaders: int, kept: int) -> Indices:
    """Return the indices of the points with the lowest expected losses, `kept` among them."""
    near = np.arange(len(points.X))
    if len(near) > FITTED:  # one model tells well enough which points may lead
        near = np.sort(np.argsort(models[0].process.mean(points.X, points.active))[:FITTED])
    candidates = points.at(near)
    expected = np.mean([model.mean(candidates) for model in models], axis=0)
    chosen = near[np.argsort(expected, kind="stable")[:leaders]]
    return chosen if kept in chosen else np.append(chosen[: leaders - 1], kept)


@dataclass(frozen=True, slots=True)
class _Points:
    """Points in the unit cube, and the number and mean of the standardized losses at each."""

    X: Floats
    active: Bools
    means: Floats
    counts: Floats

    def at(self, rows: Indices) -> _Points:
        """Return some of the points."""
        return _Points(self.X[rows], self.active[rows], self.means[rows], self.counts[rows])


@dataclass(frozen=True, slots=True)
class _Model:
    """One Gaussian process, and the variances of the real roughness and of the noise."""

    process: GaussianProcess
    rough: float
    noise: float

    @classmethod
    def of(
        cls, embedding: Embedding, points: _Points, hyperparameters: Hyperparameters, share: float
    ) -> _Model:
        """Create from the points and the share of the roughness that is real."""
        rough, noise = share * hyperparameters.noise, (1.0 - share) * hyperparameters.noise
        process = GaussianProcess(
            embedding,
            points.X,
            points.active,
            points.means,
            hyperparameters,
            rough + noise / points.counts,
        )
        return cls(process, rough, noise)

    def mean(self, points: _Points) -> Floats:
        """Return the expected losses, shape (n,)."""
        smooth = self.process.mean(points.X, points.active)
        return np.asarray(smooth + self._weight(points) * (points.means - smooth))

    def draw(self, points: _Points, n: int, rng: np.random.Generator) -> Floats:
        """Return `n` joint draws of the losses, shape (n, k)."""
        smooth = self.process.draw(points.X, points.active, n, rng)
        weight = self._weight(points)
        left = np.sqrt(self.rough * (1.0 - weight))
        middle = smooth + weight * (points.means - smooth)
        return np.asarray(middle + left * rng.standard_normal(smooth.shape))

    def _weight(self, points: _Points) -> Floats:
        """Return the part of the distance of a mean from the smooth function that is real."""
        return np.asarray(self.rough / (self.rough + self.noise / points.counts))


def _density(levels: Floats, shares: Floats, squares: float, freedom: int) -> Floats:
    """Return the density of each level (n,) and share (m,), given the repeats, up to a constant.

    `squares` is the sum of the squared distances of repeated losses from the means of their points,
    which has a scaled chi-squared distribution with `freedom` degrees of freedom.
    """
    log = np.tile(SHARE_PRIOR * np.log1p(-shares), (len(levels), 1))
    if freedom:
        noise = np.outer(levels, 1.0 - shares)
        log -= 0.5 * (freedom * np.log(noise) + squares / noise)
    return np.asarray(np.exp(log - np.max(log)))


def _spread_over(density: Floats, rng: np.random.Generator) -> list[tuple[int, int]]:
    """Return `SAMPLES` indices of the entries of `density`, spread evenly over its mass."""
    places = (np.arange(SAMPLES) + rng.random()) / SAMPLES
    taken = np.minimum(np.searchsorted(np.cumsum(density), places), density.size - 1)
    rows, columns = np.unravel_index(taken, density.shape)
    return list(zip(rows.tolist(), columns.tolist(), strict=True))


def _spread(n: int, most: int) -> Indices:
    """Return the indices of at most `most` of `n` sorted values: half the best, half spread."""
    if n <= most:
        return np.arange(n)
    rest = np.linspace(most // 2, n - 1, most - most // 2).round().astype(int)
    return np.concatenate([np.arange(most // 2), rest])
