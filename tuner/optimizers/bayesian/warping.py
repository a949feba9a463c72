"""Transform losses to targets for a Gaussian process.

Losses of real objectives span orders of magnitude and contain outliers. `prepare` clips the bad
tail and scales the losses so that the best is 0 and the median is 1. A `Warp` then increases the
resolution near the best loss. `standardise` yields mean 0 and variance 1. All steps are strictly
increasing up to the clip, so they preserve the order of the good trials.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tuner.optimizers.bayesian.embedding import Floats

TAIL = 20.0
"""Upper clip of the losses, in units of the distance from the best to the median."""


@dataclass(frozen=True, slots=True)
class Warp:
    """``log(1 + u / softness)`` of a scaled loss `u`, or `u` itself if `softness` is infinite.

    A smaller softness gives a higher resolution near the best loss and a lower one far from it.
    The warps interpolate between the logarithm and the identity, two members of the Box-Cox family.
    """

    softness: float

    def __call__(self, u: Floats) -> Floats:
        """Return the warped losses."""
        if np.isinf(self.softness):
            return np.asarray(u, dtype=float)
        return np.asarray(np.log1p(u / self.softness))

    def inverse(self, w: Floats) -> Floats:
        """Return the losses that have the warped losses `w`."""
        if np.isinf(self.softness):
            return np.asarray(w, dtype=float)
        return np.asarray(self.softness * np.expm1(w))

    def log_slope(self, u: Floats) -> Floats:
        """Return the logarithm of the derivative at `u`."""
        if np.isinf(self.softness):
            return np.zeros_like(u)
        return np.asarray(-np.log(self.softness + u))


IDENTITY = Warp(np.inf)
WARPS = (IDENTITY, Warp(1.0), Warp(0.1), Warp(0.01))
"""The candidate warps, compared on the data."""

MILD_WARPS = WARPS[:2]
"""The candidate warps for one of several goals; the others overemphasize the ends of a front."""

MILD_DOUBT = 8.0
"""The minimum gain in log density required to warp one of several goals."""


def prepare(losses: Floats) -> Floats:
    """Scale losses so that the best is 0 and the median is 1, and clip them at `TAIL`.

    Parameters
    ----------
    losses
        Shape (n,), n at least 1; any finite values.

    Examples
    --------
    >>> prepare(np.array([1.0, 3.0, 1e300])).tolist()
    [0.0, 1.0, 20.0]
    """
    magnitude = float(np.max(np.abs(losses)))
    if magnitude > 1e100:  # sums and differences of larger values could overflow
        losses = losses / magnitude
    above = losses - np.min(losses)
    unit = unit_of(above)
    return np.minimum(above, TAIL * unit) / unit if unit else np.zeros_like(above)


def standardise(values: Floats) -> tuple[Floats, float]:
    """Return `values` with mean 0 and standard deviation 1, and the deviation (1 if it is 0)."""
    deviation = float(np.std(values)) or 1.0
    return (values - np.mean(values)) / deviation, deviation


def tie_weights(u: Floats) -> Floats:
    """Return the weight of each loss `u` (n,) in the comparison of warps.

    A model predicts tied losses almost exactly, so their density is unbounded, and a warp that
    magnifies the differences near them gains evidence without a difference to explain. Therefore a
    group of tied losses counts as one loss. Ties at the best loss do not count: a plateau tells
    nothing of the losses below it.

    Examples
    --------
    >>> tie_weights(np.array([0.0, 0.0, 1.0, 2.0, 2.0])).tolist()
    [0.0, 0.0, 1.0, 0.5, 0.5]
    """
    _, group, count = np.unique(u, return_inverse=True, return_counts=True)
    weights = 1.0 / count
    if count[0] > 1:
        weights[0] = 0.0
    return np.asarray(weights[group])


def unit_of(above: Floats) -> float:
    """Return the median of the losses above the best; if it is 0, the smallest positive one."""
    median = float(np.median(above))
    if median > 0.0:
        return median
    positive = above[above > 0.0]
    return float(np.min(positive)) if positive.size else 0.0


@dataclass(frozen=True, slots=True)
class Units:
    """The map from losses to the standardized, warped losses of a model, and back.

    Attributes
    ----------
    warp : Warp
        The warp.
    offset, unit : float
        The best loss, and the median loss above it; losses are first expressed in these.
    center, scale : float
        Mean and standard deviation of the warped losses.
    """

    warp: Warp
    offset: float
    unit: float
    center: float
    scale: float

    @classmethod
    def of(cls, losses: Floats, warp: Warp, rows: slice | NDArray[np.intp] = slice(None)) -> Units:
        """Create from all losses; those in `rows` get mean 0 and standard deviation 1."""
        offset = float(np.min(losses))
        warped = warp(prepare(losses))[rows]
        scale = standardise(warped)[1]
        return cls(warp, offset, unit_of(losses - offset) or 1.0, float(np.mean(warped)), scale)

    def standardized(self, losses: Floats) -> Floats:
        """Return the standardized, warped losses."""
        return np.asarray((self.warp(prepare(losses)) - self.center) / self.scale)

    def losses(self, y: Floats) -> Floats:
        """Return the losses of standardized ones."""
        return np.asarray(self.offset + self.unit * self.warp.inverse(self.center + self.scale * y))

    def slope(self, y: float) -> float:
        """Return the difference of losses for a unit of a standardized one, at one of these."""
        u = np.maximum(self.warp.inverse(np.array([self.center + self.scale * y])), 0.0)
        return self.scale * self.unit * math.exp(-float(self.warp.log_slope(u)[0]))
