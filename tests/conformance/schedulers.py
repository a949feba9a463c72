"""Conformance tests for `Scheduler`; subclass `SchedulerConformance` and define `make`."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tuner.records import Direction, Failure, Goal, Outcome, Report, State, Trial
from tuner.schedulers.protocol import Decision, Scheduler

# The subclasses share the tests, so an example that failed for one must not be tried on another.
checked = settings(
    deadline=None,
    max_examples=80,
    database=None,
    suppress_health_check=[HealthCheck.differing_executors],
)

GOALS = [Goal("loss"), Goal("score", Direction.MAXIMIZE)]
values = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True), st.sampled_from([0.0, 0.1, 0.2, 0.3])
)


@dataclass(frozen=True)
class Told:
    """A trial reports `value` (None: something else than the goal's metric), or ends."""

    trial: int
    value: float | None = None
    ends: bool = False
    stride: int = 1


stories = st.lists(
    st.builds(
        Told,
        st.integers(0, 7),
        st.none() | values,
        st.sampled_from([False, False, False, True]),
        st.integers(1, 9),
    ),
    max_size=150,
)


def play(scheduler: Scheduler, goal: Goal, story: list[Told]) -> list[tuple[Told, Decision]]:
    """Tell a story; a trial that was stopped or has ended tells no more. Return the decisions."""
    scheduler.reset([goal])
    step: dict[int, int] = {}
    over: set[int] = set()
    decisions: list[tuple[Told, Decision]] = []
    for told in story:
        if told.trial in over:
            continue
        trial = Trial(told.trial, {}, State.RUNNING)
        if told.ends:
            over.add(told.trial)
            scheduler.on_finish(trial, Outcome(State.COMPLETED, {goal.metric: told.value or 0.0}))
            continue
        metrics = {"other": 1.0} if told.value is None else {goal.metric: told.value}
        step[told.trial] = step.get(told.trial, -1) + told.stride
        decision = scheduler.on_report(trial, Report(step[told.trial], metrics))
        decisions.append((told, decision))
        if decision is Decision.STOP:
            over.add(told.trial)
            scheduler.on_finish(trial, Outcome(State.STOPPED, metrics))
    return decisions


class SchedulerConformance:
    """Subclass as ``TestMine`` and say how to make one that stops trials readily."""

    def make(self) -> Scheduler:
        """Return a scheduler that may stop a trial from its first report on."""
        raise NotImplementedError

    @pytest.fixture(params=GOALS, ids=["minimize", "maximize"])
    def goal(self, request: pytest.FixtureRequest) -> Goal:
        goal: Goal = request.param
        return goal

    def losses(self, goal: Goal) -> list[Told]:
        """Return a story in which each trial is worse than all before it."""
        return [
            told
            for n in range(30)
            for told in (
                *(Told(n, goal.direction.sign * (n + 1.0)) for _ in range(10)),
                Told(n, n + 1.0, ends=True),
            )
        ]

    def test_it_is_a_scheduler(self) -> None:
        assert isinstance(self.make(), Scheduler)

    def test_bad_trials_are_stopped(self, goal: Goal) -> None:
        decisions = play(self.make(), goal, self.losses(goal))
        stopped = {told.trial for told, decision in decisions if decision is Decision.STOP}
        assert len(stopped) > 10
        assert 0 not in stopped

    @checked
    @given(story=stories, maximize=st.booleans())
    def test_the_best_trial_so_far_is_never_stopped(
        self, story: list[Told], maximize: bool
    ) -> None:
        goal = GOALS[maximize]
        best: dict[int, float] = {}
        for told, decision in play(self.make(), goal, story):
            if told.value is not None and not math.isnan(told.value):
                loss = goal.direction.sign * told.value
                best[told.trial] = min(loss, best.get(told.trial, math.inf))
            if decision is Decision.STOP:
                assert best.get(told.trial, math.inf) > min(best.values())

    @checked
    @given(story=stories, maximize=st.booleans())
    def test_the_same_story_gives_the_same_decisions(
        self, story: list[Told], maximize: bool
    ) -> None:
        goal = GOALS[maximize]
        used = self.make()
        play(used, goal, self.losses(goal))
        assert play(used, goal, story) == play(self.make(), goal, story)

    @checked
    @given(story=stories)
    def test_directions_are_mirror_images(self, story: list[Told]) -> None:
        mirrored = [
            Told(t.trial, None if t.value is None else -t.value, t.ends, t.stride) for t in story
        ]
        one = [d for _, d in play(self.make(), Goal("v"), story)]
        other = [d for _, d in play(self.make(), Goal("v", Direction.MAXIMIZE), mirrored)]
        assert one == other

    def test_reports_without_the_metric_change_nothing(self, goal: Goal) -> None:
        story = self.losses(goal)
        padded = [t for told in story for t in ((Told(told.trial, None), told))]
        with_others = [d for t, d in play(self.make(), goal, padded) if t.value is not None]
        assert Decision.STOP in with_others
        silent = [Told(n % 5, None) for n in range(50)]
        assert {d for _, d in play(self.make(), goal, silent)} == {Decision.CONTINUE}

    def test_a_value_that_is_no_number_does_not_pass_for_the_best(self, goal: Goal) -> None:
        worse = self.losses(goal)
        story = [told for told in worse if told.trial < 10]
        story += [Told(99, math.nan) for _ in range(10)]
        stopped = {t.trial for t, d in play(self.make(), goal, story) if d is Decision.STOP}
        assert 99 in stopped

    def test_a_trial_that_never_reported_may_end(self, goal: Goal) -> None:
        scheduler = self.make()
        scheduler.reset([goal])
        failure = Failure("WorkerLost", "gone")
        scheduler.on_finish(Trial(3, {}), Outcome(State.FAILED, {}, failure))
        scheduler.on_finish(Trial(3, {}), Outcome(State.FAILED, {}, failure))

    def test_a_next_attempt_reports_from_the_start_again(self, goal: Goal) -> None:
        scheduler = self.make()
        play(scheduler, goal, self.losses(goal))
        good = {goal.metric: goal.direction.sign * 0.5}
        for _attempt in range(2):
            for step in range(5):
                decision = scheduler.on_report(Trial(99, {}), Report(step, good))
                assert decision is Decision.CONTINUE
