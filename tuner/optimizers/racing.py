"""Decide which trials run again, until one of them is the best with the stated confidence.

Each decision follows from the estimates alone, so a race that was interrupted continues as if it
had not been. The next run goes to the leader or to its strongest challenger, the point most likely
to be better; of the two, to the one whose run narrows their difference more. This is the top-two
rule for fixed confidence (Russo 2020, "Simple Bayesian algorithms for best-arm identification",
Operations Research 68(6)), with the leader chosen by the posterior mean. A candidate drops out as
soon as it is unlikely to be better.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tuner.optimizers.estimates import Estimate, Estimates

CONFIDENCE = 0.95
"""Probability at which a race ends, if none is stated."""

TOLERANCE = 0.25
"""Difference of two true values that does not matter, in deviations of the noise of one run."""

UNKNOWN = 3
"""Leading trials that run again first if nothing is known about the noise."""


@dataclass(frozen=True, slots=True)
class Race:
    """The rules of a race.

    Attributes
    ----------
    confidence : float
        Probability, in (0, 1), that the winner is the best of the leading trials up to `tolerance`.
    tolerance : float or None
        Difference of two true values, in the units of the goal, that does not matter; None for
        `TOLERANCE` deviations of the noise.
    prefer : str or None
        The cost that decides ties: the name of a metric, or ``"duration"``; None for the estimate.
    """

    confidence: float = CONFIDENCE
    tolerance: float | None = None
    prefer: str | None = None

    def margin(self, estimates: Estimates) -> float:
        """Return the tolerance in the units of the goal."""
        if self.tolerance is None:
            return TOLERANCE * (estimates.noise or 0.0)
        return self.tolerance


def confidence_in(estimates: Estimates, margin: float) -> float:
    """Return the probability that the winner is the best of the leaders, up to `margin`."""
    draws = estimates.draws
    return float(np.mean(draws[:, 0] <= draws.min(axis=1) + margin))


def is_decided(race: Race, estimates: Estimates, repeats: int) -> bool:
    """Whether a race is over before its budget is spent.

    A winner without a repeat is not confirmed, unless the user stated the noise: a model may find
    no noise where the values happen to fit.
    """
    if estimates.noise is None:
        return False
    if estimates.source != "given" and (repeats == 0 or estimates.winner.runs < 2):
        return False
    return confidence_in(estimates, race.margin(estimates)) >= race.confidence


def next_repeats(race: Race, estimates: Estimates, running: Mapping[int, int], n: int) -> list[int]:
    """Return the numbers of `n` trials to run again; a trial may occur more than once.

    Parameters
    ----------
    race, estimates
        The rules, and the estimates from all finished runs.
    running
        Number of repeats of each trial that have no outcome yet.
    n
        Number of free workers.
    """
    leaders = estimates.leaders
    given = {e.trial: running.get(e.trial, 0) for e in leaders}
    chosen = []
    for _ in range(n):
        number = _next(race, estimates, given)
        given[number] += 1
        chosen.append(number)
    return chosen


def _next(race: Race, estimates: Estimates, given: Mapping[int, int]) -> int:
    from scipy.special import ndtr  # most searches have no race

    leaders = estimates.leaders
    if not estimates.noise:
        first = leaders[:UNKNOWN] if estimates.noise is None else leaders[:1]
        return min(first, key=lambda e: e.runs + given[e.trial]).trial
    if leaders[0].runs + given[leaders[0].trial] < 2:
        return leaders[0].trial
    draws, variance = estimates.draws, estimates.noise**2
    spread = np.var(draws, axis=0)
    # A run that has no outcome yet narrows the spread, and leaves the mean.
    runs = np.array([given[e.trial] for e in leaders], dtype=float)
    narrowed = spread * variance / (variance + runs * spread)
    gap = draws.mean(axis=0) - draws[:, 0].mean() + race.margin(estimates)
    gap[0] = math.inf
    with np.errstate(divide="ignore", invalid="ignore"):
        better = ndtr(-gap / np.sqrt(narrowed + narrowed[0]))
    challenger = int(np.argmax(np.nan_to_num(better)))
    gain = narrowed**2 / (narrowed + variance)
    return leaders[0 if gain[0] >= gain[challenger] else challenger].trial


def preferred(race: Race, estimates: Estimates, costs: Mapping[int, float]) -> Estimate:
    """Return the cheapest of the leaders that are not worse than the winner, with confidence.

    Parameters
    ----------
    race, estimates
        The rules, and the final estimates.
    costs
        The cost of each trial; a trial without one is the most expensive.
    """
    leaders = estimates.leaders
    if estimates.noise is None:
        return leaders[0]
    draws = estimates.draws
    worse = np.mean(draws > draws[:, :1] + race.margin(estimates), axis=0)
    tied: Sequence[Estimate] = [
        e for e, p in zip(leaders, worse.tolist(), strict=True) if p < race.confidence
    ]
    return min(tied, key=lambda e: costs.get(e.trial, math.inf))
