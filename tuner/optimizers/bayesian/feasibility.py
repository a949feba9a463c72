"""Models of feasibility: the success of a trial and its outcome constraints.

Each condition is expressed as a margin that is positive if the condition holds: 1/2 for a
successful trial, -1/2 for a failed one, and the negated, compressed value of an outcome
constraint. A Gaussian process of the margins predicts the probability that a new point satisfies
the condition. If failures do not depend on the point, the model attributes them to noise and has no
effect.

Schonlau et al. 1998, "Global versus local search in constrained optimization of computer models",
section 4; Gardner et al. 2014, "Bayesian Optimization with Inequality Constraints".
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import log_ndtr

from tuner.optimizers.bayesian.embedding import Bools, Embedding, Floats
from tuner.optimizers.bayesian.gaussian_process import GaussianProcess, Hyperparameters, fit
from tuner.optimizers.bayesian.surrogate import LEARN_FROM, evenly, learning_size
from tuner.optimizers.bayesian.warping import standardise
from tuner.optimizers.history import History

_HALF_LOG_2PI = 0.5 * math.log(2.0 * math.pi)


@dataclass(frozen=True, slots=True)
class ProbabilityOfFeasibility:
    """The log probability that `model` exceeds `threshold` at a point."""

    model: GaussianProcess
    threshold: float

    def __call__(self, X: Floats, active: Bools) -> Floats:
        """Return the log probability at `X` (m, d), shape (m,)."""
        mean, variance = self.model.predict(X, active)
        return np.asarray(log_ndtr((mean - self.threshold) / np.sqrt(variance + self._noise)))

    def with_gradient(self, X: Floats, active: Bools) -> tuple[Floats, Floats]:
        """Return the log probability, shape (m,), and its gradient, shape (m, d), at `X`."""
        mean, variance, mean_gradient, variance_gradient = self.model.predict_with_gradient(
            X, active
        )
        deviation = np.sqrt(variance + self._noise)
        z = (mean - self.threshold) / deviation
        value = log_ndtr(z)
        slope = np.exp(np.minimum(-0.5 * z * z - _HALF_LOG_2PI - value, 700.0))  # phi(z) / Phi(z)
        gradient = mean_gradient - (z / (2.0 * deviation))[:, None] * variance_gradient
        return value, (slope / deviation)[:, None] * gradient

    @property
    def _noise(self) -> float:
        return self.model.hyperparameters.noise


def margins(history: History) -> Floats:
    """Return the margins of all conditions, shape (n, k); NaN for missing values.

    The first column is the success of the trial, present only if a trial failed. Each outcome
    constraint has a further column. Its values are compressed towards 0, so that a few very large
    values do not hide the sign change.
    """
    columns = []
    if history.failed.any():
        columns.append(np.where(history.failed, -0.5, 0.5))
    taught = learning_size(history.size)  # margins then change only when the models do
    for values in history.constraints.T:
        known = np.abs(values[:taught])
        known = known[np.isfinite(known) & (known != 0.0)]
        scale = float(np.median(known)) if known.size else 1.0
        columns.append(-np.sign(values) * np.log1p(np.abs(values) / scale))
    return np.array(columns).T.reshape(history.size, len(columns))


def learn_condition(
    embedding: Embedding, X: Floats, active: Bools, margin: Floats
) -> Hyperparameters:
    """Return the MAP hyperparameters of the model of a margin, shape (n,)."""
    known = np.flatnonzero(np.isfinite(margin))
    if not known.size or np.ptp(margin[known]) == 0.0:
        return Hyperparameters.initial(embedding.columns)  # later margins can differ
    some = known[evenly(margin[known], LEARN_FROM)]
    y, _ = standardise(margin[some])
    return fit(embedding, X[some], active[some], y)[0]


def condition(
    hyperparameters: Hyperparameters, embedding: Embedding, X: Floats, active: Bools, margin: Floats
) -> ProbabilityOfFeasibility | None:
    """Return the model of the probability that a margin is positive, given `margin` (n,).

    None if all margins are missing, or if all known margins are equal and positive.
    """
    known = np.isfinite(margin)
    if not known.any() or (margin[known].min() > 0.0 and np.ptp(margin[known]) == 0.0):
        return None
    y, deviation = standardise(margin[known])
    model = GaussianProcess(embedding, X[known], active[known], y, hyperparameters)
    return ProbabilityOfFeasibility(model, threshold=-float(np.mean(margin[known])) / deviation)
