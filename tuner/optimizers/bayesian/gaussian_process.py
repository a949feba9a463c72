"""Gaussian process regression on mixed, conditional spaces.

The covariance of two points is

    k(x, x') = c + a f(x) . f(x') + s m(r),   m(r) = (1 + sqrt(5) r + 5/3 r^2) exp(-sqrt(5) r),

with a Matern-5/2 kernel (Rasmussen & Williams 2006, eq. 4.17) of the distance
``r^2 = sum_j d_j(x, x') / l_j^2`` with one lengthscale per column, where ``d_j`` is the squared
distance of `tuner.optimizers.bayesian.embedding`. The constant ``c`` is the prior variance of the
unknown mean of the function (ibid., eq. 2.40). Each feature in ``f`` depends on one column, so
the linear kernel with variance ``a`` models additive main effects (Duvenaud et al. 2011, "Additive
Gaussian Processes", arXiv:1112.4394). They share information between the options of a category,
which a pure product kernel treats as independent. Observations have noise of variance ``v``.

The lengthscales, ``s``, ``a`` and ``v`` are maximum a posteriori (MAP) estimates. The lengthscale
prior widens with the square root of the dimension (Hvarfner et al. 2024, arXiv:2402.02229), which
keeps the model useful in high dimensions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import LinAlgError
from scipy.linalg.lapack import dpotrf, dpotri, dpotrs, dtrtri
from scipy.optimize import minimize

from tuner.optimizers.bayesian.embedding import Bools, Embedding, Floats, squared_distances
from tuner.optimizers.bayesian.rounding import to_grid

MEAN_VARIANCE = 1.0
"""The prior variance of the unknown mean, in units of the standardized targets."""

SIGNAL_PRIOR = (0.0, 1.0)
NOISE_PRIOR = (-8.0, 3.0)
EFFECTS_PRIOR = (0.0, 2.0)
"""Prior mean and standard deviation of the logarithm of each variance."""

LOG_BOUNDS = {
    "lengthscale": (-4.0, 6.0),
    "signal": (-5.0, 5.0),
    "noise": (-16.0, 0.5),
    "effects": (-8.0, 4.0),
}


POSTERIOR_BITS, GRADIENT_BITS = 28, 24
"""The log posterior and its gradient are rounded to multiples of 2**-bits."""

LEARNED_BITS = 6
"""The logarithms of fitted hyperparameters are rounded to multiples of 2**-bits, or 1.6%."""


@dataclass(frozen=True, slots=True)
class Hyperparameters:
    """Lengthscales, shape (d,), and the variances of signal, noise and main effects."""

    lengthscales: Floats
    signal: float
    noise: float
    effects: float

    def to_log(self) -> Floats:
        """Return the logarithms as one vector, shape (d + 3,)."""
        return np.asarray(np.log([*self.lengthscales, self.signal, self.noise, self.effects]))

    @classmethod
    def from_log(cls, theta: Floats) -> Hyperparameters:
        """Create from the logarithms, in the order of `to_log`."""
        values = np.exp(theta)
        signal, noise, effects = values[-3:].tolist()
        return cls(values[:-3], signal, noise, effects)

    @classmethod
    def initial(cls, d: int, lengthscale: float = 0.5, noise: float = 1e-3) -> Hyperparameters:
        """Return initial values for `fit`; `lengthscale` is in units of ``sqrt(d)``."""
        lengthscales = np.full(d, lengthscale * math.sqrt(max(d, 1)))
        return cls(lengthscales, signal=1.0, noise=noise, effects=0.3)


class GaussianProcess:
    """The posterior of the model given observations and hyperparameters.

    Parameters
    ----------
    embedding
        The map from points to coordinates.
    X, active
        The observed points in the unit cube and the mask of their active entries, shape (n, d).
    y
        Standardized targets, shape (n,).
    hyperparameters
        Usually from `fit`.
    noise
        Variance of the noise of each target, shape (n,), if it differs between targets; it replaces
        that of `hyperparameters`.

    Examples
    --------
    >>> X = np.array([[0.1], [0.5], [0.9]])
    >>> y = np.array([-1.0, 0.0, 1.0])
    >>> embedding = Embedding(options=[0], conditional=[False])
    >>> parameters = Hyperparameters(np.array([0.3]), signal=1.0, noise=1e-6, effects=0.1)
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
        noise: Floats | None = None,
    ) -> None:
        self.embedding = embedding
        self.X, self.active, self.y = X, active, y
        self.hyperparameters = hyperparameters
        self._weights = np.sqrt(hyperparameters.lengthscales[embedding.column] ** -2.0)
        Z = embedding(X, active)
        self._Z, self._effects = Z * self._weights, embedding.effects(X, active, Z)
        correlation, _ = matern(squared_distances(self._Z, self._Z))
        np.fill_diagonal(correlation, 1.0)
        K = _covariance(correlation, self._effects @ self._effects.T, hyperparameters)
        if noise is not None:
            K[np.diag_indices_from(K)] += noise - hyperparameters.noise
        self._inverse, _ = dtrtri(stable_cholesky(K), lower=True)
        self._alpha = self._inverse.T @ (self._inverse @ y)
        self._pull = hyperparameters.effects * (self._alpha @ self._effects)

    def predict(self, X: Floats, active: Bools) -> tuple[Floats, Floats]:
        """Return the mean and variance, shape (m,), of the noise-free function at `X` (m, d).

        Rasmussen & Williams (2006), eqs. 2.25 and 2.26.
        """
        K, effects, _ = self._with_observed(X, active)
        V = K @ self._inverse.T
        variance = self._prior_variance(effects) - np.einsum("ij,ij->i", V, V)
        return K @ self._alpha, np.maximum(variance, self._least_variance)

    def predict_with_gradient(
        self, X: Floats, active: Bools
    ) -> tuple[Floats, Floats, Floats, Floats]:
        """Return the mean and variance, shape (m,), at `X` (m, d), and their gradients, (m, d).

        The gradients are zero in categorical and inactive columns.
        """
        h = self.hyperparameters
        Z = self.embedding(X, active)
        effects = self.embedding.effects(X, active, Z)
        slopes, bends = self.embedding.derivative(X, active)
        Z = Z * self._weights
        correlation, slope = matern(squared_distances(Z, self._Z))
        K = self._cross_covariance(correlation, effects)
        V = K @ self._inverse.T
        solved = V @ self._inverse
        variance = self._prior_variance(effects) - np.einsum("ij,ij->i", V, V)

        step = 2.0 * h.signal * self._weights * slopes
        sums = self.embedding.sum_by_column
        pulls = slope * self._alpha, slope * (-2.0 * solved)
        towards = [pull.sum(axis=1)[:, None] * Z - pull @ self._Z for pull in pulls]
        more = 2.0 * h.effects * (effects - solved @ self._effects)
        by_mean = sums(towards[0] * step, bends * self._pull)
        by_variance = sums(towards[1] * step, bends * more)
        by_variance[variance < self._least_variance] = 0.0
        return K @ self._alpha, np.maximum(variance, self._least_variance), by_mean, by_variance

    def mean(self, X: Floats, active: Bools) -> Floats:
        """Return the mean, shape (m,), at `X` (m, d): that of `predict` at a third of its cost."""
        K, _, _ = self._with_observed(X, active)
        return np.asarray(K @ self._alpha)

    def draw(self, X: Floats, active: Bools, n: int, rng: np.random.Generator) -> Floats:
        """Return `n` joint draws, shape (n, m), of the noise-free function at `X` (m, d)."""
        mean, covariance = self.predict_jointly(X, active)
        jitter = 1e-9 * float(np.mean(np.diagonal(covariance))) + 1e-14
        L = stable_cholesky(covariance + jitter * np.eye(len(mean)))
        return np.asarray(mean + rng.standard_normal((n, len(mean))) @ np.tril(L).T)

    def predict_jointly(self, X: Floats, active: Bools) -> tuple[Floats, Floats]:
        """Return the mean, shape (m,), and covariance, (m, m), of the noise-free function at `X`.

        Rasmussen & Williams (2006), eq. 2.24.
        """
        h = self.hyperparameters
        K, effects, Z = self._with_observed(X, active)
        V = K @ self._inverse.T
        own, _ = matern(squared_distances(Z, Z))
        prior = MEAN_VARIANCE + h.signal * own + h.effects * (effects @ effects.T)
        return K @ self._alpha, prior - V @ V.T

    def leave_one_out(self) -> tuple[Floats, Floats]:
        """Return the mean and variance, shape (n,), of each target given all other targets.

        The variance includes the noise. Rasmussen & Williams (2006), eq. 5.12.
        """
        precision = np.sum(self._inverse**2, axis=0)
        return self.y - self._alpha / precision, 1.0 / precision

    def condition(self, X: Floats, active: Bools, y: Floats) -> GaussianProcess:
        """Return the posterior given additional observations; hyperparameters are unchanged."""
        return GaussianProcess(
            self.embedding,
            np.concatenate([self.X, X]),
            np.concatenate([self.active, active]),
            np.concatenate([self.y, y]),
            self.hyperparameters,
        )

    def _with_observed(self, X: Floats, active: Bools) -> tuple[Floats, Floats, Floats]:
        """Return the covariance (m, n) of `X` (m, d) with the observed points, and its features.

        These are the effects and the coordinates in units of the lengthscales.
        """
        Z = self.embedding(X, active)
        effects = self.embedding.effects(X, active, Z)
        Z = Z * self._weights
        correlation, _ = matern(squared_distances(Z, self._Z))
        return self._cross_covariance(correlation, effects), effects, Z

    def _cross_covariance(self, correlation: Floats, effects: Floats) -> Floats:
        """Return the covariance, shape (m, n), of m other points with the observed points."""
        h = self.hyperparameters
        K = h.signal * correlation
        K += MEAN_VARIANCE
        K += effects @ (h.effects * self._effects).T
        return K

    def _prior_variance(self, effects: Floats) -> Floats:
        """Return the prior variance of points, shape (m,)."""
        h = self.hyperparameters
        squares = np.einsum("ij,ij->i", effects, effects)
        return np.asarray(MEAN_VARIANCE + h.signal + h.effects * squares)

    @property
    def _least_variance(self) -> float:
        return 1e-12 * (MEAN_VARIANCE + self.hyperparameters.signal)


