"""Estimates of the true values of the leading points of a study, given noisy values.

The best of many noisy values is biased upwards: among points that are nearly equal, luck decides.
The posterior distribution of a Gaussian process over all values removes this bias, because it
shrinks a lucky value towards the values of its neighbors. Further runs of a trial are further
observations of the same point. The hyperparameters, the level of the noise among them, are
integrated out (see `tuner.optimizers.bayesian.hyperposterior`), since a single level of noise that
happens to explain the values gives intervals that are too short.

A study with few points has no such model. Its noise is then the pooled deviation of repeated
values, and each mean is shrunk towards a common center as far as the values of the points agree (a
hierarchical normal model; Gelman et al. 2013, section 5.4). Without repeats, the noise is the
standard error that cross-validations recorded, if there are any.

The result is a matrix of joint draws of the true values. Means, intervals, the chance of each point
to be the best, and the decisions of `tuner.optimizers.racing` all follow from these draws.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tuner.optimizers import ranking
from tuner.records import Goal, Trial
from tuner.records.estimate import STANDARD_ERROR
from tuner.search_spaces import Space

Floats = NDArray[np.float64]

LEADERS = 10
"""Number of points whose values are estimated."""

FEWEST = 10
"""Points below which no model is fitted."""

DRAWS = 4_000
"""Joint draws of the true values."""

HUGE = 1e100
"""Value above which squares overflow, so nothing is known about the noise."""

VARIANCES = 200
"""Draws of the variance of the noise of few points, over which the joint draws are spread."""

SPREADS, WIDEST_SPREAD = 40, 4.0
"""Deviations of the true values that are compared, and the widest, in units of what is observed."""

LEVEL = 0.95
"""Probability of an interval."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """The true value of one point, estimated.

    Attributes
    ----------
    trial : int
        Number of the best trial at this point.
    runs : int
        Number of values that were observed at this point.
    observed : float
        Their mean.
    mean : float
        The expected true value.
    low, high : float
        Bounds of the 95 % interval of the true value; NaN if the noise is unknown.
    chance : float
        Probability that this point is the best of the leading points; NaN if the noise is unknown.
    """

    trial: int
    runs: int
    observed: float
    mean: float
    low: float = math.nan
    high: float = math.nan
    chance: float = math.nan


@dataclass(frozen=True, slots=True)
class Estimates:
    """The estimated true values of the leading points of a study.

    Attributes
    ----------
    leaders : tuple of Estimate
        The leading points, the winner first, then by expected value.
    best_observed : Estimate
        The estimate of the trial with the best value.
    noise : float or None
        Standard deviation of a value, in the units of the goal; 0 if no noise was found, None if
        it is unknown.
    source : str
        Source of the noise: ``"model"``, ``"repeats"``, ``"folds"``, ``"given"``, or ``""`` if
        it is unknown.
    optimism : float
        How much better the best value looks than it is expected to be; 0 without noise. Chance may
        make it negative.
    draws : ndarray
        Joint draws of the losses of `leaders`, shape (s, k); one row if the values are exact.
    """

    leaders: tuple[Estimate, ...]
    best_observed: Estimate
    noise: float | None
    source: str
    optimism: float
    draws: Floats = field(repr=False, compare=False)

    @property
    def winner(self) -> Estimate:
        """The estimate of the winner."""
        return self.leaders[0]


@dataclass(frozen=True, slots=True)
class _Point:
    """The losses at one point, and the trial that stands for it."""

    trial: Trial
    losses: tuple[float, ...]

    @property
    def mean(self) -> float:
        return float(np.mean(self.losses))


def estimate(
    space: Space,
    goal: Goal,
    trials: Sequence[Trial],
    repeats: Mapping[int, Sequence[float]] | None = None,
    *,
    noise: float | None = None,
    leaders: int = LEADERS,
    seed: int = 0,
) -> Estimates:
    """Return the estimated true values of the leading points among `trials`.

    Parameters
    ----------
    space, goal
        The space and the first goal of the study.
    trials
        All trials of the study; at least one is completed and feasible.
    repeats
        Values of further runs, by the number of the trial.
    noise
        Standard deviation of a value in the units of the goal, if it is known; 0 for none.
    leaders
        Number of points to estimate.
    seed
        Seed of the draws, so that the same study gives the same result.

    Raises
    ------
    ValueError
        If no trial is completed and feasible.
    """
    points = _points(space, goal, trials, repeats or {})
    if not points:
        raise ValueError("no trial is completed and feasible")
    rng = np.random.default_rng(seed)
    found: _Posterior | None = None
    source = "given"
    largest = max(abs(loss) for p in points for loss in p.losses)
    if noise == 0.0:
        found = _EXACT
    elif largest > HUGE:
        found = None
    elif len(points) >= FEWEST:
        found = _by_model(space, goal, points, noise, leaders, rng)
        source = "model" if noise is None else "given"
    elif noise is not None or any(len(p.losses) > 1 for p in points):
        found = _by_repeats(goal, points, noise, leaders, rng)
        source = "repeats" if noise is None else "given"
    elif (of_folds := _noise_of_folds(goal, points)) is not None:
        found = _by_repeats(goal, points, of_folds, leaders, rng)
        source = "folds"
    return _assembled(goal, points, found, source, leaders)


@dataclass(frozen=True, slots=True)
class _Posterior:
    """The noise, the indices of the leading points, and draws of their losses, shape (s, k)."""

    noise: float
    chosen: NDArray[np.intp]
    draws: Floats


_EXACT = _Posterior(0.0, np.zeros(0, dtype=np.intp), np.zeros((0, 0)))
"""Values without noise, which are the true ones."""


def _assembled(
    goal: Goal,
    points: Sequence[_Point],
    found: _Posterior | None,
    source: str,
    leaders: int,
) -> Estimates:
    """Return the estimates, the winner first."""
    sign = goal.direction.sign
    if found is None or found.noise == 0.0:
        chosen = list(points[:leaders])
        exact = found is not None
        draws = np.array([[p.mean for p in chosen]])
        made = [_exact(p, sign, i == 0, exact) for i, p in enumerate(chosen)]
        noise = 0.0 if exact else None
        return Estimates(tuple(made), made[0], noise, source if exact else "", 0.0, draws)
    chosen = [points[i] for i in found.chosen]
    mean = found.draws.mean(axis=0)
    observed = np.array([p.mean for p in chosen])
    order = np.lexsort((observed, mean)).tolist()
    draws = found.draws[:, order]
    tail = 50.0 * (1.0 - LEVEL)
    low, high = np.percentile(draws, [tail, 100.0 - tail], axis=0)
    chances = np.bincount(draws.argmin(axis=1), minlength=len(order)) / len(draws)
    made = []
    for place, i in enumerate(order):
        lower, upper = sorted((sign * float(low[place]), sign * float(high[place])))
        made.append(
            Estimate(
                chosen[i].trial.number,
                len(chosen[i].losses),
                sign * float(observed[i]),
                sign * float(mean[i]),
                lower,
                upper,
                float(chances[place]),
            )
        )
    place = [chosen[i] for i in order].index(_best_value(goal, chosen))
    best = made[place]
    optimism = sign * (best.mean - best.observed)
    return Estimates(tuple(made), best, found.noise, source, optimism, draws)


def _exact(point: _Point, sign: float, first: bool, exact: bool) -> Estimate:
    value = sign * point.mean
    if not exact:
        return Estimate(point.trial.number, len(point.losses), value, value)
    chance = 1.0 if first else 0.0
    return Estimate(point.trial.number, len(point.losses), value, value, value, value, chance)


def _points(
    space: Space, goal: Goal, trials: Sequence[Trial], repeats: Mapping[int, Sequence[float]]
) -> list[_Point]:
    """Return the measured points, by the mean of their losses; ties by the number of the trial."""
    sign = goal.direction.sign
    groups: dict[Hashable, list[Trial]] = defaultdict(list)
    for trial in trials:
        if trial.eligible and math.isfinite(trial.values[0]):
            groups[space.key(trial.params)].append(trial)
    points = []
    for group in groups.values():
        values = [x for t in group for x in (t.values[0], *repeats.get(t.number, ()))]
        finite = tuple(sign * x for x in values if math.isfinite(x))
        best = ranking.best(goal, group)
        assert best is not None  # all trials of the group are eligible
        points.append(_Point(best, finite))
    return sorted(points, key=lambda p: (p.mean, p.trial.number))


def _best_value(goal: Goal, points: Sequence[_Point]) -> _Point:
    """Return the point of the best trial, whatever its repeats were."""
    best = ranking.best(goal, [p.trial for p in points])
    return next(p for p in points if p.trial is best)


def _leading(goal: Goal, points: Sequence[_Point], mean: Floats, leaders: int) -> NDArray[np.intp]:
    """Return the indices of the points with the lowest means, and of the best value."""
    chosen = np.argsort(mean, kind="stable")[:leaders]
    best = points.index(_best_value(goal, points))
    return chosen if best in chosen else np.append(chosen[: leaders - 1], best)


def _noise_of_folds(goal: Goal, points: Sequence[_Point]) -> float | None:
    """Return the pooled standard error that cross-validations recorded, None without any."""
    found = [p.trial.metrics.get(f"{goal.metric}{STANDARD_ERROR}", math.nan) for p in points]
    known = [x for x in found if math.isfinite(x) and 0.0 <= x < HUGE]
    return math.sqrt(float(np.mean(np.square(known)))) if known else None


# --- few points -----------------------------------------------------------------------------------


def _by_repeats(
    goal: Goal,
    points: Sequence[_Point],
    noise: float | None,
    leaders: int,
    rng: np.random.Generator,
) -> _Posterior:
    """Return draws of the true losses by the pooled noise of repeated values."""
    counts = np.array([len(p.losses) for p in points], dtype=float)
    means = np.array([p.mean for p in points])
    freedom = int(np.sum(counts - 1.0))
    if noise is None:
        squares = sum(float(np.var(p.losses)) * len(p.losses) for p in points)
        variances = squares / rng.chisquare(freedom, VARIANCES)
        noise = math.sqrt(squares / freedom)
    else:
        variances = np.array([noise**2])
    if noise == 0.0:
        return _EXACT
    draws = _shrunk(means, variances[:, None] / counts, rng)
    chosen = _leading(goal, points, draws.mean(axis=0), leaders)
    return _Posterior(noise, chosen, draws[:, chosen])


def _shrunk(means: Floats, variances: Floats, rng: np.random.Generator) -> Floats:
    """Return draws of the true losses of points whose true losses are normally distributed.

    The center and the deviation of that distribution have flat priors. They are drawn as well, by
    Gelman et al. (2013), "Bayesian Data Analysis", section 5.4: a single estimate of each gives
    intervals that are too short.

    Parameters
    ----------
    means
        The mean of the values of each point, shape (n,).
    variances
        Draws of the variances of these means, shape (s, n).
    """
    # Two points do not bound the deviation, so the grid ends at a multiple of what they show.
    widest = WIDEST_SPREAD * (float(np.ptp(means)) + math.sqrt(float(np.median(variances))))
    grid = widest * np.linspace(0.0, 1.0, SPREADS) ** 2
    precision = 1.0 / (variances[:, None, :] + grid[:, None] ** 2)  # (s, spreads, n)
    total = precision.sum(axis=2)
    center = precision @ means / total
    misfit = np.sum(precision * (means - center[:, :, None]) ** 2, axis=2)
    log_density = 0.5 * (np.log(precision).sum(axis=2) - np.log(total) - misfit)
    density = np.exp(log_density - log_density.max(axis=1, keepdims=True)) * np.gradient(grid)
    below = np.cumsum(density, axis=1)
    row = np.repeat(np.arange(len(variances)), DRAWS // len(variances))
    at = np.argmax(below[row] >= rng.random((len(row), 1)) * below[row, -1:], axis=1)
    mu = center[row, at] + rng.standard_normal(len(row)) / np.sqrt(total[row, at])
    weight = grid[at, None] ** 2 * precision[row, at]
    posterior = mu[:, None] + weight * (means - mu[:, None])
    noise = np.sqrt(weight * variances[row])
    return np.asarray(posterior + noise * rng.standard_normal(noise.shape))


# --- many points ----------------------------------------------------------------------------------


def _by_model(
    space: Space,
    goal: Goal,
    points: Sequence[_Point],
    noise: float | None,
    leaders: int,
    rng: np.random.Generator,
) -> _Posterior:
    """Return draws of the true losses of the leading points by a Gaussian process."""
    from tuner.optimizers.bayesian.true_losses import draw_true_losses

    found = draw_true_losses(
        space,
        [p.trial.params for p in points],
        [p.losses for p in points],
        noise,
        leaders,
        points.index(_best_value(goal, points)),
        DRAWS,
        rng,
    )
    return _EXACT if found is None else _Posterior(found.noise, found.chosen, found.draws)
