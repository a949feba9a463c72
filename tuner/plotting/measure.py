"""The quantity that a plot shows: a goal of the study, or another recorded metric."""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from tuner.errors import ArgumentError
from tuner.optimizers import ranking
from tuner.plotting.names import shorten
from tuner.records import Direction, Goal, State, Trial

Selector: TypeAlias = int | str
"""The index of a goal, counted from 0, or a name."""


@dataclass(frozen=True, slots=True)
class Measure:
    """One number per trial, and the goal that tells which trial is the best.

    `direction` is None for a metric that is not a goal: no value of it is better than another.
    `goal` is the goal at `index` of the study. `shown` is the index of the goal that the plot
    shows, None for a metric.
    """

    name: str
    direction: Direction | None
    goal: Goal
    index: int = 0
    shown: int | None = 0

    @classmethod
    def of_goal(cls, goal: Goal, index: int = 0) -> Measure:
        """Return the measure of a goal of the study."""
        return cls(goal.metric, goal.direction, goal, index, index)

    @property
    def label(self) -> str:
        """The label of an axis.

        >>> Measure.of_goal(Goal("loss")).label
        'loss (minimize)'
        """
        name = shorten(self.name, 28)
        return name if self.direction is None else f"{name} ({self.direction})"

    @property
    def worse_up(self) -> bool:
        """Whether larger values are worse; true for a metric without a direction."""
        return self.direction is not Direction.MAXIMIZE

    @property
    def sign(self) -> int:
        """The factor that turns a value into a loss; 1 without a direction."""
        return 1 if self.worse_up else -1

    def value(self, trial: Trial) -> float | None:
        """Return the value of a trial, None if it has no finite one."""
        if self.shown is not None:
            found = trial.values[self.shown] if self.shown < len(trial.values) else None
        else:
            found = trial.metrics.get(self.name)
        return found if found is not None and math.isfinite(found) else None

    def values(self, trials: Iterable[Trial]) -> NDArray[np.float64]:
        """Return the values of trials that have one."""
        return np.array([self.value(trial) for trial in trials], float)

    def known(self, trials: Iterable[Trial], *states: State) -> list[Trial]:
        """Return the trials in the given states that have a value, by number."""
        found = (t for t in trials if t.state in states and self.value(t) is not None)
        return sorted(found, key=lambda t: t.number)

    def completed(self, trials: Iterable[Trial]) -> list[Trial]:
        """Return the completed trials that have a value, by number."""
        return self.known(trials, State.COMPLETED)

    def best(self, trials: Iterable[Trial]) -> Trial | None:
        """Return the best completed, feasible trial by the goal; None if there is none."""
        by_number = {trial.number: trial for trial in trials}
        best = ranking.best(self.goal, map(self._by_goal, by_number.values()))
        return None if best is None else by_number[best.number]

    def _by_goal(self, trial: Trial) -> Trial:
        """Return the trial as one of a study with this goal only."""
        if not self.index:
            return trial
        return dataclasses.replace(trial, values=trial.values[self.index : self.index + 1])


def measure_of(
    goals: Sequence[Goal],
    trials: Iterable[Trial],
    goal: Selector | None = None,
    metric: Selector | None = None,
) -> Measure:
    """Return the measure that the arguments of a plot select.

    Parameters
    ----------
    goals, trials
        The goals and trials of the study.
    goal
        Index or name of a goal; None selects the first one.
    metric
        Name of a goal or of a metric that a trial recorded, or the index of a goal. None selects
        the metric of `goal`.

    Raises
    ------
    ArgumentError
        If the goal or the metric is unknown.
    """
    index = 0 if goal is None else goal_index(goals, goal)
    if metric is None:
        return Measure.of_goal(goals[index], index)
    if isinstance(metric, int) or metric in [g.metric for g in goals]:
        shown = goal_index(goals, metric, "metric")
        if goal is None:
            return Measure.of_goal(goals[shown], shown)
        return Measure(goals[shown].metric, goals[shown].direction, goals[index], index, shown)
    known = {name for trial in trials for name in trial.metrics}
    if metric not in known:
        raise ArgumentError(
            f"plot: metric={metric!r} is unknown; write one of "
            f"{_nearest(metric, sorted(known | {g.metric for g in goals}))}"
        )
    return Measure(metric, None, goals[index], index, None)


def goal_index(goals: Sequence[Goal], goal: Selector, argument: str = "goal") -> int:
    """Return the index of a goal, given by its index or name.

    Raises
    ------
    ArgumentError
        If the goal does not exist; the message lists the goals.
    """
    names = [g.metric for g in goals]
    if isinstance(goal, str) and goal in names:
        return names.index(goal)
    if isinstance(goal, int) and not isinstance(goal, bool) and 0 <= goal < len(names):
        return goal
    remedy = "" if argument != "goal" else "; for a metric that is not a goal, write metric="
    raise ArgumentError(
        f"plot: {argument}={goal!r} must be a goal: one of {', '.join(names)}, or an index from 0 "
        f"to {len(names) - 1}{remedy}"
    )


def _nearest(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.4) or list(known)[:8]
    return ", ".join(map(repr, close))
