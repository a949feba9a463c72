"""Log expected hypervolume improvement for two goals, exact.

Under independent normal predictions of both goals, what a point is expected to add to the
hypervolume of a front is a sum over the strips between the front's points, of products of
one-dimensional expected improvements (Emmerich et al. 2011, "Hypervolume-based expected
improvement: Monotonicity properties and exact computation"; Yang et al. 2019, "Efficient
computation of expected hypervolume improvement", section 3).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

from tuner.optimizers.embedding import Bools, Floats
from tuner.optimizers.expected_improvement import log_h
from tuner.optimizers.gaussian_process import GaussianProcess


@dataclass(frozen=True, slots=True)
class LogExpectedHypervolumeImprovement:
    """The log of what a point is expected to add to the hypervolume of `front`.

    Parameters
    ----------
    models
        One for each of the two goals.
    front
        The points that no other dominates, shape (k, 2), by their first value, all better than
        `reference`; k may be 0.
    reference
        Shape (2,): what is worse counts for nothing.
    """

    models: tuple[GaussianProcess, GaussianProcess]
    front: Floats
    reference: Floats

    def __call__(self, X: Floats, active: Bools) -> Floats:
        """Return the values at `X` (m, d), shape (m,)."""
        psi = [
            _log_improvement(bounds, *model.predict(X, active))
            for model, bounds in zip(self.models, self._bounds, strict=True)
        ]
        return np.asarray(np.logaddexp.reduce(_log_widths(psi[0]) + psi[1], axis=0))

    def with_gradient(self, X: Floats, active: Bools) -> tuple[Floats, Floats]:
        """Return the values, shape (m,), and their gradients, shape (m, d), at `X` (m, d)."""
        predictions = [model.predict_with_gradient(X, active) for model in self.models]
        psi = [
            _log_improvement(bounds, mean, variance)
            for bounds, (mean, variance, *_) in zip(self._bounds, predictions, strict=True)
        ]
        widths = _log_widths(psi[0])
        strips = widths + psi[1]
        value = np.logaddexp.reduce(strips, axis=0)
        # d log sum(w p) = sum((dw p + w dp) / sum), each part scaled before it could underflow.
        slopes = [
            _slopes(bounds, mean, variance)
            for bounds, (mean, variance, *_) in zip(self._bounds, predictions, strict=True)
        ]
        by_width = np.exp(np.minimum(psi[1] - value, 700.0))
        by_height = np.exp(np.minimum(widths - value, 700.0))
        gradient = np.zeros_like(X)
        for k, scale in ((0, by_width), (1, by_height)):
            _, variance, mean_gradient, variance_gradient = predictions[k]
            by_mean, by_deviation = slopes[k]
            if k == 0:
                by_mean, by_deviation = _differences(by_mean), _differences(by_deviation)
            along_mean = np.sum(scale * by_mean, axis=0)
            along_variance = np.sum(scale * by_deviation, axis=0) / (2.0 * np.sqrt(variance))
            gradient += along_mean[:, None] * mean_gradient
            gradient += along_variance[:, None] * variance_gradient
        return np.asarray(value), gradient

    @property
    def _bounds(self) -> tuple[Floats, Floats]:
        """The right ends and the upper ends of the strips, shape (k + 1,) each."""
        return (
            np.append(self.front[:, 0], self.reference[0]),
            np.concatenate([self.reference[1:], self.front[:, 1]]),
        )


def _log_improvement(bounds: Floats, mean: Floats, variance: Floats) -> Floats:
    """Return the log of E[max(bound - y, 0)], shape (k + 1, m)."""
    deviation = np.sqrt(variance)
    z = (bounds[:, None] - mean) / deviation
    return np.asarray(log_h(z.ravel()).reshape(z.shape) + np.log(deviation))


def _log_widths(psi: Floats) -> Floats:
    """Return the logs of the differences of successive rows of exp(psi), which rise."""
    widths = psi.copy()
    ratio = np.exp(np.minimum(psi[:-1] - psi[1:], 0.0))
    widths[1:] += np.log1p(-np.minimum(ratio, 1.0 - 1e-16))
    return widths


def _differences(rows: Floats) -> Floats:
    return np.diff(rows, axis=0, prepend=0.0)


def _slopes(bounds: Floats, mean: Floats, variance: Floats) -> tuple[Floats, Floats]:
    """Return the derivatives of E[max(bound - y, 0)] by mean and deviation, (k + 1, m) each."""
    z = (bounds[:, None] - mean) / np.sqrt(variance)
    density = np.exp(-0.5 * np.minimum(np.abs(z), 40.0) ** 2) / np.sqrt(2.0 * np.pi)
    return -ndtr(z), density
