"""The conformance suite of schedulers."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tuner.records import Direction, Failure, Goal, Outcome, Report, State, Trial
from tuner.schedulers.protocol import Decision, Scheduler

# Subclasses share the tests, so the failing examples of one must not be replayed on another.
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
class Step:
    """One event: a trial reports `value` (None: without the goal's metric), or ends."""

    trial: int
    value: float | None = None
    ends: bool = False
    stride: int = 1


histories = st.lists(
    st.builds(
        Step,
        st.integers(0, 7),
        st.none() | values,
        st.sampled_from([False, False, False, True]),
        st.integers(1, 9),
    ),
    max_size=150,
)


def play(scheduler: Scheduler, goal: Goal, events: list[Step]) -> list[tuple[Step, Decision]]:
    """Play events, and skip a trial after it ended or was stopped; return the decisions."""
    scheduler.reset([goal])
    step: dict[int, int] = {}
    over: set[int] = set()
    decisions: list[tuple[Step, Decision]] = []
    for event in events:
        if event.trial in over:
            continue
        trial = Trial(event.trial, {}, State.RUNNING)
        if event.ends:
            over.add(event.trial)
            scheduler.on_finish(trial, Outcome(State.COMPLETED, {goal.metric: event.value or 0.0}))
            continue
        metrics = {"other": 1.0} if event.value is None else {goal.metric: event.value}
        step[event.trial] = step.get(event.trial, -1) + event.stride
        decision = scheduler.on_report(trial, Report(step[event.trial], metrics))
        decisions.append((event, decision))
        if decision is Decision.STOP:
            over.add(event.trial)
            scheduler.on_finish(trial, Outcome(State.STOPPED, metrics))
    return decisions


class SchedulerConformance:
    """Tests of the contract of `tuner.schedulers.protocol.Scheduler`.

    Subclass it as ``TestMyScheduler`` and define `make`. The same reports must give the same
    decisions, in both directions of the goal; the best trial so far must not be stopped; among 30
    trials of 10 reports, each worse than all before, more than 10 must be stopped; a report without
    the metric must change nothing; NaN and infinities must not count as the best value.

    Examples
    --------
    >>> from tuner.schedulers import ASHA
    >>> class TestASHA(SchedulerConformance):
    ...     def make(self):
    ...         return ASHA(grace=1, reduction=2)
    """

    def make(self) -> Scheduler:
        """Return a new scheduler that may stop a trial after its first report."""
        raise NotImplementedError

    @pytest.fixture(params=GOALS, ids=["minimize", "maximize"])
    def goal(self, request: pytest.FixtureRequest) -> Goal:
        """Return a goal: a metric to minimize, then one to maximize."""
        goal: Goal = request.param
        return goal

    def worsening(self, goal: Goal) -> list[Step]:
        """Return events in which each trial is worse than all before it."""
        return [
            event
            for n in range(30)
            for event in (
                *(Step(n, goal.direction.sign * (n + 1.0)) for _ in range(10)),
                Step(n, n + 1.0, ends=True),
            )
        ]

    def test_it_is_a_scheduler(self) -> None:
        assert isinstance(self.make(), Scheduler)

    def test_bad_trials_are_stopped(self, goal: Goal) -> None:
        decisions = play(self.make(), goal, self.worsening(goal))
        stopped = {event.trial for event, decision in decisions if decision is Decision.STOP}
        assert len(stopped) > 10
        assert 0 not in stopped

    @checked
    @given(events=histories, maximize=st.booleans())
    def test_the_best_trial_so_far_is_never_stopped(
        self, events: list[Step], maximize: bool
    ) -> None:
        goal = GOALS[maximize]
        best: dict[int, float] = {}
        for event, decision in play(self.make(), goal, events):
            if event.value is not None and math.isfinite(event.value):
                loss = goal.direction.sign * event.value
                best[event.trial] = min(loss, best.get(event.trial, math.inf))
            if decision is Decision.STOP:
                assert best.get(event.trial, math.inf) > min(best.values())

    @checked
    @given(events=histories, maximize=st.booleans())
    def test_the_same_history_gives_the_same_decisions(
        self, events: list[Step], maximize: bool
    ) -> None:
        goal = GOALS[maximize]
        used = self.make()
        play(used, goal, self.worsening(goal))
        assert play(used, goal, events) == play(self.make(), goal, events)

    @checked
    @given(events=histories)
    def test_directions_are_mirror_images(self, events: list[Step]) -> None:
        mirrored = [
            Step(t.trial, None if t.value is None else -t.value, t.ends, t.stride) for t in events
        ]
        one = [d for _, d in play(self.make(), Goal("v"), events)]
        other = [d for _, d in play(self.make(), Goal("v", Direction.MAXIMIZE), mirrored)]
        assert one == other

    def test_reports_without_the_metric_change_nothing(self, goal: Goal) -> None:
        events = self.worsening(goal)
        padded = [t for event in events for t in ((Step(event.trial, None), event))]
        with_others = [d for t, d in play(self.make(), goal, padded) if t.value is not None]
        assert Decision.STOP in with_others
        silent = [Step(n % 5, None) for n in range(50)]
        assert {d for _, d in play(self.make(), goal, silent)} == {Decision.CONTINUE}

    def test_a_value_that_is_no_number_does_not_pass_for_the_best(self, goal: Goal) -> None:
        worse = self.worsening(goal)
        events = [event for event in worse if event.trial < 10]
        events += [Step(99, math.nan) for _ in range(10)]
        stopped = {t.trial for t, d in play(self.make(), goal, events) if d is Decision.STOP}
        assert 99 in stopped

    def test_a_trial_that_never_reported_may_end(self, goal: Goal) -> None:
        scheduler = self.make()
        scheduler.reset([goal])
        failure = Failure("WorkerLost", "gone")
        scheduler.on_finish(Trial(3, {}), Outcome(State.FAILED, {}, failure))
        scheduler.on_finish(Trial(3, {}), Outcome(State.FAILED, {}, failure))

    def test_a_next_attempt_reports_from_the_start_again(self, goal: Goal) -> None:
        scheduler = self.make()
        play(scheduler, goal, self.worsening(goal))
        good = {goal.metric: goal.direction.sign * 0.5}
        for _attempt in range(2):
            for step in range(5):
                decision = scheduler.on_report(Trial(99, {}), Report(step, good))
                assert decision is Decision.CONTINUE
