"""Weighted samples of the posterior distribution of the hyperparameters.

The model of a suggestion uses the most probable hyperparameters alone. This is fast, but with few
trials it understates the uncertainty: several levels of noise explain the same values. Here the
hyperparameters are integrated out by importance sampling. The proposal is a mixture of
multivariate t distributions, one at each mode of the posterior density, with the curvature at the
mode as the inverse scale (Laplace's approximation; Rasmussen & Williams 2006, section 5.3; Geweke
1989, "Bayesian inference in econometric models using Monte Carlo integration").
"""

from __future__ import annotations

import math

import numpy as np
from scipy.linalg import LinAlgError
from scipy.optimize import minimize
from scipy.special import logsumexp

from tuner.optimizers.bayesian.embedding import Bools, Embedding, Floats
from tuner.optimizers.bayesian.gaussian_process import (
    LOG_BOUNDS,
    Hyperparameters,
    log_marginal_likelihood,
    log_prior,
)

STARTS = ((0.5, 1e-3), (0.5, 0.1), (2.0, 0.4))
"""Lengthscale, in units of ``sqrt(d)``, and noise of each start of the search for modes."""

FREEDOM = 4.0
"""Degrees of freedom of the proposal; few give it heavier tails than the posterior."""

WIDEST = 3.0
"""Largest standard deviation of the proposal in a direction: the widest of the priors."""

SMALLEST_WEIGHT = 1e-3
"""Samples below this part of the largest weight are dropped."""


class _LogPosterior:
    """The log posterior density of the log hyperparameters, with its gradient.

    If the variance of the noise is known, the likelihood uses it, and the unused coordinate has a
    standard normal density around it.
    """

    def __init__(
        self, embedding: Embedding, X: Floats, active: Bools, y: Floats, noise: float | None
    ) -> None:
        self._noise = noise
        Z = embedding(X, active)
        effects = embedding.effects(X, active, Z)
        self._distances = embedding.squared_distances(Z, Z)
        self._shared = effects @ effects.T
        self._y = y
        self._d = embedding.columns

    def __call__(self, theta: Floats) -> tuple[float, Floats]:
        excess = 0.0
        if self._noise is not None:
            theta = theta.copy()
            excess = float(theta[-2]) - math.log(self._noise)
            theta[-2] -= excess
        try:
            value, gradient = log_marginal_likelihood(
                self._distances, self._shared, self._y, Hyperparameters.from_log(theta)
            )
        except LinAlgError:
            return -math.inf, np.zeros_like(theta)
        prior, prior_gradient = log_prior(theta)
        # `log_prior` is a density of the lengthscales; in their logarithms it has this Jacobian.
        jacobian = np.concatenate([np.ones(self._d), np.zeros(len(theta) - self._d)])
        slope = gradient + prior_gradient + jacobian
        if self._noise is not None:
            slope[-2] = -excess
        return value + prior + float(jacobian @ theta) - 0.5 * excess**2, slope

    def negative(self, theta: Floats) -> tuple[float, Floats]:
        """Return the negative value and gradient, for a minimizer."""
        value, gradient = self(theta)
        return -value, -gradient


def sample_hyperparameters(
    embedding: Embedding,
    X: Floats,
    active: Bools,
    y: Floats,
    rng: np.random.Generator,
    n: int = 100,
    noise: float | None = None,
) -> tuple[list[Hyperparameters], Floats]:
    """Return at most `n` samples of the hyperparameters and their weights, which sum to 1.

    Parameters
    ----------
    X, active
        The observed points and their masks, shape (m, d).
    y
        Standardized targets, shape (m,).
    rng
        Source of the samples.
    n
        Number of samples; those of negligible weight are dropped.
    noise
        Variance of the noise, in the units of `y` squared; None if it is unknown.
    """
    density = _LogPosterior(embedding, X, active, y, noise)
    modes = _modes(density, embedding.columns)
    scales = [_scale(density, mode) for mode in modes]
    k = len(modes[0])
    drawn = []
    for mode, scale in zip(modes, scales, strict=True):
        normal = rng.standard_normal((max(n // len(modes), 1), k))
        spread = np.sqrt(rng.chisquare(FREEDOM, (len(normal), 1)) / FREEDOM)
        drawn.append(mode + normal / spread @ scale.T)
    bounds = _log_bounds(embedding.columns)
    thetas = np.clip(np.vstack(drawn), *bounds.T)
    proposal = logsumexp(
        [_log_density(thetas, m, s) for m, s in zip(modes, scales, strict=True)], axis=0
    )
    logs = np.array([density(theta)[0] for theta in thetas]) - proposal
    weights = np.exp(logs - np.max(logs))
    kept = weights > SMALLEST_WEIGHT
    weights = weights[kept]
    if noise is not None:
        thetas[:, -2] = math.log(noise)
    samples = [Hyperparameters.from_log(theta) for theta in thetas[kept]]
    return samples, np.asarray(weights / np.sum(weights))


def _modes(density: _LogPosterior, d: int) -> list[Floats]:
    """Return the distinct modes that L-BFGS-B finds from each of `STARTS`."""
    bounds = _log_bounds(d)
    modes: list[Floats] = []
    for lengthscale, noise in STARTS:
        start = Hyperparameters.initial(d, lengthscale, noise).to_log()
        found = minimize(
            density.negative,
            np.clip(start, *bounds.T),
            jac=True,
            method="L-BFGS-B",
            bounds=bounds,
            options={"maxiter": 60},
        )
        if all(np.max(np.abs(found.x - mode)) > 0.3 for mode in modes):
            modes.append(np.asarray(found.x))
    return modes


def _scale(density: _LogPosterior, mode: Floats, step: float = 0.05) -> Floats:
    """Return a matrix A such that A A^T is the inverse curvature at a mode, within limits."""
    steps = step * np.eye(len(mode))
    slopes = np.array([density(mode + e)[1] - density(mode - e)[1] for e in steps])
    curvature = -(slopes + slopes.T) / (4.0 * step)
    values, vectors = np.linalg.eigh(curvature)
    return np.asarray(vectors / np.sqrt(np.clip(values, WIDEST**-2.0, 1e4)))


def _log_density(thetas: Floats, mode: Floats, scale: Floats) -> Floats:
    """Return the log density, up to a constant, of the t distribution of one mode at each row."""
    standard = np.linalg.solve(scale, (thetas - mode).T)
    squares = np.sum(standard**2, axis=0)
    tail = -0.5 * (FREEDOM + len(mode)) * np.log1p(squares / FREEDOM)
    return np.asarray(tail - np.linalg.slogdet(scale)[1])


def _log_bounds(d: int) -> Floats:
    """Return the lowest and highest log hyperparameters, shape (d + 3, 2)."""
    names = ("signal", "noise", "effects")
    return np.array([LOG_BOUNDS["lengthscale"]] * d + [LOG_BOUNDS[name] for name in names])
