"""Two-sample tests of one column, each with an effect size, and the correction for many tests.

Each effect is a difference of probabilities between 0 and 1, so one threshold serves all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from tuner.profiles.profile import Quality

FEW_VALUES = 20
"""Number of distinct numbers up to which they are compared as categories: ties void KS's power."""

FEWEST_EXPECTED = 5.0
"""Smallest expected count of a cell of a chi-squared test; rarer ones are pooled (Cochran)."""


@dataclass(frozen=True, slots=True)
class Tested:
    """The result of a test: its name, p-value and effect."""

    test: str
    p_value: float
    effect: float


def numbers(reference: np.ndarray[Any, Any], new: np.ndarray[Any, Any]) -> Tested:
    """Return the two-sample Kolmogorov-Smirnov test of numbers without NaN; infinities count.

    The p-value is conservative with ties. Samples with at most 20 distinct values are compared by
    `counts` instead. The effect is the largest difference of the distribution functions.

    References
    ----------
    Hodges, J. L. (1958). The significance probability of the Smirnov two-sample test.
    """
    import numpy as np
    from scipy import stats

    values = np.unique(np.concatenate([reference, new]))
    if len(values) <= FEW_VALUES:
        return counts(_counted(values, reference), _counted(values, new))
    first, second = (
        np.searchsorted(np.sort(x), values, side="right") / len(x) for x in (reference, new)
    )
    distance = float(np.max(np.abs(first - second)))
    m, n = sorted((len(reference), len(new)))
    p_value = float(stats.kstwo.sf(distance, max(1, round(m * n / (m + n)))))
    return Tested("Kolmogorov-Smirnov", p_value, distance)


def _counted(values: np.ndarray[Any, Any], sample: np.ndarray[Any, Any]) -> dict[str, int]:
    import numpy as np

    places = np.searchsorted(values, sample)
    found = np.bincount(places, minlength=len(values))
    return {str(v): int(c) for v, c in zip(values.tolist(), found.tolist(), strict=True)}


def counts(
    reference: Mapping[str, int], new: Mapping[str, int], others: tuple[int, int] = (0, 0)
) -> Tested:
    """Return the chi-squared test of two category counts, with rare categories pooled.

    Parameters
    ----------
    reference, new
        Number of rows of each category.
    others
        Number of rows of further categories on both sides, which are not counted by name.

    Notes
    -----
    The effect is the total variation distance of the pooled categories. A category is pooled if
    its smaller expected count is below 5; the choice depends on the sum of both sides only.
    """
    import numpy as np
    from scipy import stats

    named = reference.keys() | new.keys()
    if any(others):  # a category that only one bounded list names may be in the rest of the other
        named = reference.keys() & new.keys()
    table = np.array([[reference.get(k, 0), new.get(k, 0)] for k in sorted(named)], dtype=float)
    table = table.reshape(-1, 2)
    totals = np.array([sum(reference.values()) + others[0], sum(new.values()) + others[1]], float)
    rest = totals - table.sum(axis=0)
    share = totals.min() / totals.sum()
    rare = table.sum(axis=1) * share < FEWEST_EXPECTED
    rest = rest + table[rare].sum(axis=0)
    table = table[~rare]
    if rest.sum() * share >= FEWEST_EXPECTED:
        table = np.vstack([table, rest])
    elif rest.sum() and len(table):
        table[np.argmin(table.sum(axis=1))] += rest
    if len(table) < 2:
        return Tested("chi-squared", 1.0, 0.0)
    p_value = float(stats.chi2_contingency(table, correction=False).pvalue)
    shares = table / totals
    return Tested("chi-squared", p_value, float(np.abs(shares[:, 0] - shares[:, 1]).sum() / 2))


def missing(reference: tuple[int, int], new: tuple[int, int]) -> Tested:
    """Return the test of two missing rates, each given as missing values and rows.

    The test is chi-squared, or Fisher's exact test if an expected count is below 5.
    """
    import numpy as np
    from scipy import stats

    table = np.array([[m, n - m] for m, n in (reference, new)])
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / table.sum()
    if expected.min() < FEWEST_EXPECTED:
        p_value = float(stats.fisher_exact(table).pvalue)
    else:
        p_value = float(stats.chi2_contingency(table, correction=False).pvalue)
    rates = table[:, 0] / table.sum(axis=1)
    return Tested("missing rate", p_value, float(abs(rates[0] - rates[1])))


def quality(reference: Quality, new: Quality) -> Tested:
    """Return Welch's test of a metric's mean over rows.

    The effect is the difference of accuracies. For another metric it is the probability that a
    value of the one exceeds one of the other, minus the opposite, if both are normal.
    """
    import math

    from scipy import stats

    difference = abs(reference.mean - new.mean)
    spread = math.hypot(reference.deviation, new.deviation)
    if spread == 0.0:
        return Tested("Welch", float(difference == 0.0), float(difference > 0.0))
    p_value = stats.ttest_ind_from_stats(
        reference.mean, reference.deviation, reference.rows,
        new.mean, new.deviation, new.rows, equal_var=False,
    ).pvalue  # fmt: skip
    if reference.metric != "accuracy":
        difference = float(2.0 * stats.norm.cdf(difference / spread) - 1.0)
    return Tested("Welch", float(p_value), difference)


def adjusted(p_values: Sequence[float]) -> list[float]:
    """Return p-values that are adjusted by Benjamini and Hochberg's procedure.

    Rejecting those up to alpha bounds the false discovery rate by alpha, and if nothing differs,
    also the probability of any false alarm, for independent or positively dependent tests.

    References
    ----------
    Benjamini, Y. and Hochberg, Y. (1995). Controlling the false discovery rate.

    Examples
    --------
    >>> [round(p, 3) for p in adjusted([0.01, 0.5, 0.04])]
    [0.03, 0.5, 0.06]
    """
    from scipy import stats

    return [float(p) for p in stats.false_discovery_control(list(p_values))] if p_values else []
