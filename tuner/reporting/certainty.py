"""Certainty of the winner: the probability that it is the best, given the noise of the values.

The best of many noisy values is biased upwards: among equal points, luck decides. So the relevant
quantity is not the size of the lead, but the probability that another trial would be the best if
all were measured again without noise.

If a study has repeats, the noise is the pooled deviation of trials at the same point, whose values
differ only by noise. Without repeats, the noise is estimated by a Gaussian process, fitted to the
better half of the trials: the part of the values that the params do not explain. If this noise is
negligible, the lead is taken as it is.

The true value of each leading trial then has a normal distribution: with repeats around the mean of
its values, else around the process's mean, which shrinks lucky values towards their neighbors. The
probability of each trial is the share of many draws in which it is the best. The draws are
independent, which overstates the uncertainty between near neighbors.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tuner.optimizers import ranking
from tuner.records import Goal, Trial
from tuner.search_spaces import Space

LEADERS = 10
"""Trials that are compared with the winner."""

FEWEST = 10
"""Completed trials below which a model says nothing about noise."""

FITTED = 80
"""Trials that the model is fitted to, at most: its time grows with their cube."""

DRAWS = 20_000

REPEATS = 3
"""Repeated values, beyond the first of each point, from which noise is measured."""

NEGLIGIBLE = 0.03
"""Noise, as a part of the spread of the better half, that a model cannot tell from none."""


@dataclass(frozen=True, slots=True)
class Certainty:
    """Certainty of the winner of a study.

    `lead` is its advantage over the `runner_up`, the best trial at another point; None if no other
    point was measured. `noise` is the standard deviation of a value, None if it is unknown, and
    `method` is its source: ``"repeats"``, ``"model"`` or ``""``. `chances` maps the number of the
    best trial at each leading point to the share of draws in which it was the best, the winner
    first. `n` is the number of values or trials that the noise is estimated from.
    """

    winner: int
    runner_up: int | None = None
    lead: float | None = None
    noise: float | None = None
    method: str = ""
    n: int = 0
    chances: tuple[tuple[int, float], ...] = ()

    @property
    def chance(self) -> float | None:
        """The share of draws in which the winner was the best, None if unknown."""
        return self.chances[0][1] if self.chances else None


@dataclass(frozen=True, slots=True)
class _Point:
    """The losses at one point, and the trial with the lowest loss."""

    best: Trial
    losses: tuple[float, ...]


def certainty_of(space: Space, goal: Goal, trials: Sequence[Trial], seed: int = 0) -> Certainty:
    """Return the certainty of the best of `trials`, of which at least one is eligible.

    Parameters
    ----------
    space, goal
        The space and the first goal of the study.
    trials
        All trials of the study.
    seed
        Seed of the draws, so that the same study gives the same result.
    """
    points = _points(space, goal, trials)
    winner = points[0].best
    if len(points) < 2:
        return Certainty(winner.number)
    lead = abs(points[1].best.values[0] - winner.values[0])
    facts = (winner.number, points[1].best.number, lead)
    leaders = points[:LEADERS]
    repeats = sum(len(p.losses) - 1 for p in points)
    if repeats >= REPEATS:
        squares = sum(float(np.var(p.losses)) * len(p.losses) for p in points)
        noise = math.sqrt(squares / repeats)
        mean = np.array([np.mean(p.losses) for p in leaders])
        deviation = np.array([noise / math.sqrt(len(p.losses)) for p in leaders])
        method, n = "repeats", repeats + sum(len(p.losses) > 1 for p in points)
    elif len(points) >= FEWEST:
        better = points[: max(FEWEST, min(len(points) // 2, FITTED))]
        noise, mean, deviation = _by_model(space, better, len(leaders))
        method, n = "model", len(better)
    else:
        return Certainty(*facts)
    chances = _chances(mean, deviation, np.random.default_rng(seed))
    numbered = [(p.best.number, float(c)) for p, c in zip(leaders, chances, strict=True)]
    return Certainty(*facts, noise, method, n, tuple(numbered))


def in_words(chance: float) -> str:
    """Return a chance as text, rounded to a meaningful precision.

    Examples
    --------
    >>> in_words(0.997), in_words(0.63), in_words(0.01)
    ('more than 95%', 'about 65%', 'less than 5%')
    """
    if chance > 0.95:
        return "more than 95%"
    if chance < 0.05:
        return "less than 5%"
    return f"about {5 * round(20 * chance)}%"


def _points(space: Space, goal: Goal, trials: Sequence[Trial]) -> list[_Point]:
    """Return the measured points, the best first."""
    sign = goal.direction.sign
    groups: dict[Hashable, list[Trial]] = defaultdict(list)
    for trial in trials:
        if trial.eligible and math.isfinite(trial.values[0]):
            groups[space.key(trial.params)].append(trial)
    points = []
    for group in groups.values():
        best = ranking.best_first(goal, group)[0]
        points.append(_Point(best, tuple(sign * t.values[0] for t in group)))
    by_trial = {point.best.number: point for point in points}
    return [by_trial[t.number] for t in ranking.best_first(goal, [p.best for p in points])]


def _by_model(
    space: Space, points: Sequence[_Point], leaders: int
) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """Return the noise, and the mean and deviation of the true losses of the leading points."""
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    from tuner.optimizers.bayesian.gaussian_process import GaussianProcess, fit
    from tuner.optimizers.bayesian.unit_cube import UnitCube

    losses = np.array([float(np.mean(p.losses)) for p in points])
    spread = float(np.std(losses))
    if spread == 0.0:
        return 0.0, losses[:leaders], np.zeros(leaders)
    y = (losses - np.mean(losses)) / spread
    X, active = space.encode([p.best.params for p in points])
    embedding = UnitCube(space).embedding
    with threadpool_limits(1):  # the matrices are too small for more threads to help
        hyperparameters, _ = fit(embedding, X, active, y)
    noise = math.sqrt(hyperparameters.noise)
    if noise < NEGLIGIBLE:
        return 0.0, losses[:leaders], np.zeros(leaders)
    model = GaussianProcess(embedding, X, active, y, hyperparameters)
    mean, variance = model.predict(X[:leaders], active[:leaders])
    return noise * spread, mean * spread + np.mean(losses), np.sqrt(variance) * spread


def _chances(
    mean: NDArray[np.float64], deviation: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.float64]:
    """Return the share of independent normal draws in which each is the lowest."""
    draws = mean + deviation * rng.standard_normal((DRAWS, len(mean)))
    return np.bincount(draws.argmin(axis=1), minlength=len(mean)) / DRAWS
