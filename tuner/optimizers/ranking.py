"""Ranking of trials: the best one, the order from best to worst, the Pareto front.

Every part of the package that compares trials asks here, so that a plot, a report, the command line
and the registry agree. The order is the one that `tuner.optimizers.ordering` applies to arrays, and
`tuner.tracking.queries.best_of` states the first rule in SQL.

1. Completed trials that keep all outcome constraints, by the value of the first goal.
2. Completed trials that break a constraint, by the total violation (Deb et al. 2002, "A fast and
   elitist multiobjective genetic algorithm: NSGA-II", section VI), then by value.
3. Stopped trials, by their last reported value: an early value may look good, but the trial was
   stopped because it did badly.
4. All others.

Equal trials are ordered by number. A trial whose value is NaN counts as one without a value.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from tuner.records import Goal, State, Trial

_Key: TypeAlias = tuple[int, float, float, int]

_FEASIBLE, _INFEASIBLE, _STOPPED, _OTHER = range(4)


def losses(goals: Sequence[Goal], trials: Sequence[Trial]) -> NDArray[np.float64]:
    """Return the values of trials that have them, as losses: lower is better; shape (n, g)."""
    signs = [goal.direction.sign for goal in goals]
    values = np.array([trial.values for trial in trials], dtype=float)
    return values.reshape(len(trials), len(goals)) * signs


def violation(trial: Trial) -> float:
    """Return the total by which a trial violates its outcome constraints, 0 if it is feasible."""
    return sum(max(value, 0.0) for value in trial.constraints.values())


def best(goal: Goal, trials: Iterable[Trial]) -> Trial | None:
    """Return the best completed, feasible trial by one goal, None if there is none.

    Examples
    --------
    >>> from tuner.records import Trial
    >>> trials = [
    ...     Trial(0, {}, State.COMPLETED, (0.5,)),
    ...     Trial(1, {}, State.COMPLETED, (0.1,), constraints={"latency": 0.2}),
    ...     Trial(2, {}, State.STOPPED, (0.2,)),
    ... ]
    >>> best(Goal("loss"), trials).number
    0
    """
    found: Trial | None = None
    for trial in trials:
        if beats(goal, trial, found):
            found = trial
    return found


def beats(goal: Goal, trial: Trial, other: Trial | None) -> bool:
    """Whether a trial replaces `other` as the best one; None is beaten by any eligible trial."""
    key = _key(goal, trial)
    if key[0] != _FEASIBLE:
        return False
    return other is None or key < _key(goal, other)


def best_first(goal: Goal, trials: Iterable[Trial]) -> list[Trial]:
    """Return the trials from best to worst.

    Examples
    --------
    >>> from tuner.records import Trial
    >>> trials = [
    ...     Trial(0, {}, State.FAILED),
    ...     Trial(1, {}, State.STOPPED, (0.2,)),
    ...     Trial(2, {}, State.COMPLETED, (0.1,), constraints={"latency": 0.2}),
    ...     Trial(3, {}, State.COMPLETED, (0.5,)),
    ... ]
    >>> [trial.number for trial in best_first(Goal("loss"), trials)]
    [3, 2, 1, 0]
    """
    return sorted(trials, key=lambda trial: _key(goal, trial))


def front(goals: Sequence[Goal], trials: Iterable[Trial]) -> list[Trial]:
    """Return the completed, feasible trials that no other one dominates, in the order given.

    With one goal these are the trials with the best value. Trials with equal values are all kept.
    """
    from tuner.optimizers.pareto import nondominated

    eligible = [trial for trial in trials if trial.eligible]
    if not eligible:
        return []
    kept = nondominated(losses(goals, eligible))
    return [trial for trial, is_kept in zip(eligible, kept, strict=True) if is_kept]


def _key(goal: Goal, trial: Trial) -> _Key:
    loss = math.nan if trial.value is None else goal.direction.sign * trial.value
    if math.isnan(loss):
        return _OTHER, 0.0, 0.0, trial.number
    if trial.state is State.COMPLETED:
        broken = violation(trial)
        return (_INFEASIBLE if broken > 0.0 else _FEASIBLE), broken, loss, trial.number
    if trial.state is State.STOPPED:
        return _STOPPED, 0.0, loss, trial.number
    return _OTHER, 0.0, loss, trial.number