def fit(
    embedding: Embedding,
    X: Floats,
    active: Bools,
    y: Floats,
    starts: Sequence[Hyperparameters] | None = None,
    max_iterations: int = 40,
    noise: float | None = None,
) -> tuple[Hyperparameters, float]:
    """Return the MAP hyperparameters and their log posterior density.

    L-BFGS-B with analytic gradients runs from each of `starts`, or from two fixed starts if None,
    so the result is a function of the arguments alone. The result and intermediate values are
    rounded; see `tuner.optimizers.bayesian.rounding`. The variance of the noise, in the units of
    `y` squared, is fixed if `noise` is given.
    """
    d = embedding.columns
    if starts is None:
        starts = (Hyperparameters.initial(d), Hyperparameters.initial(d, 2.0, 1e-2))
    Z = embedding(X, active)
    distances = embedding.squared_distances(Z, Z)
    effects = embedding.effects(X, active, Z)
    shared = effects @ effects.T
    bounds = [LOG_BOUNDS["lengthscale"]] * d
    bounds += [LOG_BOUNDS[name] for name in ("signal", "noise", "effects")]
    if noise is not None:
        low, high = LOG_BOUNDS["noise"]
        bounds[-2] = (min(max(math.log(noise), low), high) if noise > 0.0 else low,) * 2
    best: tuple[float, Floats] | None = None
    for start in starts:
        found = minimize(
            _negative_log_posterior,
            np.clip(start.to_log(), *np.transpose(bounds)),
            args=(distances, shared, y),
            jac=True,
            method="L-BFGS-B",
            bounds=bounds,
            options={"maxiter": max_iterations, "ftol": 1e-6},
        )
        if np.isfinite(found.fun) and (best is None or found.fun < best[0]):
            best = (float(found.fun), found.x)
    if best is None:
        return starts[0], -math.inf
    return Hyperparameters.from_log(to_grid(best[1], LEARNED_BITS)), -best[0]


