"""Log expected hypervolume improvement for any number of goals, exact.

What no point of a front dominates, within a reference, is cut into boxes. Under independent normal
predictions of the goals, what a point is expected to add to the hypervolume is a sum over the
boxes, of products of one-dimensional expected improvements (Yang et al. 2019, "Efficient
computation of expected hypervolume improvement using box decomposition algorithms", eq. 12).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from tuner.optimizers.embedding import Bools, Floats
from tuner.optimizers.expected_improvement import log_h
from tuner.optimizers.gaussian_process import GaussianProcess
from tuner.optimizers.ordering import reference_point
from tuner.optimizers.pareto import hypervolume_subset, nondominated

MOST_OF_FRONT = 40
"""Of a longer Pareto front so many points stand for all: those that cover most."""


@dataclass(frozen=True, slots=True)
class LogExpectedHypervolumeImprovement:
    """The log of what a point is expected to add to the hypervolume that is dominated.

    Parameters
    ----------
    models
        One for each goal.
    lower, upper
        The boxes that are not dominated yet, shape (b, g); see `free_boxes`.
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
            # The product of the others, over the sum: scaled before anything could underflow.
            others = np.exp(np.minimum(logs - one.logs - value, 700.0))
            by_mean, by_deviation = one.slopes()
            along = np.sum(others * by_deviation, axis=0) / (2.0 * np.sqrt(variance))
            gradient += np.sum(others * by_mean, axis=0)[:, None] * mean_gradient
            gradient += along[:, None] * variance_gradient
        return np.asarray(value), gradient


def improvement_of_front(
    models: Sequence[GaussianProcess], expected: Floats
) -> tuple[LogExpectedHypervolumeImprovement, NDArray[np.intp]]:
    """Return the improvement of the front of what is expected of trials, (n, g), and that front.

    The reference is beyond the worst values by a tenth of their range (Ishibuchi et al. 2018, "How
    to specify a reference point in hypervolume calculation"): in turn beyond those of the front,
    which fills its gaps, and beyond those of all trials, which finds its ends.
    """
    front = np.flatnonzero(nondominated(expected))
    corner = reference_point(expected if len(expected) % 2 else expected[front])
    if len(front) > MOST_OF_FRONT:
        front = front[hypervolume_subset(expected[front], corner, MOST_OF_FRONT)]
    return LogExpectedHypervolumeImprovement(models, *free_boxes(expected[front], corner)), front


class _Widths:
    """What of one goal's sides of boxes lies above a prediction, expected: E[(u - max(l, y))+].

    `logs` has their logarithms, shape (b, m): of h(u) - h(l), where h(t) = E[max(t - y, 0)].
    """

    def __init__(self, lower: Floats, upper: Floats, mean: Floats, variance: Floats) -> None:
        # Boxes share their sides: each bound is looked at once.
        bounds, places = np.unique(np.concatenate([lower, upper]), return_inverse=True)
        self._low, self._high = np.split(places, 2)
        deviation = np.sqrt(variance)
        self._z = (bounds[:, None] - mean) / deviation
        finite = np.maximum(self._z, -1e100)  # the lower side of some boxes is -inf
        rising = log_h(finite.ravel()).reshape(finite.shape) + np.log(deviation)
        high, low = rising[self._high], rising[self._low]
        share = np.minimum(np.exp(np.minimum(low - high, 0.0)), 1.0 - 1e-16)
        self.logs = high + np.log1p(-share)

    def slopes(self) -> tuple[Floats, Floats]:
        """Return the derivatives by mean and deviation, shape (b, m) each."""
        below = ndtr(self._z)
        density = np.exp(-0.5 * np.minimum(np.abs(self._z), 40.0) ** 2) / np.sqrt(2.0 * np.pi)
        return (
            below[self._low] - below[self._high],
            density[self._high] - density[self._low],
        )


def free_boxes(front: Floats, reference: Floats) -> tuple[Floats, Floats]:
    """Return lower and upper corners, (b, g) each, of boxes that fill what nothing dominates.

    The boxes do not overlap; lower corners may be -inf.

    Parameters
    ----------
    front
        Shape (k, g), no row of which dominates another; k may be 0.
    reference
        Shape (g,): the boxes end there.

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
    """Return boxes as (2, g) arrays, by sweeping the last goal from its best value on.

    What is free in the other goals changes only where a point of the front is passed; a box of the
    section goes on until then.
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
