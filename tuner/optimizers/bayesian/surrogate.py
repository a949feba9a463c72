"""Fit the model of the loss to a history.

Fitting costs more than prediction, so hyperparameters are refitted only at certain history sizes,
to at most `LEARN_FROM` trials. The selected trials depend on the history alone, so an interrupted
study fits the same model as an uninterrupted one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tuner.optimizers.bayesian.embedding import Bools, Embedding, Floats
from tuner.optimizers.bayesian.gaussian_process import GaussianProcess, Hyperparameters, fit
from tuner.optimizers.bayesian.rounding import MEAN_BITS, to_grid
from tuner.optimizers.bayesian.warping import (
    IDENTITY,
    WARPS,
    Warp,
    prepare,
    standardise,
    tie_weights,
    unit_of,
)

FEWEST_LOSSES = 6
"""Losses, tied ones counted once, below which they do not tell one warp from another."""

LEARN_FROM = 120
COMPARE_ON = 50
"""Maximum number of trials for fitting the hyperparameters, and for comparing the warps."""


@dataclass(frozen=True, slots=True)
class Learned:
    """The warp of the losses and the hyperparameters of their model."""

    warp: Warp
    hyperparameters: Hyperparameters


def learning_size(n: int) -> int:
    """Return how many of the first `n` trials to fit: all up to 20, then in steps of 5-10%.

    Examples
    --------
    >>> [learning_size(n) for n in (7, 20, 21, 47, 99, 200)]
    [7, 20, 20, 44, 96, 192]
    """
    step = 1
    while 20 * step <= n:
        step *= 2
    step = max(step // 2, 1) * (2 if n > 20 else 1)
    return n - n % step


def learn(
    embedding: Embedding,
    X: Floats,
    active: Bools,
    losses: Floats,
    warps: Sequence[Warp] = WARPS,
    doubt: float = 0.0,
    noise: float | None = None,
) -> Learned:
    """Return the warp with the best predictions and its MAP hyperparameters.

    Parameters
    ----------
    X, active
        The points and their masks, shape (n, d).
    losses
        Shape (n,); not finite for failed trials; at least one is finite.
    warps
        The candidate warps.
    doubt
        Minimum gain in log density required to choose a warp other than the first.
    noise
        Standard deviation of the noise in the units of `losses`, if it is known.
    """
    good = np.isfinite(losses)
    scaled = prepare(losses[good])
    known = None if noise is None else _noise_of_scaled(noise, losses[good])
    few = evenly(scaled, COMPARE_ON)
    warp, start = choose_warp(
        embedding, X[good][few], active[good][few], scaled[few], warps, doubt, known
    )
    many = evenly(scaled, LEARN_FROM)
    y, deviation = standardise(warp(scaled[many]))
    hyperparameters, _ = fit(
        embedding,
        X[good][many],
        active[good][many],
        y,
        None if start is None else (start,),
        noise=_warped_noise(known, warp, scaled[many], deviation),
    )
    return Learned(warp, hyperparameters)


def _noise_of_scaled(noise: float, losses: Floats) -> float:
    """Return the standard deviation of the noise in the units of `prepare`."""
    with np.errstate(over="ignore"):  # beside losses of 1e308, no noise is left
        unit = unit_of(losses - np.min(losses))
    return noise / unit if unit else 0.0


def _warped_noise(
    noise: float | None, warp: Warp, scaled: Floats, deviation: float
) -> float | None:
    """Return the mean variance of the noise of warped, standardized losses; None if unknown.

    A warp stretches the noise by its slope, so the noise is larger near the best loss.
    """
    if noise is None:
        return None
    return float(np.mean((noise / deviation * np.exp(warp.log_slope(scaled))) ** 2))


def choose_warp(
    embedding: Embedding,
    X: Floats,
    active: Bools,
    scaled: Floats,
    warps: Sequence[Warp],
    doubt: float,
    noise: float | None = None,
) -> tuple[Warp, Hyperparameters | None]:
    """Return the warp with the best leave-one-out predictions, and its hyperparameters.

    The criterion is the leave-one-out log predictive density (Rasmussen & Williams 2006, eq. 5.10).
    It is expressed as a density of the losses before the warp, so warps are comparable (Snelson et
    al. 2004, "Warped Gaussian Processes", eq. 6). Tied losses count less; see `tie_weights`. A
    known standard deviation of the noise is in the units of `scaled`.
    """
    weights = tie_weights(scaled)
    if np.sum(weights) < FEWEST_LOSSES:
        return IDENTITY, None
    start = Hyperparameters.initial(embedding.columns)
    best: tuple[Warp, Hyperparameters | None] = IDENTITY, None
    best_score = -np.inf
    for warp in warps:
        y, deviation = standardise(warp(scaled))
        known = _warped_noise(noise, warp, scaled, deviation)
        hyperparameters, _ = fit(embedding, X, active, y, (start,), max_iterations=20, noise=known)
        start = hyperparameters  # the optimum of the next warp is nearby
        model = GaussianProcess(embedding, X, active, y, hyperparameters)
        mean, variance = model.leave_one_out()
        density = -0.5 * ((y - mean) ** 2 / variance + np.log(variance))
        score = float(weights @ (density + warp.log_slope(scaled) - np.log(deviation)))
        score -= 0.0 if warp == warps[0] else doubt
        if score > best_score:
            best, best_score = (warp, hyperparameters), score
    return best


def loss_model(
    learned: Learned, embedding: Embedding, X: Floats, active: Bools, losses: Floats
) -> GaussianProcess:
    """Return the posterior of the warped, standardized loss given `losses` (n,).

    A failed trial is assigned its predicted mean, limited to the best observed loss. It then
    promises no improvement and does not penalize its neighborhood.
    """
    good = np.isfinite(losses)
    y, _ = standardise(learned.warp(prepare(losses[good])))
    model = GaussianProcess(embedding, X[good], active[good], y, learned.hyperparameters)
    if good.all():
        return model
    expected, _ = model.predict(X[~good], active[~good])
    expected = to_grid(np.maximum(expected, np.min(y)), MEAN_BITS)
    return model.condition(X[~good], active[~good], expected)


def evenly(scaled: Floats, n: int) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    """Return the ascending indices of `n` trials with evenly spaced ranks of their losses."""
    if len(scaled) <= n:
        return np.arange(len(scaled))
    ranks = np.argsort(scaled, kind="stable")
    return np.sort(ranks[np.linspace(0, len(scaled) - 1, n).round().astype(int)])
