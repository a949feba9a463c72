"""From losses to targets that a Gaussian process can model.

Losses of real objectives span orders of magnitude and have a few absurd values. `prepare` clips
the bad tail and puts the losses on a scale with their best at 0 and their median at 1; a `Warp`
then bends that scale towards the best ones; `standardise` gives mean 0 and variance 1. Every step
is strictly increasing up to the clip, so the order of the good trials, which is what the search is
about, is kept.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tuner.optimizers.embedding import Floats

TAIL = 20.0
"""Losses count as at most this bad, in units of the distance from the best to the median."""


@dataclass(frozen=True, slots=True)
class Warp:
    """``log(1 + u / softness)`` of a scaled loss `u`, or `u` itself if `softness` is infinite.

    The smaller the softness, the more detail near the best loss and the less far from it: the
    Box-Cox family's two ends, with a ramp between them.
    """

    softness: float

    def __call__(self, u: Floats) -> Floats:
        """Return the warped losses."""
        if np.isinf(self.softness):
            return np.asarray(u, dtype=float)
        return np.asarray(np.log1p(u / self.softness))

    def log_slope(self, u: Floats) -> Floats:
        """Return the logarithm of the derivative at `u`."""
        if np.isinf(self.softness):
            return np.zeros_like(u)
        return np.asarray(-np.log(self.softness + u))


IDENTITY = Warp(np.inf)
WARPS = (IDENTITY, Warp(1.0), Warp(0.1), Warp(0.01))
"""The warps that are compared on the data."""

MILD_WARPS = WARPS[:2]
"""Those for one of several goals: the others would make much of the very ends of a front."""

MILD_DOUBT = 8.0
"""The evidence, in units of log density, that one of several goals is to be warped."""


def prepare(losses: Floats) -> Floats:
    """Return losses with the best at 0, the median at 1, and none above `TAIL`.

    Parameters
    ----------
    losses
        Shape (n,), n at least 1, any finite values however large.

    Examples
    --------
    >>> prepare(np.array([1.0, 3.0, 1e300])).tolist()
    [0.0, 1.0, 20.0]
    """
    magnitude = float(np.max(np.abs(losses)))
    if magnitude > 1e100:  # differences and sums of larger ones could overflow
        losses = losses / magnitude
    above = losses - np.min(losses)
    unit = _unit(above)
    return np.minimum(above, TAIL * unit) / unit if unit else np.zeros_like(above)


def standardise(values: Floats) -> tuple[Floats, float]:
    """Return `values` with mean 0 and deviation 1, and the deviation (1 if all are equal)."""
    deviation = float(np.std(values)) or 1.0
    return (values - np.mean(values)) / deviation, deviation


def _unit(above: Floats) -> float:
    """Return the median of losses above the best, or where that is 0 the least that is not."""
    median = float(np.median(above))
    if median > 0.0:
        return median
    positive = above[above > 0.0]
    return float(np.min(positive)) if positive.size else 0.0
