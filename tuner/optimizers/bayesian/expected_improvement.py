"""Log expected improvement.

The logarithm of expected improvement (Ament et al. 2023, "Unexpected Improvements to Expected
Improvement", arXiv:2310.20708) has the same maximum as expected improvement, but its values and
gradients do not vanish far from the maximum.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import erfcx, log_ndtr, ndtr

from tuner.optimizers.bayesian.embedding import Bools, Floats
from tuner.optimizers.bayesian.gaussian_process import GaussianProcess

_HALF_LOG_2PI = 0.5 * math.log(2.0 * math.pi)
_HALF_LOG_PI_2 = 0.5 * math.log(0.5 * math.pi)


def log_h(z: Floats) -> Floats:
    """Return ``log(phi(z) + z Phi(z))`` for z from -1e300 to 1e300 (Ament et al. 2023, eq. 9).

    Examples
    --------
    >>> log_h(np.array([0.0, -40.0])).round(4).tolist()
    [-0.9189, -808.2986]
    """
    z = np.asarray(z, dtype=float)
    result = np.empty_like(z)
    near, far = z > -1.0, z < -1e5
    middle = ~near & ~far

    x = z[near]
    density = np.exp(-0.5 * np.minimum(x, 40.0) ** 2 - _HALF_LOG_2PI)  # 0 from about 38
    result[near] = np.log(density + x * ndtr(x))
    x = z[middle]
    ratio = np.log(erfcx(-x / math.sqrt(2.0)) * np.abs(x)) + _HALF_LOG_PI_2
    result[middle] = -0.5 * x * x - _HALF_LOG_2PI + np.log(-np.expm1(ratio))
    x = z[far]
    result[far] = -0.5 * np.minimum(np.abs(x), 1e150) ** 2 - _HALF_LOG_2PI - 2.0 * np.log(-x)
    return result


@dataclass(frozen=True, slots=True)
class LogExpectedImprovement:
    """The log of the expected improvement of `model` below `incumbent`."""

    model: GaussianProcess
    incumbent: float

    def __call__(self, X: Floats, active: Bools) -> Floats:
        """Return the values at `X` (m, d), shape (m,)."""
        mean, variance = self.model.predict(X, active)
        deviation = np.sqrt(variance)
        return log_h((self.incumbent - mean) / deviation) + np.log(deviation)

    def with_gradient(self, X: Floats, active: Bools) -> tuple[Floats, Floats]:
        """Return the values, shape (m,), and their gradients, shape (m, d), at `X` (m, d)."""
        mean, variance, mean_gradient, variance_gradient = self.model.predict_with_gradient(
            X, active
        )
        deviation = np.sqrt(variance)
        z = (self.incumbent - mean) / deviation
        log_value = log_h(z)
        # d log h / dz = Phi(z) / h(z); with dz = -(d mean + z d deviation) / deviation
        slope = np.exp(np.minimum(log_ndtr(z) - log_value, 700.0))
        by_variance = (1.0 - slope * z) / (2.0 * variance)
        gradient = -(slope / deviation)[:, None] * mean_gradient
        gradient += by_variance[:, None] * variance_gradient
        return log_value + np.log(deviation), gradient
