"""The rungs of successive halving, and which of them a trial has reached with which loss."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

from tuner.records import Goal, Report


@dataclass(slots=True)
class ReachedRungs:
    """The best loss of each trial so far, and the number of rungs that it has reached.

    Rungs are after ``grace``, ``grace * reduction``, ``grace * reduction ** 2``, ... steps.

    Attributes
    ----------
    best : dict
        The best loss of each trial, by number.
    passed : dict
        The number of rungs that each trial has reached, by number.
    """

    goal: Goal
    grace: int
    reduction: float
    best: dict[int, float] = field(default_factory=dict)
    passed: dict[int, int] = field(default_factory=dict)

    def reach(self, number: int, report: Report) -> Iterator[tuple[int, float]]:
        """Yield each rung that a trial reaches with a report, and its best loss so far."""
        value = report.metrics.get(self.goal.metric)
        if value is None:
            return
        # NaN would pass as best, since comparisons with it are false, and so would an infinity of
        # the good sign, which a diverged trial reports.
        loss = self.goal.direction.sign * value if math.isfinite(value) else math.inf
        best = self.best[number] = min(loss, self.best.get(number, loss))
        # A trial that reports every ten steps can reach several rungs at once.
        while report.step + 1 >= self.grace * self.reduction ** (k := self.passed.get(number, 0)):
            self.passed[number] = k + 1
            yield k, best

    def forget(self, number: int) -> float:
        """Forget a trial that has ended, and return its best loss; infinity if it has none."""
        self.passed.pop(number, None)
        return self.best.pop(number, math.inf)
