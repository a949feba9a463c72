"""Gaussian process regression on mixed, conditional spaces.

The covariance of two points is

    k(x, x') = c + s m(r),   m(r) = (1 + sqrt(5) r + 5/3 r^2) exp(-sqrt(5) r),

a Matern-5/2 kernel (Rasmussen & Williams 2006, eq. 4.17) of the distance
``r^2 = sum_j d_j(x, x') / l_j^2`` with one lengthscale per column, where ``d_j`` is the squared
distance of `tuner.optimizers.embedding`. The constant `c` says that the mean of the function is
itself unknown with that variance (ibid., eq. 2.40). Observations add noise of variance ``v``.

The lengthscales, ``s`` and ``v`` are the maximum of the posterior. The lengthscale prior widens
with the square root of the dimension (Hvarfner et al. 2024, arXiv:2402.02229), which keeps the
model useful in high dimensions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import LinAlgError, cho_solve, cholesky, solve_triangular
from scipy.linalg.lapack import dpotri
from scipy.optimize import minimize

from tuner.optimizers.embedding import Bools, Embedding, Floats, squared_distances

MEAN_VARIANCE = 1.0
"""The prior variance of the unknown mean, in units of the standardised targets."""

SIGNAL_PRIOR = (0.0, 1.0)
NOISE_PRIOR = (-8.0, 3.0)
"""Mean and deviation of the logarithm of the signal and noise variances."""

LOG_BOUNDS = {"lengthscale": (-4.0, 6.0), "signal": (-5.0, 5.0), "noise": (-16.0, 0.5)}


@dataclass(frozen=True, slots=True)
class Hyperparameters:
    """What is learned from the data: lengthscales (d,), signal variance, noise variance."""

    lengthscales: Floats
    signal: float
    noise: float

    def to_log(self) -> Floats:
        """Return the logarithms as one vector, shape (d + 2,)."""
        return np.asarray(np.log([*self.lengthscales, self.signal, self.noise]))

    @classmethod
    def from_log(cls, theta: Floats) -> Hyperparameters:
        """Build from the logarithms in the order of `to_log`."""
        values = np.exp(theta)
        return cls(values[:-2], float(values[-2]), float(values[-1]))

    @classmethod
    def initial(cls, d: int, lengthscale: float = 0.5, noise: float = 1e-3) -> Hyperparameters:
        """Return a start for the search: `lengthscale` is in units of ``sqrt(d)``."""
        return cls(np.full(d, lengthscale * math.sqrt(max(d, 1))), 1.0, noise)


class GaussianProcess:
    """The posterior of the model given observations and hyperparameters.

    Parameters
    ----------
    embedding
        How points become coordinates.
    X, active
        Observed points in the unit cube, shape (n, d), and which entries of them are active.
    y
        Targets, shape (n,), standardised.
    hyperparameters
        Usually from `fit`.

    Examples
    --------
    >>> X = np.array([[0.1], [0.5], [0.9]])
    >>> y = np.array([-1.0, 0.0, 1.0])
    >>> embedding = Embedding(options=[0], conditional=[False])
    >>> parameters = Hyperparameters(np.array([0.3]), signal=1.0, noise=1e-6)
    >>> gp = GaussianProcess(embedding, X, np.ones_like(X, dtype=bool), y, parameters)
    >>> mean, variance = gp.predict(X, np.ones_like(X, dtype=bool))
    >>> np.allclose(mean, y, atol=1e-3)
    True
    """

    def __init__(
        self,
        embedding: Embedding,
        X: Floats,
        active: Bools,
        y: Floats,
        hyperparameters: Hyperparameters,
    ) -> None:
        self.embedding = embedding
        self.X, self.active, self.y = X, active, y
        self.hyperparameters = hyperparameters
        self._weights = hyperparameters.lengthscales[embedding.column] ** -2.0
        self._Z = self._scaled(X, active)
        correlation, _ = matern(squared_distances(self._Z, self._Z))
        np.fill_diagonal(correlation, 1.0)
        self._L = stable_cholesky(_covariance(correlation, hyperparameters))
        self._alpha = cho_solve((self._L, True), y, check_finite=False)

    def predict(self, X: Floats, active: Bools) -> tuple[Floats, Floats]:
        """Return mean and variance, shape (m,), of the noise-free function at `X` (m, d).

        Rasmussen & Williams (2006), eqs. 2.25 and 2.26.
        """
        correlation, _ = matern(squared_distances(self._scaled(X, active), self._Z))
        K = MEAN_VARIANCE + self.hyperparameters.signal * correlation
        V = solve_triangular(self._L, K.T, lower=True, check_finite=False)
        variance = self._prior_variance - np.einsum("ij,ij->j", V, V)
        return K @ self._alpha, np.maximum(variance, self._least_variance)

    def predict_with_gradient(
        self, X: Floats, active: Bools
    ) -> tuple[Floats, Floats, Floats, Floats]:
        """Return mean and variance, shape (m,), at `X` (m, d), and their gradients, (m, d).

        The gradients are zero in categorical and in inactive columns.
        """
        scale = self.hyperparameters.signal
        Z = self._scaled(X, active)
        correlation, slope = matern(squared_distances(Z, self._Z))
        K = MEAN_VARIANCE + scale * correlation
        solved = cho_solve((self._L, True), K.T, check_finite=False).T
        variance = self._prior_variance - np.einsum("ij,ij->i", K, solved)

        step = 2.0 * scale * np.sqrt(self._weights) * self.embedding.derivative(X, active)
        slopes = []
        for pull in (slope * self._alpha, slope * (-2.0 * solved)):
            towards = pull.sum(axis=1)[:, None] * Z - pull @ self._Z
            slopes.append(self.embedding.sum_by_column(towards * step))
        certain = variance < self._least_variance
        slopes[1][certain] = 0.0
        return K @ self._alpha, np.maximum(variance, self._least_variance), slopes[0], slopes[1]

    def leave_one_out(self) -> tuple[Floats, Floats]:
        """Return mean and variance, shape (n,), of each target given all the others.

        The variance includes the noise. Rasmussen & Williams (2006), eq. 5.12.
        """
        precision = np.diagonal(_inverse(self._L))
        return self.y - self._alpha / precision, 1.0 / precision

    def condition(self, X: Floats, active: Bools, y: Floats) -> GaussianProcess:
        """Return the posterior given further observations, hyperparameters unchanged."""
        return GaussianProcess(
            self.embedding,
            np.concatenate([self.X, X]),
            np.concatenate([self.active, active]),
            np.concatenate([self.y, y]),
            self.hyperparameters,
        )

    @property
    def _prior_variance(self) -> float:
        return MEAN_VARIANCE + self.hyperparameters.signal

    @property
    def _least_variance(self) -> float:
        return 1e-12 * self._prior_variance

    def _scaled(self, X: Floats, active: Bools) -> Floats:
        """Return coordinates in units of the lengthscales."""
        return self.embedding(X, active) * np.sqrt(self._weights)


def fit(
    embedding: Embedding,
    X: Floats,
    active: Bools,
    y: Floats,
    starts: Sequence[Hyperparameters] | None = None,
    max_iterations: int = 40,
) -> tuple[Hyperparameters, float]:
    """Return the most probable hyperparameters and the log posterior density there.

    L-BFGS-B with analytic gradients from each of `starts` (two fixed ones if None), so the
    result is a function of the arguments alone.
    """
    d = embedding.columns
    if starts is None:
        starts = (Hyperparameters.initial(d), Hyperparameters.initial(d, 2.0, 1e-2))
    Z = embedding(X, active)
    distances = embedding.squared_distances(Z, Z)
    bounds = [LOG_BOUNDS["lengthscale"]] * d + [LOG_BOUNDS["signal"], LOG_BOUNDS["noise"]]
    best: tuple[float, Floats] | None = None
    for start in starts:
        found = minimize(
            _negative_log_posterior,
            np.clip(start.to_log(), *np.transpose(bounds)),
            args=(distances, y),
            jac=True,
            method="L-BFGS-B",
            bounds=bounds,
            options={"maxiter": max_iterations, "ftol": 1e-6},
        )
        if np.isfinite(found.fun) and (best is None or found.fun < best[0]):
            best = (float(found.fun), found.x)
    if best is None:
        return starts[0], -math.inf
    return Hyperparameters.from_log(best[1]), -best[0]


def log_marginal_likelihood(
    distances: Floats, y: Floats, hyperparameters: Hyperparameters
) -> tuple[float, Floats]:
    """Return the log marginal likelihood and its gradient by the log hyperparameters (d + 2,).

    Rasmussen & Williams (2006), eqs. 5.8 and 5.9. `distances` is (d, n, n), by column.
    """
    weights = hyperparameters.lengthscales**-2.0
    correlation, slope = matern(np.tensordot(weights, distances, axes=1))
    L = stable_cholesky(_covariance(correlation, hyperparameters))
    alpha = cho_solve((L, True), y, check_finite=False)
    value = (
        -0.5 * float(y @ alpha)
        - float(np.sum(np.log(np.diagonal(L))))
        - 0.5 * len(y) * math.log(2.0 * math.pi)
    )
    inner = 0.5 * (np.outer(alpha, alpha) - _inverse(L))
    by_distance = (inner * slope).ravel() @ distances.reshape(len(weights), -1).T
    gradient = np.concatenate(
        [
            -2.0 * hyperparameters.signal * weights * by_distance,
            [hyperparameters.signal * np.vdot(inner, correlation)],
            [hyperparameters.noise * np.trace(inner)],
        ]
    )
    return value, gradient


def log_prior(theta: Floats) -> tuple[float, Floats]:
    """Return the log prior density, up to a constant, and its gradient at log hyperparameters.

    Lengthscales: log-normal with location ``sqrt(2) + log(d) / 2`` and scale ``sqrt(3)`` (Hvarfner
    et al. 2024, section 5), as a density of the lengthscale; signal and noise: log-normal.
    """
    d = len(theta) - 2
    log_lengths = theta[:d]
    location, variance = math.sqrt(2.0) + 0.5 * math.log(max(d, 1)), 3.0
    value = float(np.sum(-0.5 * (log_lengths - location) ** 2 / variance - log_lengths))
    gradient = np.empty_like(theta)
    gradient[:d] = -(log_lengths - location) / variance - 1.0
    for i, (mean, deviation) in ((d, SIGNAL_PRIOR), (d + 1, NOISE_PRIOR)):
        value -= 0.5 * float((theta[i] - mean) / deviation) ** 2
        gradient[i] = -(theta[i] - mean) / deviation**2
    return value, gradient


def matern(squared: Floats) -> tuple[Floats, Floats]:
    """Return the Matern-5/2 correlation at squared distances, and its derivative by them."""
    s = np.sqrt(5.0 * squared)
    decay = np.exp(-s)
    return (1.0 + s + s * s / 3.0) * decay, -5.0 / 6.0 * (1.0 + s) * decay


def stable_cholesky(K: Floats) -> Floats:
    """Return the lower Cholesky factor of `K` (n, n), with as little jitter as makes it exist."""
    scale = float(np.mean(np.diagonal(K)))
    for jitter in (0.0, 1e-10, 1e-8, 1e-6, 1e-4):
        try:
            shifted = K + jitter * scale * np.eye(len(K)) if jitter else K
            return np.asarray(cholesky(shifted, lower=True, check_finite=False))
        except LinAlgError:
            continue
    raise LinAlgError("covariance is not positive definite even with a jitter of 1e-4")


def _covariance(correlation: Floats, hyperparameters: Hyperparameters) -> Floats:
    K = MEAN_VARIANCE + hyperparameters.signal * correlation
    K[np.diag_indices_from(K)] += hyperparameters.noise
    return K


def _inverse(L: Floats) -> Floats:
    """Return the inverse of the matrix whose lower Cholesky factor is `L`."""
    lower, _ = dpotri(L, lower=True)
    lower = np.tril(lower)
    return np.asarray(lower + np.tril(lower, -1).T)


def _negative_log_posterior(theta: Floats, distances: Floats, y: Floats) -> tuple[float, Floats]:
    try:
        value, gradient = log_marginal_likelihood(distances, y, Hyperparameters.from_log(theta))
    except LinAlgError:
        return math.inf, np.zeros_like(theta)
    prior, prior_gradient = log_prior(theta)
    return -(value + prior), -(gradient + prior_gradient)
