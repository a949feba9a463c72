"""The history as arrays, and the replacement of repeated points."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support import pace
from tuner.errors import ArgumentError
from tuner.optimizers import RandomOptimizer, SpaceOptimizer
from tuner.optimizers.history import Observation, TrialTable
from tuner.records import Direction, Goal, Outcome, State, Trial
from tuner.search_spaces import Choice, Float, Int, P, Space

SPACE = Space({"x": Float(0.0, 1.0), "m": Choice("a", b={"n": Int(1, 4)})})


class Watching(SpaceOptimizer):
    """Always suggests the same point, and keeps the last history."""

    name = "watching"

    def suggest(self, history, rng):
        self.history = history
        return self.point


def watching(space=SPACE, point=None, direction=Direction.MINIMIZE):
    optimizer = Watching()
    optimizer.point = point or {"x": 0.5, "m": ("a", {})}
    optimizer.reset(space, [Goal("value", direction)], 0)
    return optimizer


def point(x, n=None):
    return {"x": x, "m": ("a", {}) if n is None else ("b", {"n": n})}


class TestLedger:
    @pytest.mark.parametrize("looks", [False, True], ids=["looked at once", "after each trial"])
    def test_trials_come_in_the_order_of_their_numbers(self, looks):
        table = TrialTable(SPACE)
        for number in [7, 2, 9, 0, 4]:
            told = Observation(point(number / 10, None if number % 2 else 1), [number], number == 9)
            table.add(number, told)
            if looks:
                table.history([])
        history = table.history([point(0.25)])
        assert history.X[:, 0].tolist() == [0.0, 0.2, 0.4, 0.7, 0.9]
        assert history.active.tolist() == [
            [True, True, even] for even in (True, True, True, False, False)
        ]
        assert history.losses.tolist() == [0, 2, 4, 7, 9]
        assert history.stopped.tolist() == [False] * 4 + [True]
        assert history.pending_X.tolist() == [[0.25, 0.25, 0.5]]
        assert (history.size, history.n_seen) == (5, 6)

    def test_an_outcome_told_again_replaces_the_first(self):
        table = TrialTable(SPACE)
        table.add(0, Observation(point(0.1), [1.0], True))
        table.add(0, Observation(point(0.1), [2.0], False))
        history = table.history([])
        assert history.losses.tolist() == [2.0]
        assert history.stopped.tolist() == [False]

    def test_a_returned_view_does_not_change_later(self):
        table = TrialTable(SPACE)
        table.add(3, Observation(point(0.3), [3.0], False))
        first = table.history([])
        table.add(3, Observation(point(0.3), [5.0], True))
        table.add(1, Observation(point(0.1), [1.0], False))
        assert table.history([]).losses.tolist() == [1.0, 5.0]
        assert (first.X[0, 0], first.losses.tolist(), first.stopped.tolist()) == (
            0.3,
            [3.0],
            [False],
        )
        with pytest.raises(ValueError, match="read-only"):
            first.X[0, 0] = 1.0

    @given(st.permutations(range(24)), st.sets(st.integers(0, 23)))
    def test_interleaved_reads_do_not_change_the_order(self, order, looks):
        table = TrialTable(SPACE)
        for k, number in enumerate(order):
            table.add(number, Observation(point(number / 24), [float(number)], number % 2 == 0))
            if k in looks:
                table.history([])
                table.add(
                    order[0],
                    Observation(point(order[0] / 24), [float(order[0])], order[0] % 2 == 0),
                )
        history = table.history([])
        assert history.X[:, 0].tolist() == [number / 24 for number in range(24)]
        assert history.losses.tolist() == list(range(24))
        assert history.stopped.tolist() == [number % 2 == 0 for number in range(24)]

    @pytest.mark.slow
    def test_a_read_is_fast_after_many_trials(self):
        table = TrialTable(SPACE)
        for number in range(20_000):
            table.add(number, Observation(point(number / 20_000), [0.0], False))
        table.history([])
        numbers = iter(range(20_000, 20_005))

        def one_more() -> None:
            table.add(next(numbers), Observation(point(0.5), [0.0], False))
            table.history([])

        assert pace.seconds(one_more) < 0.001  # about 0.00004

    def test_an_empty_history_has_its_columns(self):
        history = TrialTable(SPACE).history([])
        assert history.X.shape == history.pending_active.shape == (0, 3)

    def test_rows_equal_those_of_the_space(self):
        table = TrialTable(SPACE)
        points = SPACE.sample(np.random.default_rng(0), 40)
        for number, params in enumerate(points):
            table.add(number, Observation(params, [0.0], False))
            if number % 3 == 0:
                table.history([])
        history = table.history([])
        X, active = SPACE.encode(points)
        np.testing.assert_array_equal(history.X, X)
        np.testing.assert_array_equal(history.active, active)


class TestLosses:
    @pytest.mark.parametrize(
        ("outcome", "loss"),
        [
            (Outcome(State.COMPLETED, {"value": 2.0}), -2.0),
            (Outcome(State.STOPPED, {"value": 2.0}), -2.0),
            (Outcome(State.STOPPED), math.nan),
            (Outcome(State.FAILED, {"value": 2.0}), math.nan),
            (Outcome(State.COMPLETED, {"other": 2.0}), math.nan),
            (Outcome(State.COMPLETED, {"value": math.inf}), math.nan),
        ],
    )
    def test_lower_is_better_and_nan_is_no_value(self, outcome, loss):
        optimizer = watching(direction=Direction.MAXIMIZE)
        optimizer.tell(Trial(0, point(0.3)), outcome)
        optimizer.ask(1)
        np.testing.assert_array_equal(optimizer.history.losses, [loss])
        assert optimizer.history.failed.tolist() == [math.isnan(loss)]

    def test_a_study_of_two_metrics_is_refused(self):
        with pytest.raises(ArgumentError, match="one metric, but the study has 2: loss, time; use"):
            Watching().reset(SPACE, [Goal("loss"), Goal("time")], 0)


class TestNothingTwice:
    def test_a_repeated_suggestion_is_replaced(self):
        optimizer = watching()
        points = optimizer.ask(30)
        assert points[0] == optimizer.point
        assert len(set(map(SPACE.key, points))) == 30

    def test_a_batch_is_pending_for_the_suggestions_after_it(self):
        optimizer = watching()
        optimizer.ask(3, [Trial(4, point(0.1)), Trial(2, point(0.2))])
        assert optimizer.history.pending_X[:3, 0].tolist() == [0.2, 0.1, 0.5]
        assert optimizer.history.n_seen == 4

    @pytest.mark.slow
    def test_the_last_points_of_a_large_finite_space_are_found(self):
        space = Space({"a": Int(1, 300), "b": Int(1, 100)})
        optimizer = watching(space, {"a": 1, "b": 1})
        left = {(7, 7), (300, 100)}
        for number, params in enumerate(space.grid()):
            if (params["a"], params["b"]) not in left:
                optimizer.tell(Trial(number, params), Outcome(State.FAILED))
        assert {(p["a"], p["b"]) for p in optimizer.ask(2)} == left
        assert optimizer.ask(3)[2] == optimizer.point  # nothing is left

    def test_replacements_satisfy_the_constraints(self):
        space = Space({"a": Int(0, 30), "b": Int(0, 30)}).where(P("a") + P("b") == 30)
        optimizer = watching(space, {"a": 0, "b": 30})
        assert len({space.key(p) for p in optimizer.ask(31) if p in space}) == 31

    def test_a_space_too_large_to_list_may_give_a_repeated_point(self, monkeypatch):
        monkeypatch.setattr("tuner.optimizers.base.ENUMERABLE", 100)
        space = Space({"n": Int(1, 10_000)})
        optimizer = watching(space, {"n": 1})
        for n in range(1, 10_000):
            optimizer.tell(Trial(n, {"n": n}), Outcome(State.FAILED))
        assert optimizer.ask(1) == [{"n": 1}]


def test_startup_points_are_the_design_then_random():
    optimizer = watching()
    assert optimizer.start(TrialTable(SPACE).history([]), np.random.default_rng(0)) == (
        optimizer.design.point(0)
    )
    many = TrialTable(SPACE).history([optimizer.point] * 64)
    assert optimizer.start(many, np.random.default_rng(0)) in SPACE


def test_the_attributes_that_version_0_1_documented_keep_their_meaning():
    class Former(Watching):
        independent = True
        many_goals = True

    class Waiting(RandomOptimizer):
        independent = False

    assert Former.history_free
    assert not Waiting.history_free
    Former().reset(SPACE, [Goal("loss"), Goal("time")], 0)
    assert not Watching.history_free
