"""A forecast of what further trials would bring, from the record of a study alone.

The forecast is a mixture. With a probability, the winner changes; the gain is then a part of the
distance between the winner and the points that follow it. A search that converges has close
followers and therefore small gains; a search that found nothing for long has a low probability.
Both rules hold for random and for model-driven searches, and they need no model of the objective.
The numbers of the mixture are fitted to real searches on functions whose true values are known, and
checked on other ones; see `benchmarks.forecast`.

The draws of a forecast are fixed, so the same record gives the same forecast.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from tuner.optimizers.estimates import LEVEL
from tuner.optimizers.winner import Winner
from tuner.records import Goal, Trial
from tuner.records.numbers import number_text

Floats = NDArray[np.float64]

FOLLOWERS = 10
"""Points whose mean distance to the winner is the unit of a gain."""

NEXT = 20
"""Further trials of a forecast for display."""

FEWEST = 3
"""Points with a value below which there is no forecast."""

DRAWS = 2_000

# The probability that the winner changes is the logistic function of
CHANGE, CHANGE_HORIZON, CHANGE_AGE, CHANGE_NOISE = 0.46, 0.34, -1.24, 1.4
"""a constant, and the factors of the logarithms of the further trials per trial and of the trials
since the winner per further trial, and of the uncertainty of the winner per unit of a gain."""

OLDER = 0.3
"""Added to the trials since the winner per further trial, so that a new winner has a logarithm."""

GAIN, GAIN_HORIZON, GAIN_SHAPE = -1.5, 0.34, 1.8
"""A gain is ``exp(GAIN) * ratio ** GAIN_HORIZON * E ** GAIN_SHAPE`` units, E exponential."""

LUCK = 1.0
"""Deviation of a gain by noise, in units of the uncertainty of the winner."""


@dataclass(frozen=True, slots=True, repr=False)
class Forecast:
    """The gain that further trials are expected to bring.

    A gain is how much better the true value of the winner becomes, in the units of the goal and
    positive for both directions. With noise, it may be negative: a later winner may be luckier, but
    not better. All numbers but `n_trials` are NaN if nothing is known, because fewer than three
    points have a value or all values are equal.

    Attributes
    ----------
    n_trials : int
        Number of further trials.
    gain : float
        The expected gain.
    low, high : float
        Bounds of the 95 % interval of the gain.
    probability : float
        Probability that the gain is above `tolerance`.
    tolerance : float
        The gain that does not matter.
    noise : float or None
        Standard deviation of a value; 0 if no noise was found, None if it is unknown.
    source : str
        Source of the noise, as in `Winner`.
    basis : int
        Number of trials with a value from which the forecast is made.
    """

    n_trials: int
    gain: float
    low: float
    high: float
    probability: float
    tolerance: float
    noise: float | None
    source: str
    basis: int

    @property
    def known(self) -> bool:
        """Whether the record tells something."""
        return not math.isnan(self.probability)

    def __repr__(self) -> str:
        return f"<Forecast: {self.in_words()}>"

    def in_words(self) -> str:
        """Return the forecast as one line."""
        head = "1 more trial" if self.n_trials == 1 else f"{self.n_trials} more trials"
        if not self.known:
            return f"{head}: unknown, because too few points have different values"
        gain, low, high = (number_text(x, 2) for x in (self.gain, self.low, self.high))
        much = "better" if not self.tolerance else f"more than {number_text(self.tolerance)} better"
        return (
            f"{head}: expected gain {gain} (95 % interval {low} to {high}); {much} with "
            f"probability {number_text(self.probability, 2)}"
        )


def forecast(
    goal: Goal,
    trials: Sequence[Trial],
    winner: Winner | None,
    n_trials: int = NEXT,
    tolerance: float = 0.0,
) -> Forecast:
    """Return the forecast of `n_trials` further trials.

    Parameters
    ----------
    goal
        The goal of the study.
    trials
        All trials of the study.
    winner
        Its winner; None if no trial is eligible.
    n_trials
        Number of further trials, at least 1.
    tolerance
        The gain that does not matter, in the units of the goal.

    Examples
    --------
    >>> import tempfile, tuner
    >>> study = tuner.optimize(
    ...     lambda params: params["x"] ** 2, {"x": tuner.Float(-1, 1)}, n_trials=12, seed=0,
    ...     backend="serial", store=tempfile.mkdtemp(), progress=False,
    ... )
    >>> found = forecast(study.goals[0], study.trials, study.winner, 10)
    >>> 0.0 < found.gain < found.high, found.low
    (True, 0.0)
    """
    measured = [t for t in trials if t.eligible and math.isfinite(t.values[0])]
    known = None if winner is None else _standing(goal, measured, winner)
    noise, source = (None, "") if winner is None else (winner.noise, winner.source)
    basis = len(measured)
    if known is None or known.unit == 0.0 or not math.isfinite(known.unit):
        nan = math.nan
        return Forecast(n_trials, nan, nan, nan, nan, tolerance, noise, source, basis)
    share, gains = _mixture(known, basis, n_trials)
    changed, _, _ = _draws()
    gains = np.where(changed < share, gains, 0.0)
    tail = 50.0 * (1.0 - LEVEL)
    low, high = np.percentile(gains, [tail, 100.0 - tail]).tolist()
    return Forecast(
        n_trials,
        float(np.mean(gains)),
        low,
        high,
        float(np.mean(gains > tolerance)),
        tolerance,
        noise,
        source,
        basis,
    )


@dataclass(frozen=True, slots=True)
class _Standing:
    """The standing of a search: the unit of a gain, the winner's age in trials and uncertainty.

    `tied` tells whether other points have the value of the winner.
    """

    unit: float
    age: int
    uncertainty: float
    tied: bool


def _standing(goal: Goal, measured: Sequence[Trial], winner: Winner) -> _Standing | None:
    """Return the standing of a search, None if it has too few points with a value."""
    number = winner.trial.number
    place = next((i for i, t in enumerate(measured) if t.number == number), 0)
    age = len(measured) - place
    if winner.noise:
        means = np.array([e.mean for e in winner.leaders])
        if len(means) < FEWEST:
            return None
        distance = float(np.mean(np.abs(means[1:] - means[0])))
        uncertainty = (winner.high - winner.low) / (2.0 * NormalDist().inv_cdf(0.5 + LEVEL / 2.0))
        return _Standing(math.hypot(distance, uncertainty), age, uncertainty, tied=False)
    losses = np.array([goal.direction.sign * t.values[0] for t in measured])
    levels = np.unique(losses)[: FOLLOWERS + 1]
    if len(losses) < FEWEST or len(levels) < 2:
        return None
    tied = int(np.count_nonzero(losses == levels[0])) > 1
    with np.errstate(over="ignore"):  # the caller asks whether the unit is finite
        return _Standing(float(np.mean(levels[1:] - levels[0])), age, 0.0, tied)


def _mixture(known: _Standing, basis: int, n_trials: int) -> tuple[float, Floats]:
    """Return the probability that the winner changes, and draws of the gain if it does."""
    ratio = n_trials / basis
    score = CHANGE + CHANGE_HORIZON * math.log(ratio)
    score += CHANGE_AGE * math.log(known.age / n_trials + OLDER)
    score += CHANGE_NOISE * known.uncertainty / known.unit
    share = 1.0 / (1.0 + math.exp(-score))
    if known.tied:
        # A plateau hides how near its border is, so its age says nothing. Of exchangeable trials,
        # the best one is among the further ones with this probability.
        share = max(share, n_trials / (basis + n_trials))
    _, size, luck = _draws()
    gains = known.unit * math.exp(GAIN) * ratio**GAIN_HORIZON * size
    return share, gains + LUCK * known.uncertainty * luck


@cache
def _draws() -> tuple[Floats, Floats, Floats]:
    """Return fixed draws: uniform ones, sizes of gains, and standard normal ones."""
    rng = np.random.default_rng(0)
    sizes = rng.standard_exponential(DRAWS) ** GAIN_SHAPE
    return rng.random(DRAWS), sizes, rng.standard_normal(DRAWS)
