"""The tables that the yardstick prints."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from benchmarks.quality.problem import Problem
from benchmarks.quality.results import Results
from benchmarks.quality.statistics import against, critical_difference, friedman, mean_ranks

CHOICES = ("looks best", "winner", "confirmed", "best tried")
"""Trials whose noise-free loss is reported; see `Result.chosen`."""


class Table:
    """Normalised regrets by contestant, problem and budget."""

    def __init__(
        self,
        problems: list[Problem],
        seeds: list[int],
        budgets: list[int],
        choice: str = CHOICES[0],
    ) -> None:
        self.problems, self.seeds, self.budgets = problems, seeds, budgets
        self.choice = choice
        self.names: list[str] = []
        self._regrets: list[np.ndarray] = []  # each (problems, seeds, budgets), NaN if not known
        self._seconds: list[dict[int, float]] = []

    def add(self, label: str, results: Results, workers: int) -> None:
        """Add the results of one contestant."""
        regrets = np.full((len(self.problems), len(self.seeds), len(self.budgets)), np.nan)
        seconds: dict[int, list[float]] = {budget: [] for budget in self.budgets}
        for i, problem in enumerate(self.problems):
            for j, seed in enumerate(self.seeds):
                for k, budget in enumerate(self.budgets):
                    if not results.has(problem, seed, budget, workers):
                        continue
                    result = results.get(problem, seed, budget, workers)
                    loss = np.array([result.chosen(self.choice, budget)])
                    regrets[i, j, k] = max(float(problem.normalised(loss)[0]), 0.0)
                    seconds[budget].append(float(np.median(result.seconds[budget - 10 : budget])))
        self.names.append(label)
        self._regrets.append(regrets)
        self._seconds.append({b: float(np.mean(s)) if s else np.nan for b, s in seconds.items()})

    def text(self, each: bool = False) -> str:
        """Return everything as a person reads it."""
        width = max(map(len, self.names), default=4) + 2
        head = " " * width + "  ".join(f"{b:>7d}" for b in self.budgets)
        lines = []
        for family, members in self._families().items():
            lines += [f"{family} ({len(members)} problems): mean normalised regret", head]
            lines += self._rows(members, width)
            if each:
                for i in members:
                    lines += [f"  {self.problems[i].name}", *self._rows([i], width)]
        lines += ["mean over families", head]
        lines += [
            _row(name, row, width) for name, row in zip(self.names, self.overall(), strict=True)
        ]
        if len(self.seeds) > 1:
            lines += ["standard error of this mean over seeds", head]
            errors = zip(self.names, self.standard_errors(), strict=True)
            lines += [_row(name, row, width) for name, row in errors]
        lines += self._ranks(width)
        lines += ["milliseconds a suggestion (median of the ten before the budget)", head]
        for name, seconds in zip(self.names, self._seconds, strict=True):
            lines.append(
                f"{name:{width}s}" + "  ".join(f"{1e3 * s:7.1f}" for s in seconds.values())
            )
        return "\n".join(lines)

    def overall(self) -> np.ndarray:
        """Return the mean over families, shape (contestants, budgets)."""
        families = self._families().values()
        return np.array(
            [np.mean([self._mean(r, m) for m in families], axis=0) for r in self._regrets]
        )

    def standard_errors(self) -> np.ndarray:
        """Return the standard errors of `overall` over the seeds, shape (contestants, budgets)."""
        families = self._families().values()
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a problem with one known seed has none
            variances = [
                [_variance_of_mean(r[members]) / len(families) ** 2 for members in families]
                for r in self._regrets
            ]
        return np.asarray(np.sqrt(np.sum(variances, axis=1)))

    def figures(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return {
            "seeds": len(self.seeds),
            "problems": len(self.problems),
            "budgets": self.budgets,
            "families": {
                family: {
                    name: _rounded(self._mean(r, members))
                    for name, r in zip(self.names, self._regrets, strict=True)
                }
                for family, members in self._families().items()
            },
            "standard_errors": dict(
                zip(self.names, map(_rounded, self.standard_errors()), strict=True)
            ),
            "overall": dict(zip(self.names, map(_rounded, self.overall()), strict=True)),
            "seconds": {
                name: _rounded(np.array(list(s.values())))
                for name, s in zip(self.names, self._seconds, strict=True)
            },
        }

    def _families(self) -> dict[str, list[int]]:
        families: dict[str, list[int]] = {}
        for i, problem in enumerate(self.problems):
            families.setdefault(problem.family, []).append(i)
        return families

    @staticmethod
    def _mean(regrets: np.ndarray, members: list[int]) -> np.ndarray:
        """Return the mean over problems of the mean over the seeds that are known."""
        with np.errstate(all="ignore"):
            chosen = regrets[members]
            known = np.isfinite(chosen)
            by_problem = np.where(known, chosen, 0.0).sum(axis=1) / known.sum(axis=1)
        return np.asarray(by_problem.mean(axis=0))

    def _rows(self, members: list[int], width: int) -> list[str]:
        return [
            _row(name, self._mean(regrets, members), width)
            for name, regrets in zip(self.names, self._regrets, strict=True)
        ]

    def _ranks(self, width: int) -> list[str]:
        """Return mean ranks and tests over the problems that every contestant has solved."""
        lines = []
        for k, budget in enumerate(self.budgets):
            means = np.array([[self._mean(r, [i])[k] for r in self._regrets]
                              for i in range(len(self.problems))])  # fmt: skip
            means = means[np.isfinite(means).all(axis=1)]
            if len(self.names) < 2 or len(means) < 5:
                continue
            ranks = mean_ranks(means)
            difference = critical_difference(len(means), len(self.names))
            best = int(np.argmin(ranks))
            p = against(means, best)
            lines.append(
                f"mean rank after {budget} trials on {len(means)} problems: critical difference "
                f"{difference:.2f}, Friedman p = {friedman(means):.1e}; "
                f"p that the first is no better (Wilcoxon, Holm)"
            )
            for j in np.argsort(ranks):
                apart = "" if j == best else f"  p = {p[j]:.1e}"
                far = " *" if ranks[j] - ranks[best] > difference else ""
                lines.append(f"{self.names[j]:{width}s}{ranks[j]:7.2f}{apart}{far}")
        return lines


def _row(name: str, values: np.ndarray, width: int) -> str:
    return f"{name:{width}s}" + "  ".join(f"{v:7.4f}" for v in values)


def _variance_of_mean(regrets: np.ndarray) -> np.ndarray:
    """Return the variance of the mean of `regrets` (problems, seeds, budgets) over the seeds."""
    known = np.isfinite(regrets).sum(axis=1)
    return np.asarray(
        np.sum(np.nanvar(regrets, axis=1, ddof=1) / known, axis=0) / len(regrets) ** 2
    )


def _rounded(values: np.ndarray) -> list[float | None]:
    return [None if not np.isfinite(v) else round(float(v), 6) for v in values]
