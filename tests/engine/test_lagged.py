"""A lagged optimizer suggests the same points for any order in which trials end."""

from __future__ import annotations

import heapq

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuner.engine.history import LaggedOptimizer
from tuner.optimizers import GridOptimizer, TPEOptimizer
from tuner.records import Goal, Outcome, State, Trial
from tuner.search_spaces import Float, Int, Space

SPACE = Space({"x": Float(0, 1), "n": Int(1, 30)})


def loss(params):
    return (params["x"] - 0.3) ** 2 + abs(params["n"] - 7) / 30


def search(durations, lag, stop_after=None):
    """Run a trial for each duration, `lag` at once; restart from the history after `stop_after`."""
    make = lambda: LaggedOptimizer(TPEOptimizer(n_startup=4), lag)  # noqa: E731
    optimizer = make()
    optimizer.reset(SPACE, [Goal()], 0)
    ends, running, told, clock = [], {}, {}, 0.0
    points = []
    for number, duration in enumerate(durations):
        # A trial begins when all up to number - lag have ended.
        while running and min(running) <= number - lag:
            clock, ended = heapq.heappop(ends)
            trial = running.pop(ended)
            told[ended] = (trial, Outcome(State.COMPLETED, {"value": loss(trial.params)}))
            optimizer.tell(*told[ended])
        if number == stop_after:
            optimizer = make()
            optimizer.reset(SPACE, [Goal()], 0)
            for k in sorted(told):
                optimizer.tell(*told[k])
        (params,) = optimizer.ask(1, list(running.values()))
        points.append(params)
        running[number] = Trial(number, params, State.RUNNING)
        heapq.heappush(ends, (clock + duration, number))
    return points


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.floats(0.01, 10), min_size=20, max_size=20),
    st.integers(1, 5),
    st.none() | st.integers(0, 19),
)
def test_suggestions_do_not_depend_on_durations_or_interruptions(durations, lag, stop_after):
    assert search(durations, lag, stop_after) == search([1.0] * 20, lag)


def test_suggestions_depend_on_the_lag():
    assert search([1.0] * 20, 1) != search([1.0] * 20, 4)


def test_a_lag_of_one_gives_the_suggestions_of_the_optimizer():
    plain = TPEOptimizer(n_startup=4)
    plain.reset(SPACE, [Goal()], 0)
    for number, params in enumerate(search([1.0] * 20, 1)):
        assert plain.ask(1) == [params]
        plain.tell(Trial(number, params), Outcome(State.COMPLETED, {"value": loss(params)}))


def test_asking_for_several_equals_asking_one_at_a_time():
    def begun():
        optimizer = LaggedOptimizer(TPEOptimizer(n_startup=3), 4)
        optimizer.reset(SPACE, [Goal()], 0)
        for number, params in enumerate(SPACE.sample(np.random.default_rng(0), 8)):
            optimizer.tell(Trial(number, params), Outcome(State.COMPLETED, {"value": loss(params)}))
        return optimizer

    one = begun()
    pending = []
    for number in range(8, 12):
        (params,) = one.ask(1, pending)
        pending.append(Trial(number, params, State.RUNNING))
    assert begun().ask(4) == [trial.params for trial in pending]


def test_earlier_studies_trials_are_seen_at_once():
    inner = TPEOptimizer(n_startup=2)
    lagged = LaggedOptimizer(inner, 8)
    lagged.reset(SPACE, [Goal()], 0)
    for number in range(-5, 0):
        lagged.tell(
            Trial(number, {"x": 0.1 * -number, "n": 3}), Outcome(State.COMPLETED, {"value": 1.0})
        )
    assert len(inner._table) == 5
    assert len(lagged.ask(2)) == 2


@pytest.mark.parametrize("state", [State.FAILED, State.STOPPED])
def test_trials_without_a_value_are_told_too(state):
    lagged = LaggedOptimizer(TPEOptimizer(), 1)
    lagged.reset(SPACE, [Goal()], 0)
    (params,) = lagged.ask(1)
    lagged.tell(Trial(0, params), Outcome(state))
    assert lagged.ask(1) != [params]


def test_an_optimizer_without_further_points_ends():
    lagged = LaggedOptimizer(GridOptimizer(), 2)
    lagged.reset(Space({"n": Int(1, 3)}), [Goal()], 0)
    assert [point["n"] for point in lagged.ask(5)] == [1, 2, 3]
    assert lagged.ask(1, [Trial(k, {"n": k + 1}, State.RUNNING) for k in range(3)]) == []