def log_marginal_likelihood(
    distances: Floats, shared: Floats, y: Floats, hyperparameters: Hyperparameters
) -> tuple[float, Floats]:
    """Return the log marginal likelihood and its gradient by the log hyperparameters (d + 3,).

    Rasmussen & Williams (2006), eqs. 5.8 and 5.9. `distances` (d, n, n) contains the squared
    distances by column, `shared` (n, n) the inner products of effects.
    """
    weights = hyperparameters.lengthscales**-2.0
    correlation, slope = matern(np.tensordot(weights, distances, axes=1))
    L = stable_cholesky(_covariance(correlation, shared, hyperparameters))
    alpha, _ = dpotrs(L, y, lower=True)
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
            [hyperparameters.effects * np.vdot(inner, shared)],
        ]
    )
    return value, gradient


def log_prior(theta: Floats) -> tuple[float, Floats]:
    """Return the log prior density, up to a constant, and its gradient at log hyperparameters.

    Lengthscales are log-normal with location ``sqrt(2) + log(d) / 2`` and scale ``sqrt(3)``
    (Hvarfner et al. 2024, section 5), as a density of the lengthscale. Variances are log-normal.
    """
    d = len(theta) - 3
    log_lengths = theta[:d]
    location, variance = math.sqrt(2.0) + 0.5 * math.log(max(d, 1)), 3.0
    value = float(np.sum(-0.5 * (log_lengths - location) ** 2 / variance - log_lengths))
    gradient = np.empty_like(theta)
    gradient[:d] = -(log_lengths - location) / variance - 1.0
    for i, (mean, deviation) in enumerate((SIGNAL_PRIOR, NOISE_PRIOR, EFFECTS_PRIOR), start=d):
        value -= 0.5 * float((theta[i] - mean) / deviation) ** 2
        gradient[i] = -(theta[i] - mean) / deviation**2
    return value, gradient


