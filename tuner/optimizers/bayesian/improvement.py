"""Log expected improvement of one goal, and log expected hypervolume improvement of several.

The logarithm of expected improvement (Ament et al. 2023, "Unexpected Improvements to Expected
Improvement", arXiv:2310.20708) has the same maximum as expected improvement, but its values and
gradients do not vanish far from the maximum.

For several goals, the nondominated region within a reference point is decomposed into boxes. Under
independent normal predictions of the goals, the expected hypervolume improvement is a sum over the
boxes of products of one-dimensional expected improvements (Yang et al. 2019, "Efficient computation
of expected hypervolume improvement using box decomposition algorithms", eq. 12).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import erfcx, log_ndtr, ndtr

from tuner.optimizers.bayesian.embedding import Bools, Floats
from tuner.optimizers.bayesian.gaussian_process import GaussianProcess
from tuner.optimizers.ordering import reference_point
from tuner.optimizers.pareto import hypervolume_subset, nondominated

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


MOST_OF_FRONT = 40
"""Maximum number of points of a front; a longer front is reduced to a subset that covers most."""


@dataclass(frozen=True, slots=True)
class LogExpectedHypervolumeImprovement:
    """The log of the expected hypervolume improvement of a point.

    Parameters
    ----------
    models
        One model per goal.
    lower, upper
        The corners of the nondominated boxes, shape (b, g); see `free_boxes`.
    """

    models: Sequence[GaussianProcess]
    lower: Floats
    upper: Floats

    def __call__(self, X: Floats, active: Bools) -> Floats:
        """Return the values at `X` (m, d), shape (m,)."""
        logs = sum(
            _Widths(self.lower[:, k], self.upper[:, k], *model.predict(X, active)).logs
            for k, model in enumerate(self.models)
        )
        return np.asarray(np.logaddexp.reduce(logs, axis=0))

    def with_gradient(self, X: Floats, active: Bools) -> tuple[Floats, Floats]:
        """Return the values, shape (m,), and their gradients, shape (m, d), at `X` (m, d)."""
        predictions = [model.predict_with_gradient(X, active) for model in self.models]
        widths = [
            _Widths(self.lower[:, k], self.upper[:, k], mean, variance)
            for k, (mean, variance, *_) in enumerate(predictions)
        ]
        logs = np.sum([w.logs for w in widths], axis=0)
        value = np.logaddexp.reduce(logs, axis=0)
        gradient = np.zeros_like(X)
        for one, (_, variance, mean_gradient, variance_gradient) in zip(
            widths, predictions, strict=True
        ):
            # The product of the other goals, divided by the sum in log space to avoid underflow.
            others = np.exp(np.minimum(logs - one.logs - value, 700.0))
            by_mean, by_deviation = one.slopes()
            along = np.sum(others * by_deviation, axis=0) / (2.0 * np.sqrt(variance))
            gradient += np.sum(others * by_mean, axis=0)[:, None] * mean_gradient
            gradient += along[:, None] * variance_gradient
        return np.asarray(value), gradient


def improvement_of_front(
    models: Sequence[GaussianProcess], expected: Floats
) -> tuple[LogExpectedHypervolumeImprovement, NDArray[np.intp]]:
    """Return the acquisition function for expected values (n, g), and the indices of their front.

    The reference point exceeds the worst values by 10% of their range (Ishibuchi et al. 2018, "How
    to specify a reference point in hypervolume calculation"). It alternates between the worst
    values of the front, which fills gaps, and of all trials, which extends the front.
    """
    front = np.flatnonzero(nondominated(expected))
    corner = reference_point(expected if len(expected) % 2 else expected[front])
    if len(front) > MOST_OF_FRONT:
        front = front[hypervolume_subset(expected[front], corner, MOST_OF_FRONT)]
    return LogExpectedHypervolumeImprovement(models, *free_boxes(expected[front], corner)), front


class _Widths:
    """Expected length of each box side above the prediction y of a goal: E[(u - max(l, y))+].

    `logs` contains the logarithms of h(u) - h(l), shape (b, m), where h(t) = E[max(t - y, 0)].
    """

    def __init__(self, lower: Floats, upper: Floats, mean: Floats, variance: Floats) -> None:
        # Boxes share their sides, so each distinct bound is computed once.
        bounds, places = np.unique(np.concatenate([lower, upper]), return_inverse=True)
        self._low, self._high = np.split(places, 2)
        deviation = np.sqrt(variance)
        self._z = (bounds[:, None] - mean) / deviation
        finite = np.maximum(self._z, -1e100)  # some boxes have the lower bound -inf
        rising = log_h(finite.ravel()).reshape(finite.shape) + np.log(deviation)
        high, low = rising[self._high], rising[self._low]
        share = np.minimum(np.exp(np.minimum(low - high, 0.0)), 1.0 - 1e-16)
        self.logs = high + np.log1p(-share)

    def slopes(self) -> tuple[Floats, Floats]:
        """Return the derivatives with respect to mean and deviation, shape (b, m) each."""
        below = ndtr(self._z)
        density = np.exp(-0.5 * np.minimum(np.abs(self._z), 40.0) ** 2) / np.sqrt(2.0 * np.pi)
        return (
            below[self._low] - below[self._high],
            density[self._high] - density[self._low],
        )


def free_boxes(front: Floats, reference: Floats) -> tuple[Floats, Floats]:
    """Decompose the nondominated region into boxes; return lower and upper corners, (b, g) each.

    The boxes do not overlap; lower corners may be -inf.

    Parameters
    ----------
    front
        Mutually nondominated points, shape (k, g); k may be 0.
    reference
        The upper corner of the region, shape (g,).

    Examples
    --------
    >>> lower, upper = free_boxes(np.array([[1.0, 2.0]]), np.array([3.0, 3.0]))
    >>> lower.tolist(), upper.tolist()
    ([[-inf, -inf], [-inf, 2.0]], [[3.0, 2.0], [1.0, 3.0]])
    """
    front = front[(front < reference).all(axis=1)]
    boxes = np.array(_boxes(front, reference), dtype=float).reshape(-1, 2, len(reference))
    boxes = boxes[np.lexsort(boxes.reshape(len(boxes), -1).T[::-1])]
    return boxes[:, 0], boxes[:, 1]


def _boxes(front: Floats, reference: Floats) -> list[NDArray[np.float64]]:
    """Return boxes as (2, g) arrays, by a sweep over the last goal from its best value.

    The nondominated section in the other goals changes only at points of the front. A box extends
    over the last goal as long as its section stays the same.
    """
    if len(reference) == 1:
        ends = np.append(front[:, 0], reference[0])
        return [np.array([[-np.inf], [ends.min()]])]
    order = np.argsort(front[:, -1], kind="stable")
    front = front[order]
    done: list[NDArray[np.float64]] = []
    since: dict[bytes, tuple[float, NDArray[np.float64]]] = {}
    levels = [-np.inf, *np.unique(front[:, -1]).tolist()]
    for level in levels:
        passed = front[front[:, -1] <= level, :-1]
        section = passed[nondominated(passed)] if len(passed) else passed
        now = {box.tobytes(): box for box in _boxes(np.unique(section, axis=0), reference[:-1])}
        done += [
            _raised(box, start, level) for key, (start, box) in since.items() if key not in now
        ]
        since = {key: since.get(key, (level, box)) for key, box in now.items()}
    done += [_raised(box, start, float(reference[-1])) for start, box in since.values()]
    return done


def _raised(box: NDArray[np.float64], start: float, end: float) -> NDArray[np.float64]:
    return np.column_stack([box, [start, end]])
