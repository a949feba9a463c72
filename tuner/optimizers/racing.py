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
from scipy.special import ndtr

from tuner.optimizers.estimates import Estimate, Estimates

UNKNOWN = 3
"""Leading trials that run again first if nothing is known about the noise."""


@dataclass(frozen=True, slots=True)
class Race:
    """The rules of a race.

    Attributes
    ----------
    budget : int
        Number of further runs, at least 1.
    confidence : float
        Probability, in (0, 1), that the winner is the best of the leading trials up to `tolerance`.
    tolerance : float
        Difference of two true values, in the units of the goal, that does not matter.
    """

    budget: int
    confidence: float = 0.95
    tolerance: float = 0.0


def confidence_in(estimates: Estimates, tolerance: float) -> float:
    """Return the probability that the winner is the best of the leaders, up to `tolerance`."""
    draws = estimates.draws
    return float(np.mean(draws[:, 0] <= draws.min(axis=1) + tolerance))


def is_decided(race: Race, estimates: Estimates, repeats: int) -> bool:
    """Whether a race is over before its budget is spent.

    Without a repeat, a model that finds no noise is not believed, because values that repeat look
    the same as values that happen to fit.
    """
    if len(estimates.leaders) == 1:
        return True
    if estimates.noise is None or (repeats == 0 and estimates.source != "given"):
        return False
    return confidence_in(estimates, race.tolerance) >= race.confidence


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
    leaders = estimates.leaders
    if not estimates.noise:
        first = leaders[:UNKNOWN] if estimates.noise is None else leaders[:1]
        return min(first, key=lambda e: e.runs + given[e.trial]).trial
    draws, variance = estimates.draws, estimates.noise**2
    spread = np.var(draws, axis=0)
    # A run that has no outcome yet narrows the spread, and leaves the mean.
    runs = np.array([given[e.trial] for e in leaders], dtype=float)
    narrowed = spread * variance / (variance + runs * spread)
    gap = draws.mean(axis=0) - draws[:, 0].mean() + race.tolerance
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
    worse = np.mean(draws > draws[:, :1] + race.tolerance, axis=0)
    tied: Sequence[Estimate] = [
        e for e, p in zip(leaders, worse.tolist(), strict=True) if p < race.confidence
    ]
    return min(tied, key=lambda e: costs.get(e.trial, math.inf))