def matern(squared: Floats) -> tuple[Floats, Floats]:
    """Return the Matern-5/2 correlation at squared distances, and its derivative by these."""
    s = np.sqrt(5.0 * squared)
    decay = np.exp(-s)
    slope = (1.0 + s) * decay
    return slope + s * s * decay / 3.0, -5.0 / 6.0 * slope


def stable_cholesky(K: Floats) -> Floats:
    """Return the lower Cholesky factor of `K` (n, n), with the smallest sufficient jitter."""
    scale = float(np.mean(np.diagonal(K)))
    for jitter in (0.0, 1e-10, 1e-8, 1e-6, 1e-4):
        L, fault = dpotrf(K + jitter * scale * np.eye(len(K)) if jitter else K, lower=True)
        if not fault:
            return np.asarray(L)
    raise LinAlgError("covariance is not positive definite even with a jitter of 1e-4")


def _covariance(correlation: Floats, shared: Floats, hyperparameters: Hyperparameters) -> Floats:
    K = MEAN_VARIANCE + hyperparameters.signal * correlation + hyperparameters.effects * shared
    K[np.diag_indices_from(K)] += hyperparameters.noise
    return K


def _inverse(L: Floats) -> Floats:
    """Return the inverse of the matrix whose lower Cholesky factor is `L`."""
    lower, _ = dpotri(L, lower=True)
    lower = np.tril(lower)
    return np.asarray(lower + np.tril(lower, -1).T)


def _negative_log_posterior(
    theta: Floats, distances: Floats, shared: Floats, y: Floats
) -> tuple[float, Floats]:
    try:
        value, gradient = log_marginal_likelihood(
            distances, shared, y, Hyperparameters.from_log(theta)
        )
    except LinAlgError:
        return math.inf, np.zeros_like(theta)
    prior, prior_gradient = log_prior(theta)
    value = float(to_grid(np.asarray(value + prior), POSTERIOR_BITS))
    return -value, -to_grid(gradient + prior_gradient, GRADIENT_BITS)
