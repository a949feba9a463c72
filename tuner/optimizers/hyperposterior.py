"""Hyperparameters that explain the observations nearly as well as the most probable ones.

A few trials leave open which parameters matter and how rough the loss is. A search that trusts the
one most probable answer may keep away from the best option of a category because of one unlucky
trial; one that averages over the answers does not (Snoek et al. 2012, "Practical Bayesian
Optimization of Machine Learning Algorithms", arXiv:1206.2944, section 3.2). The answers are drawn
from Laplace's approximation of their posterior: a normal distribution of the logarithms around the
most probable ones, as wide as the curvature there says (Rasmussen & Williams 2006, section 3.4).
"""

from __future__ import annotations

import numpy as np

from tuner.optimizers.embedding import Bools, Embedding, Floats
from tuner.optimizers.gaussian_process import (
    Hyperparameters,
    negative_log_posterior,
    search_bounds,
)

STEP = 0.1
"""How far apart, in logarithms, the two gradients are that a curvature is measured from."""

LEAST_CURVATURE = 1.0
"""No direction deviates by more than a factor of e: what the data leave open, as wide as the prior,
would mostly be models that predict nothing."""


def spread(
    embedding: Embedding, X: Floats, active: Bools, y: Floats, best: Hyperparameters
) -> Floats:
    """Return a root of the covariance of the log hyperparameters around the most probable, `best`.

    Parameters
    ----------
    X, active, y
        What `best` was fitted to: points (n, d), which entries are active, targets (n,).
    """
    Z = embedding(X, active)
    distances = embedding.squared_distances(Z, Z)
    effects = embedding.effects(X, active, Z)
    shared = effects @ effects.T
    centre = best.to_log()
    _, level = negative_log_posterior(centre, distances, shared, y)
    curvature = np.empty((len(centre), len(centre)))
    for i in range(len(centre)):
        beside = centre.copy()
        beside[i] += STEP
        _, gradient = negative_log_posterior(beside, distances, shared, y)
        curvature[i] = (gradient - level) / STEP
    values, directions = np.linalg.eigh((curvature + curvature.T) / 2.0)
    return np.asarray(directions / np.sqrt(np.maximum(values, LEAST_CURVATURE)))


def draw(best: Hyperparameters, root: Floats, rng: np.random.Generator) -> Hyperparameters:
    """Return hyperparameters drawn from the posterior around `best`; `root` is from `spread`."""
    theta = best.to_log() + root @ rng.standard_normal(len(root))
    lower, upper = np.transpose(search_bounds(len(best.lengthscales)))
    return Hyperparameters.from_log(np.clip(theta, lower, upper))
