"""Ranks of optimizers over problems, and which of them differ by more than chance.

Friedman's test and Nemenyi's critical difference of mean ranks, and Wilcoxon's signed-rank test
for pairs with Holm's correction (Demšar 2006, "Statistical Comparisons of Classifiers over
Multiple Data Sets", sections 3.2.2 and 3.1.3).
"""

from __future__ import annotations

import math

import numpy as np
from scipy.stats import friedmanchisquare, rankdata, studentized_range, wilcoxon


def mean_ranks(regrets: np.ndarray) -> np.ndarray:
    """Return the mean rank of each optimizer, 1 is best; `regrets` is (problems, optimizers)."""
    return np.asarray(rankdata(regrets.round(6), axis=1).mean(axis=0))


def critical_difference(problems: int, optimizers: int, alpha: float = 0.05) -> float:
    """Return by how much mean ranks must differ (Demšar 2006, section 3.2.2).

    Examples
    --------
    >>> round(critical_difference(14, 4), 2)
    1.25
    """
    q = float(studentized_range.ppf(1 - alpha, optimizers, np.inf)) / math.sqrt(2.0)
    return q * math.sqrt(optimizers * (optimizers + 1) / (6.0 * problems))


def friedman(regrets: np.ndarray) -> float:
    """Return the p-value that all optimizers are equally good."""
    if regrets.shape[1] < 3:
        return math.nan
    return float(friedmanchisquare(*regrets.round(6).T).pvalue)


def against(regrets: np.ndarray, ours: int) -> np.ndarray:
    """Return Holm-corrected p-values that column `ours` is no better than each other column.

    One-sided; NaN for the column itself.
    """
    others = [j for j in range(regrets.shape[1]) if j != ours]
    raw = np.array([_wilcoxon(regrets[:, ours], regrets[:, j]) for j in others])
    order = np.argsort(raw)
    steps = raw[order] * np.arange(len(raw), 0, -1)
    corrected = np.empty(len(raw))
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    result = np.full(regrets.shape[1], np.nan)
    result[others] = corrected
    return result


def _wilcoxon(a: np.ndarray, b: np.ndarray) -> float:
    difference = (a - b).round(9)
    return float(wilcoxon(difference, alternative="less").pvalue) if difference.any() else 1.0
