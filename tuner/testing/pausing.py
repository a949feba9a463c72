"""The conformance suite of schedulers that pause trials."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tuner.records import Direction, Goal, Outcome, Report, State, Trial
from tuner.schedulers.protocol import Decision, PausingScheduler

# Subclasses share the tests, so the failing examples of one must not be replayed on another.
checked = settings(
    deadline=None,
    max_examples=25,
    database=None,
    suppress_health_check=[HealthCheck.differing_executors],
)

GOALS = [Goal("loss"), Goal("score", Direction.MAXIMIZE)]


@dataclass
class Played:
    """The steps that each trial ran, and the calls of `resume`: the paused trials, `n`, answer."""

    steps: dict[int, int] = field(default_factory=dict)
    calls: list[tuple[list[int], int, list[int]]] = field(default_factory=list)


def play(
    scheduler: PausingScheduler,
    goal: Goal,
    curves: Sequence[Sequence[float]],
    *,
    workers: int = 2,
    saves: bool = True,
) -> Played:
    """Run each curve as a trial, one step of each busy worker in turn.

    Parameters
    ----------
    scheduler
        A new scheduler.
    goal
        The goal, whose metric is reported.
    curves
        The value of each trial after each step.
    workers
        Number of workers.
    saves
        Whether trials have checkpoints; without them, a paused trial is stopped.
    """
    scheduler.reset([goal])
    played, new = Played(), list(range(len(curves)))
    trials = [Trial(n, {}, State.RUNNING) for n in new]
    busy: list[int] = []
    paused: list[int] = []
    for _ in range(1 + sum(map(len, curves)) * 2):
        free = workers - len(busy)
        if free and paused:
            waiting = [trials[n] for n in sorted(paused)]
            chosen = list(scheduler.resume(waiting, free, min(free, len(new))))
            played.calls.append(([t.number for t in waiting], free, chosen))
            busy += chosen
            paused = [n for n in paused if n not in chosen]
        while len(busy) < workers and new:
            busy.append(new.pop(0))
        if not busy:
            break
        for n in list(busy):
            step = played.steps.get(n, 0)
            played.steps[n] = step + 1
            metrics = {goal.metric: curves[n][step]}
            decision = scheduler.on_report(trials[n], Report(step, metrics))
            state = State.COMPLETED
            if step + 1 < len(curves[n]):
                if decision is Decision.CONTINUE:
                    continue
                if decision is Decision.PAUSE and saves:
                    busy.remove(n)
                    paused.append(n)
                    continue
                state = State.STOPPED
            busy.remove(n)
            scheduler.on_finish(trials[n], Outcome(state, metrics))
    return played


def curve_sets() -> st.SearchStrategy[list[list[float]]]:
    """Return sets of up to 12 curves of one length."""
    values = st.floats(allow_nan=True, allow_infinity=True) | st.sampled_from([0.0, 0.1, 0.2])

    def of_length(length: int) -> st.SearchStrategy[list[list[float]]]:
        return st.lists(st.lists(values, min_size=length, max_size=length), max_size=12)

    return st.integers(1, 12).flatmap(of_length)


class PausingSchedulerConformance:
    """Tests of the contract of `tuner.schedulers.protocol.PausingScheduler`.

    Subclass it as ``TestMyScheduler`` and define `make`. Only paused trials may be resumed, each
    once, and no more than there are free workers; the same reports must give the same decisions, in
    both directions of the goal; of 30 trials of 30 steps with constant values, the best must run to
    its end, and all together fewer than half of their steps; a trial without a checkpoint must be
    stopped without harm to the others; NaN and infinities must not count as the best value.

    Examples
    --------
    >>> from tuner.schedulers import SuccessiveHalving
    >>> class TestSuccessiveHalving(PausingSchedulerConformance):
    ...     def make(self):
    ...         return SuccessiveHalving(grace=1, reduction=3)
    """

    def make(self) -> PausingScheduler:
        """Return a new scheduler that may pause a trial after its first report."""
        raise NotImplementedError

    @pytest.fixture(params=GOALS, ids=["minimize", "maximize"])
    def goal(self, request: pytest.FixtureRequest) -> Goal:
        """Return a goal: a metric to minimize, then one to maximize."""
        goal: Goal = request.param
        return goal

    def constant(self, goal: Goal) -> list[list[float]]:
        """Return 30 curves of 30 equal values; the best one comes in between."""
        return [[goal.direction.sign * (1.0 + (7 * n) % 30)] * 30 for n in range(30)]

    def best(self, goal: Goal) -> int:
        """Return the number of the best curve of `constant`."""
        losses = [goal.direction.sign * curve[0] for curve in self.constant(goal)]
        return losses.index(min(losses))

    def test_it_is_a_pausing_scheduler(self) -> None:
        assert isinstance(self.make(), PausingScheduler)

    @pytest.mark.parametrize("workers", [1, 4])
    def test_the_best_trial_runs_to_its_end_and_most_others_do_not(
        self, goal: Goal, workers: int
    ) -> None:
        played = play(self.make(), goal, self.constant(goal), workers=workers)
        assert played.steps[self.best(goal)] == 30
        assert sum(played.steps.values()) < 30 * 30 / 2

    def test_trials_without_checkpoints_are_stopped(self, goal: Goal) -> None:
        played = play(self.make(), goal, self.constant(goal), saves=False)
        assert sorted(played.steps) == list(range(30))
        assert not played.calls
        assert sum(played.steps.values()) < 30 * 30 / 2

    @checked
    @given(curves=curve_sets(), workers=st.integers(1, 4))
    def test_only_paused_trials_are_resumed(self, curves: list[list[float]], workers: int) -> None:
        for paused, n, chosen in play(self.make(), Goal(), curves, workers=workers).calls:
            assert len(chosen) <= n
            assert len(set(chosen)) == len(chosen)
            assert set(chosen) <= set(paused)

    @checked
    @given(curves=curve_sets(), maximize=st.booleans())
    def test_the_same_reports_give_the_same_decisions(
        self, curves: list[list[float]], maximize: bool
    ) -> None:
        goal = GOALS[maximize]
        used = self.make()
        play(used, goal, self.constant(goal))
        assert play(used, goal, curves) == play(self.make(), goal, curves)

    @checked
    @given(curves=curve_sets())
    def test_directions_are_mirror_images(self, curves: list[list[float]]) -> None:
        mirrored = [[-value for value in curve] for curve in curves]
        maximize = Goal("v", Direction.MAXIMIZE)
        assert play(self.make(), Goal("v"), curves) == play(self.make(), maximize, mirrored)

    @pytest.mark.parametrize("value", [math.nan, math.inf])
    def test_a_value_that_is_no_number_does_not_pass_for_the_best(
        self, goal: Goal, value: float
    ) -> None:
        curves = self.constant(goal)
        curves[0] = [goal.direction.sign * -value] * 30
        assert play(self.make(), goal, curves).steps[0] < 30

    def test_a_next_attempt_may_repeat_steps(self, goal: Goal) -> None:
        scheduler = self.make()
        play(scheduler, goal, self.constant(goal))
        trial = Trial(99, {})
        for _attempt in range(2):
            for step in range(3):
                value = goal.direction.sign * 0.5
                decision = scheduler.on_report(trial, Report(step, {goal.metric: value}))
                assert decision is not Decision.STOP
