"""Properties of the state machine: each trial counts once and the budget is never exceeded."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

from hypothesis import example, given, settings
from hypothesis import strategies as st

from support.effort import examples
from tuner.backends.protocol import Finished, Lost, Resized, Sent
from tuner.engine.machine import Machine
from tuner.engine.machine_state import Limits
from tuner.engine.messages import (
    Ask,
    Command,
    End,
    Event,
    Interrupted,
    Launch,
    Opened,
    Record,
    Stop,
    StopRequested,
    Suggested,
    Tell,
    Tick,
)
from tuner.records import Begun, Failure, Goal, Outcome, Report, Run, State, Trial

GOALS = (Goal(),)


@dataclass
class World:
    """Simulates backend, optimizer and store of a machine, and records its commands."""

    machine: Machine
    now: float = 0.0
    jobs: dict[str, int] = field(default_factory=dict)
    trials: dict[int, Trial] = field(default_factory=dict)
    runs: dict[str, Run] = field(default_factory=dict)
    told: list[int] = field(default_factory=list)
    killed: list[str] = field(default_factory=list)
    most_at_once: int = 0
    end: End | None = None

    def handle(self, event: Event) -> None:
        self.act(self.machine.handle(event, self.now))

    def act(self, commands: list[Command]) -> None:
        for command in commands:
            assert self.end is None, f"{command} after the end"
            match command:
                case Ask(n):
                    assert n > 0
                    self.handle(Suggested([{"x": 0.0}] * n))
                case Launch(job, run):
                    assert job.run == run.uid
                    assert run.uid not in self.runs, "a token is used once"
                    assert job.trial.number not in self.jobs.values(), "one attempt at a time"
                    self.jobs[job.run] = job.trial.number
                    self.most_at_once = max(self.most_at_once, len(self.jobs))
                    self.note(job.trial, run)
                case Record(trial, run):
                    self.note(trial, run)
                case Tell(trial, outcome):
                    assert trial.state is outcome.state
                    self.told.append(trial.number)
                case Stop(run, kill):
                    if kill and self.jobs.pop(run, None) is not None:
                        self.killed.append(run)
                case End():
                    self.end = command

    def tick(self) -> None:
        """Deliver the events of killed jobs, then a tick."""
        while self.killed:
            self.handle(Lost(self.killed.pop(), "killed"))
        self.handle(Tick())

    def note(self, trial: Trial | None, run: Run | None) -> None:
        if trial is not None:
            before = self.trials.get(trial.number)
            assert before is None or not before.state.finished, "an outcome never changes"
            self.trials[trial.number] = trial
        if run is not None:
            if run.state.finished:
                self.jobs.pop(run.uid, None)
            self.runs[run.uid] = run


def world(limits: Limits, capacity: int, history: list[Trial] | None = None) -> World:
    tokens = itertools.count()
    machine = Machine(limits, GOALS, 7, lambda: f"run-{next(tokens)}", history or [])
    w = World(machine)
    for trial in history or []:
        w.trials[trial.number] = trial
    w.handle(Opened(capacity, capacity))
    w.tick()
    return w


HAPPENINGS = st.lists(
    st.tuples(
        st.sampled_from(
            ["finish", "fail", "lose", "late", "report", "begin", "wait", "grow", "shrink"]
        ),
        st.integers(0, 7),
    ),
    max_size=120,
)


@settings(max_examples=examples(500), deadline=None)
@given(
    happenings=HAPPENINGS,
    n_trials=st.integers(1, 12),
    capacity=st.integers(1, 4),
    retries=st.integers(0, 2),
    lookahead=st.sampled_from([1, 4]),
    trial_timeout=st.sampled_from([None, 3.0]),
)
def test_the_budget_is_exact_and_each_trial_is_told_once(
    happenings, n_trials, capacity, retries, lookahead, trial_timeout
):
    limits = Limits(
        n_trials,
        max_retries=retries,
        max_lost=2,
        lookahead=lookahead,
        max_identical_failures=None,
        trial_timeout=trial_timeout,
    )
    w = world(limits, capacity)
    gone: list[str] = []
    for what, which in happenings:
        if w.end:
            break
        jobs = list(w.jobs)
        run = jobs[which % len(jobs)] if jobs else "nobody"
        match what:
            case "finish":
                w.handle(Finished(run, Outcome(State.COMPLETED, {"value": 1.0})))
                gone.append(run)
            case "fail":
                w.handle(Finished(run, Outcome(State.FAILED, {}, Failure("ValueError", "bad"))))
                gone.append(run)
            case "lose":
                w.handle(Lost(run, "worker died"))
                gone.append(run)
            case "late" if gone:
                stale = gone[which % len(gone)]
                w.handle(Finished(stale, Outcome(State.COMPLETED, {"value": -99.0})))
            case "report":
                w.handle(Sent(run, Report(0, {"value": 1.0})))
            case "begin":
                w.handle(Sent(run, Begun("w", "host", 1, w.now)))
            case "wait":
                w.now += 1.0
            case "grow":
                w.handle(Resized(capacity + 1))
            case "shrink":
                w.handle(Resized(1))
        w.tick()
        assert len(w.trials) <= n_trials, "the budget is never overshot"
    for _ in range(10_000):
        if w.end:
            break
        for run in list(w.jobs):
            w.handle(Finished(run, Outcome(State.COMPLETED, {"value": 1.0})))
        w.tick()
    assert w.end is End.BUDGET
    assert sorted(w.trials) == list(range(n_trials))
    assert sorted(w.told) == list(range(n_trials)), "each trial is told exactly once"
    assert all(t.state.finished for t in w.trials.values())
    assert all(r.state.finished for r in w.runs.values()), "no run is left over"
    assert -99.0 not in [t.value for t in w.trials.values()], "a stale outcome is refused"
    for trial in w.trials.values():
        assert trial.attempts == sum(r.trial == trial.number for r in w.runs.values())
    if lookahead == 1:
        assert w.most_at_once <= capacity + 1


@settings(max_examples=examples(200), deadline=None)
@given(
    happenings=HAPPENINGS,
    capacity=st.integers(1, 4),
    cut=st.integers(0, 40),
    halt=st.booleans(),
)
def test_a_resumed_study_finishes_its_open_trials(happenings, capacity, cut, halt):
    n_trials = 8
    limits = Limits(n_trials, max_identical_failures=None)
    w = world(limits, capacity)
    for what, which in happenings[:cut]:
        jobs = list(w.jobs)
        if jobs and what in ("finish", "fail"):
            run = jobs[which % len(jobs)]
            w.handle(Finished(run, Outcome(State.COMPLETED, {"value": 1.0})))
            w.tick()
    if halt:  # Ctrl-C; without it, the driver was killed and its trials are still RUNNING
        w.handle(Interrupted("interrupted"))
        assert all(t.state is not State.RUNNING for t in w.trials.values())
    first_told = list(w.told)
    second = world(limits, capacity, sorted(w.trials.values(), key=lambda t: t.number))
    for _ in range(1000):
        if second.end:
            break
        for run in list(second.jobs):
            second.handle(Finished(run, Outcome(State.COMPLETED, {"value": 1.0})))
        second.tick()
    assert second.end is End.BUDGET
    assert sorted(first_told + second.told) == list(range(n_trials)), "nothing twice, none missing"
    for number, trial in w.trials.items():
        assert second.trials[number].params == trial.params


def fail(w: World, message: str = "bad", place: str = "f.py:1") -> None:
    (run, *_) = w.jobs
    failure = Failure("ValueError", message, place=place)
    w.handle(Finished(run, Outcome(State.FAILED, {}, failure)))
    w.tick()


def test_same_first_failures_end_the_study():
    w = world(Limits(100, max_identical_failures=5), 1)
    for i in range(5):
        assert w.end is None
        fail(w, message=f"bad value {i}")
    assert w.end is End.ALL_FAILED
    assert w.machine.failure is not None
    assert len(w.told) == 5


def test_different_first_failures_do_not_end_it():
    w = world(Limits(20, max_identical_failures=5), 1)
    for i in range(10):
        fail(w, place=f"f.py:{i % 2}")
    assert w.end is None


def test_failures_after_a_completed_trial_do_not_end_the_study():
    w = world(Limits(20, max_identical_failures=3), 1)
    fail(w)
    (run,) = w.jobs
    w.handle(Finished(run, Outcome(State.COMPLETED, {"value": 1.0})))
    w.tick()
    for _ in range(5):
        fail(w)
    assert w.end is None


def test_a_small_budget_with_only_failures_ends_with_the_reason():
    w = world(Limits(2, max_identical_failures=5), 1)
    fail(w)
    fail(w)
    assert w.end is End.ALL_FAILED


def test_an_overdue_trial_is_killed_and_has_failed():
    w = world(Limits(1, trial_timeout=10.0), 1)
    (run,) = w.jobs
    w.handle(Sent(run, Begun("w", "host", 1, 0.0)))
    w.now = 9.9
    w.tick()
    assert run in w.jobs
    assert w.machine.next_deadline() == 10.0
    w.now = 10.0
    w.tick()
    assert run not in w.jobs
    w.tick()
    assert w.end is End.ALL_FAILED
    assert w.trials[0].error == Failure("Timeout", "ran longer than trial_timeout=10 s")


def test_the_study_timeout_lets_running_trials_end():
    w = world(Limits(None, timeout=5.0), 2)
    assert len(w.jobs) == 2
    w.now = 5.0
    w.tick()
    assert w.end is None
    for run in list(w.jobs):
        w.handle(Finished(run, Outcome(State.COMPLETED, {"value": 1.0})))
    w.tick()
    assert w.end is End.TIMEOUT
    assert w.told == [0, 1]


def test_draining_reclaims_jobs_submitted_ahead():
    w = world(Limits(100, lookahead=4), 1)
    first, *rest = list(w.jobs)
    assert len(rest) == 3
    w.handle(Sent(first, Begun("w", "host", 1, 0.0)))
    w.handle(StopRequested("enough"))
    assert w.killed == rest
    w.tick()
    w.handle(Finished(first, Outcome(State.COMPLETED, {"value": 1.0})))
    w.tick()
    assert w.end is End.STOPPED
    assert w.told == [0]
    assert [t.state for t in w.trials.values()].count(State.WAITING) == 3


def test_a_lost_worker_is_retried_and_then_fails():
    w = world(Limits(1, max_lost=2), 1)
    for attempt in (1, 2, 3):
        (run,) = w.jobs
        assert w.runs[run].attempt == attempt
        w.handle(Lost(run, "the worker died"))
        w.tick()
    assert w.trials[0].state is State.FAILED
    assert w.trials[0].error == Failure("WorkerLost", "the worker died")
    assert w.trials[0].attempts == 3


def test_a_retried_trial_keeps_its_params_number_and_seed():
    w = world(Limits(1, max_retries=1), 1)
    seed = w.trials[0].seed
    fail(w)
    (run,) = w.jobs
    w.handle(Finished(run, Outcome(State.COMPLETED, {"value": 2.0})))
    w.tick()
    assert (w.trials[0].seed, w.trials[0].attempts, w.trials[0].value) == (seed, 2, 2.0)
    assert [r.state for r in w.runs.values()] == [State.FAILED, State.COMPLETED]


def test_waiting_points_are_run_before_the_optimizer_is_asked():
    machine = Machine(Limits(3), GOALS, 0, map(str, itertools.count()).__next__)
    w = World(machine)
    w.handle(Opened(1, 1))
    w.act(machine.enqueue([{"x": 42.0}]))
    w.tick()
    (number,) = w.jobs.values()
    assert w.trials[number].params == {"x": 42.0}


@given(begun=st.floats(9e8, 2e9), limit=st.floats(1e-3, 1e5))
@example(begun=946684800.25, limit=0.4)
def test_each_deadline_is_handled_once(begun: float, limit: float):
    w = world(Limits(trial_timeout=limit), 1)
    (run,) = w.jobs
    w.now = begun
    w.handle(Sent(run, Begun("w", "host", 1, begun)))
    due = w.machine.next_deadline()
    assert due is not None
    w.now = due
    w.tick()
    later = w.machine.next_deadline()
    assert later is None or later > due


def test_waiting_trials_are_sorted_by_number_and_deadlines_by_time():
    history = [Trial(n, {"x": 0.0}, State.WAITING) for n in (2, 0, 1)]
    w = world(Limits(6, trial_timeout=10.0), 3, history)
    assert [t.number for t in w.machine.pending] == [0, 1, 2]
    runs = {number: run for run, number in w.jobs.items()}
    for now, number in ((1.0, 2), (2.0, 0), (3.0, 1)):
        w.now = now
        w.handle(Sent(runs[number], Begun("w", "host", 1, now)))
    assert w.machine.next_deadline() == 11.0
    w.handle(Finished(runs[2], Outcome(State.COMPLETED, {"value": 1.0})))
    assert w.machine.next_deadline() == 12.0
    w.handle(Lost(runs[0], "worker died"))
    assert w.machine.next_deadline() == 13.0
    w.tick()
    assert [t.number for t in w.machine.pending] == [0, 1, 3]
    assert w.machine.pending[0].attempts == 2
