"""One ranking: trials in memory, their arrays in an optimizer, and the record agree."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from conformance.record_strategies import ranked_histories
from conformance.stores import shared
from tuner.optimizers import ranking
from tuner.optimizers.history import Observation, TrialTable
from tuner.optimizers.ordering import best_first
from tuner.records import Direction, Goal, State, Trial
from tuner.search_spaces import Float, Space

GOALS = st.sampled_from([Goal("loss"), Goal("loss", Direction.MAXIMIZE)])


@shared
@given(ranked_histories(), GOALS)
def test_the_best_is_the_first_of_the_order_and_on_the_front(
    trials: list[Trial], goal: Goal
) -> None:
    order = ranking.best_first(goal, trials)
    best = ranking.best(goal, trials)
    assert sorted(t.number for t in order) == [t.number for t in trials]
    eligible = [t for t in order if t.eligible]
    assert best == (eligible[0] if eligible else None)
    assert order[: len(eligible)] == eligible
    front = ranking.front([goal], trials)
    assert (best in front) if best is not None else front == []
    assert {t.value for t in front} == ({best.value} if best is not None else set())


@shared
@given(ranked_histories(), GOALS)
def test_the_order_does_not_depend_on_the_order_of_reading(trials: list[Trial], goal: Goal) -> None:
    assert ranking.best_first(goal, trials[::-1]) == ranking.best_first(goal, trials)
    assert ranking.best(goal, trials[::-1]) == ranking.best(goal, trials)


@shared
@given(ranked_histories(), GOALS)
def test_optimizers_rank_as_the_user_does(trials: list[Trial], goal: Goal) -> None:
    table = TrialTable(Space({"x": Float(0, 1)}))
    for trial in trials:
        losses = [goal.direction.sign * value for value in trial.values] or [math.nan]
        stopped = trial.state is State.STOPPED
        table.add(trial.number, Observation(trial.params, losses, stopped, trial.constraints))
    expected = [t.number for t in ranking.best_first(goal, trials) if t.values]
    assert best_first(table.history([]), len(trials)).tolist() == expected


def test_a_nan_is_never_the_best_value() -> None:
    trials = [
        Trial(0, {}, State.COMPLETED, (math.nan,)),
        Trial(1, {}, State.COMPLETED, (math.inf,)),
        Trial(2, {}, State.COMPLETED, (1.0,)),
    ]
    for goal, best in ((Goal("a"), 2), (Goal("a", Direction.MAXIMIZE), 1)):
        found = ranking.best(goal, trials)
        assert found is not None
        assert found.number == best
    assert np.isnan(ranking.best_first(Goal("a"), trials)[-1].values[0])
