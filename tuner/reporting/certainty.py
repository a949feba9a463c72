"""How sure we are of the winner: its lead over the others against the noise of the values.

The best of many noisy values is better than it deserves: among equals, luck decides. So the
question is not how large the lead is, but how often another trial would be the best if all were
measured again without noise.

The noise comes from repeats where a study has them: trials at the same point, whose values differ
by noise alone (their pooled deviation). Without repeats it is what a Gaussian process takes for
noise, fitted to the better half of the trials: the part of the values that their params do not
explain. Where the process has no noise to speak of, the lead is as it stands.

Each of the leading trials then has a true value that is uncertain by a normal distribution: with
repeats around the mean of its values, else around the process's mean, which draws lucky values
back towards their neighbours. Drawing from all of them many times, we count how often each is the
best. The draws are independent, which overstates the doubt between near neighbours.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tuner import ranking
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
    """What can be said about the winner.

    `lead` is by how much it is better than the `runner_up`, the best trial at another point; None
    if there is none. `noise` is the deviation of a value, None if it is unknown, and `method` says
    where it comes from: ``"repeats"``, ``"model"`` or ``""``. `chances` gives for each leading
    point, by the number of its best trial, how often it came out as the best, the winner first.
    `n` is how many values or trials the noise comes from.
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
        """How often the winner came out as the best, None if nothing is known."""
        return self.chances[0][1] if self.chances else None


@dataclass(frozen=True, slots=True)
class _Point:
    """What was measured at one point: the losses, and the trial with the lowest."""

    best: Trial
    losses: tuple[float, ...]


def certainty_of(space: Space, goal: Goal, trials: Sequence[Trial], seed: int = 0) -> Certainty:
    """Return how sure we are of the best of `trials`, of which one at least is eligible.

    Parameters
    ----------
    space, goal
        Those of the study; of several goals the first.
    trials
        All its trials.
    seed
        Of the draws, so that the same study gives the same answer.
    """
    points = _points(space, goal, trials)
    winner = points[0].best
    if len(points) < 2:
        return Certainty(winner.number)
    sign = goal.direction.sign
    lead = sign * (points[1].best.values[0] - winner.values[0])
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
    """Return a chance as precisely as it deserves.

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
    """Return the points that were measured, the best first."""
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
    """Return the noise, and mean and deviation of the true losses of the leading points."""
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    from tuner.optimizers.gaussian_process import GaussianProcess, fit
    from tuner.optimizers.unit_cube import UnitCube

    losses = np.array([float(np.mean(p.losses)) for p in points])
    spread = float(np.std(losses))
    if spread == 0.0:
        return 0.0, losses[:leaders], np.zeros(leaders)
    y = (losses - np.mean(losses)) / spread
    X, active = space.encode([p.best.params for p in points])
    embedding = UnitCube(space).embedding
    with threadpool_limits(1):  # the matrices are too small for more threads to be of use
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
    """Return how often each is the lowest of independent normal draws."""
    draws = mean + deviation * rng.standard_normal((DRAWS, len(mean)))
    return np.bincount(draws.argmin(axis=1), minlength=len(mean)) / DRAWS
