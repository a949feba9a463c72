"""Domains of frozen SciPy distributions."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np

from tuner.errors import SpaceError
from tuner.search_spaces import Domain, Float, Int, Normal, Ordinal

N_QUANTILES = 100
"""Number of quantiles that stand for a distribution without a domain of its own."""


def is_distribution(value: object) -> bool:
    """Whether `value` draws random values, as RandomizedSearchCV requires."""
    return callable(getattr(value, "rvs", None))


def domain_of(path: str, distribution: Any) -> Domain:
    """Return the domain of a frozen distribution of `scipy.stats`.

    ``uniform``, ``loguniform``, ``randint`` and ``norm`` become ranges. Any other distribution
    becomes an `Ordinal` of its quantiles, weighted where they coincide.

    Raises
    ------
    SpaceError
        If the distribution has no quantile function.

    Examples
    --------
    >>> from scipy import stats
    >>> domain_of("C", stats.loguniform(0.01, 100))
    Float(0.01, 100.0, log=True)
    >>> domain_of("depth", stats.randint(1, 11))
    Int(1, 10)
    """
    if not callable(getattr(distribution, "ppf", None)):
        raise SpaceError(
            f"space: {path!r} is a {type(distribution).__name__}, which has no quantile function; "
            f"write a domain such as Float(0.1, 10.0, log=True), a list of values, or a frozen "
            f"distribution of scipy.stats"
        )
    name = getattr(getattr(distribution, "dist", None), "name", "")
    low, high = map(float, distribution.support())
    if name == "randint":
        return Int(int(low), int(high))
    if name == "norm":
        low, high = map(float, distribution.ppf([0.001, 0.999]))
        mean, deviation = float(distribution.mean()), float(distribution.std())
        return Float(low, high, prior=Normal(mean, deviation))
    if name == "uniform":
        return Float(low, high)
    if name in ("loguniform", "reciprocal") and _is_logarithmic(distribution, low, high):
        return Float(low, high, log=True)
    return _quantiles(distribution)


def _is_logarithmic(distribution: Any, low: float, high: float) -> bool:
    """Whether a log-uniform distribution is not shifted by a location."""
    return low > 0 and math.isclose(distribution.median(), math.sqrt(low) * math.sqrt(high))


def _quantiles(distribution: Any) -> Domain:
    at = (np.arange(N_QUANTILES) + 0.5) / N_QUANTILES
    values = distribution.ppf(at)
    whole = callable(getattr(distribution, "pmf", None))
    counts = Counter(int(v) if whole else float(f"{v:.6g}") for v in values.tolist())
    weights = [counts[value] for value in sorted(counts)]
    return Ordinal(*sorted(counts), prior=None if len(set(weights)) == 1 else weights)
