"""The median stopping rule."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

from tuner.errors import ArgumentError
from tuner.records import Goal, Outcome, Report, State, Trial
from tuner.schedulers.protocol import Decision


@dataclass(slots=True)
class _Curve:
    """The steps of a trial, with the running mean of its losses at each step."""

    steps: list[int] = field(default_factory=list)
    means: list[float] = field(default_factory=list)
    best: float = math.inf

    def add(self, step: int, loss: float) -> None:
        n = len(self.means)
        self.best = min(self.best, loss)
        # Scaled before adding, because the sum of two huge losses can overflow.
        mean = loss if not n else self.means[-1] * (n / (n + 1)) + loss / (n + 1)
        self.steps.append(step)
        # Rounding below the best would stop an equally good trial; inf - inf gives NaN.
        self.means.append(math.inf if math.isnan(mean) else max(mean, self.best))

    def mean_at(self, step: int) -> float | None:
        """Return the mean up to `step`, or None before the first report."""
        seen = bisect_right(self.steps, step)
        return self.means[seen - 1] if seen else None


@dataclass(slots=True)
class MedianStopping:
    """Stops a trial whose best value is worse than the median of the running means of others.

    The others are the trials that ended without being stopped. Their means cover the reports up to
    the same step (Golovin et al. 2017, "Google Vizier", section 3.2.1).

    Parameters
    ----------
    grace
        Minimum number of steps of each trial, at least 1. A report at `step` follows ``step + 1``
        steps.
    min_trials
        Minimum number of trials that ended without being stopped before any trial is stopped, at
        least 1.
    """

    grace: int = 1
    min_trials: int = 5
    _goal: Goal = field(default_factory=Goal, init=False, repr=False)
    _running: dict[int, _Curve] = field(default_factory=dict, init=False, repr=False)
    _ended: list[_Curve] = field(default_factory=list, init=False, repr=False)
    _stopped: set[int] = field(default_factory=set, init=False, repr=False)

    def __post_init__(self) -> None:
        for name in ("grace", "min_trials"):
            if getattr(self, name) < 1:
                raise ArgumentError(
                    f"MedianStopping({name}={getattr(self, name)}): {name} must be at least 1"
                )

    def reset(self, goals: Sequence[Goal]) -> None:
        """Start a study; only the first goal is used."""
        self._goal = goals[0]
        self._running, self._ended, self._stopped = {}, [], set()

    def on_report(self, trial: Trial, report: Report) -> Decision:
        """Return STOP for a trial that is worse than the median of the others."""
        value = report.metrics.get(self._goal.metric)
        if value is None:
            return Decision.CONTINUE
        curve = self._running.get(trial.number)
        if curve is None or report.step <= curve.steps[-1]:
            # Steps are ascending, so this is a new attempt of a trial whose worker was lost.
            curve = self._running[trial.number] = _Curve()
        curve.add(report.step, _loss(self._goal, value))
        if report.step + 1 <= self.grace or len(self._ended) < self.min_trials:
            return Decision.CONTINUE
        means = [m for c in self._ended if (m := c.mean_at(report.step)) is not None]
        if len(means) < self.min_trials or curve.best <= median(means):
            return Decision.CONTINUE
        self._stopped.add(trial.number)
        return Decision.STOP

    def on_finish(self, trial: Trial, outcome: Outcome) -> None:
        """Keep the curve of a trial that was not stopped; stopped ones would worsen the median."""
        curve = self._running.pop(trial.number, None)
        ended = outcome.state is State.COMPLETED and trial.number not in self._stopped
        if curve is not None and ended:
            self._ended.append(curve)


def _loss(goal: Goal, value: float) -> float:
    """Return `value` as a loss; NaN and infinities become infinity, the worst loss."""
    return goal.direction.sign * value if math.isfinite(value) else math.inf
