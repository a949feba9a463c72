"""Limits of a study, and parts of its state: open trials, active runs, counts and deadlines."""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from tuner.records import (
    SYSTEM,
    Begun,
    Failure,
    Goal,
    Job,
    Outcome,
    Params,
    Report,
    Run,
    State,
    Trial,
)
from tuner.records.seeds import trial_seed
from tuner.schedulers.protocol import Decision


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits on trials, time and retries of the loop. Times are in seconds.

    Attributes
    ----------
    n_trials
        Total number of trials of the study.
    timeout, trial_timeout
        Time limits of this call and of each run.
    max_retries, max_lost
        How often a trial is retried after its objective failed, or after its worker was lost.
    max_identical_failures
        The call ends if its first trials, this many, all fail for the same reason; None disables
        this.
    lookahead
        Jobs submitted per worker; above 1 only if suggestions do not depend on outcomes.
    in_order
        Whether trial k starts only after all trials up to k - capacity have outcomes.
    """

    n_trials: int | None = None
    timeout: float | None = None
    trial_timeout: float | None = None
    max_retries: int = 0
    max_lost: int = 3
    max_identical_failures: int | None = 5
    lookahead: int = 1
    in_order: bool = False

    def left(self, begun: int) -> float:
        """Return how many more trials may begin after `begun` ones."""
        return math.inf if self.n_trials is None else self.n_trials - begun

    def ends(self, opened: float | None) -> float:
        """Return the time at which a call ends whose workers were ready at `opened`, if they are.

        A deadline and a check of it must not disagree by rounding, so both call this.
        """
        return math.inf if self.timeout is None or opened is None else opened + self.timeout


class RepeatedFailureDetector:
    """Detects that all first trials of a call fail for the same reason.

    Parameters
    ----------
    limits
        `max_identical_failures` is the number of trials; a smaller budget replaces it.
    """

    def __init__(self, limits: Limits) -> None:
        threshold = limits.max_identical_failures
        if threshold is not None and limits.n_trials is not None:
            threshold = min(threshold, limits.n_trials)
        self._threshold = threshold  # None once any trial differs
        self._failures: list[Failure] = []

    def see(self, outcome: Outcome) -> Failure | None:
        """Process the next outcome; return the common failure once the threshold is reached."""
        if self._threshold is None:
            return None
        if outcome.state is not State.FAILED or outcome.error is None:
            self._threshold = None
            return None
        self._failures.append(outcome.error)
        if outcome.error.reason != self._failures[0].reason:
            self._threshold = None
            return None
        return self._failures[0] if len(self._failures) >= self._threshold else None


@dataclass(slots=True)
class Attempt:
    """An active run.

    `launched` and `begun` are times on the monotonic clock; `launched` is None if another driver
    launched the run. `last` has the last reported metrics, `killed` the failure to record once the
    job has been killed. An `abandoned` job was canceled before it started. `decision` is the last
    one of the scheduler. `queued` is the trial as it was before the launch, until a worker begins
    the job; None after that.
    """

    job: Job
    trial: Trial
    run: Run
    launched: float | None
    begun: float | None = None
    last: dict[str, float] = field(default_factory=dict)
    killed: Failure | None = None
    abandoned: bool = False
    decision: Decision = Decision.CONTINUE
    queued: Trial | None = None

    def begin(self, begun: Begun, now: float) -> None:
        """Note that a worker began the job at time `now`."""
        self.begun = now
        self.run = replace(
            self.run, worker=begun.worker, host=begun.host, pid=begun.pid, started=begun.time
        )
        if self.queued is not None and self.queued.started is None:
            self.trial = replace(self.trial, started=begun.time)

    def note(self, report: Report) -> None:
        """Note the last reported metrics, without system metrics."""
        named = report.metrics.items()
        self.last.update({name: x for name, x in named if not name.startswith(SYSTEM)})

    def ended_run(self, outcome: Outcome, now: float, date: float) -> Run:
        """Return the run with its outcome, which arrived at time `now` on `date`."""
        return replace(
            self.run,
            state=outcome.state,
            metrics=outcome.metrics,
            error=outcome.error,
            ended=self._end_date(now, date),
        )

    def _end_date(self, now: float, date: float) -> float | None:
        """Return the date of the run's start plus its measured duration.

        The worker measures this if it can. For a run that another driver launched, only dates are
        known.
        """
        run, since = self.run, self.launched if self.begun is None else self.begun
        if run.ended is not None:
            return run.ended
        if since is None or run.started is None:
            return _not_before(date, run.started)
        return run.started + max(0.0, now - since)


def next_attempt(trial: Trial, run: Run, timeout: float | None, now: float) -> Attempt:
    """Return the next attempt at a trial, launched at time `now`; `run` has its token and date."""
    attempts = trial.attempts + 1
    started = run.started if trial.started is None else trial.started
    trial = replace(trial, state=State.RUNNING, attempts=attempts, started=started)
    run = replace(run, trial=trial.number, attempt=attempts)
    return Attempt(Job(run.uid, trial, attempts, timeout=timeout), trial, run, launched=now)


def finished_trial(
    trial: Trial, goals: Sequence[Goal], outcome: Outcome, ended: float | None
) -> Trial:
    """Return a trial with its outcome."""
    return replace(
        trial,
        state=outcome.state,
        metrics=outcome.metrics,
        values=goal_values(goals, outcome),
        constraints=outcome.constraints,
        error=outcome.error,
        ended=_not_before(ended, trial.started),
        notes={**trial.notes, **outcome.notes},
    )


def waiting_again(trial: Trial) -> Trial:
    """Return a trial whose run ended with its driver; the time until its next run is not its own.

    The record of that run keeps its start.
    """
    return replace(trial, state=State.WAITING, started=None)


def goal_values(goals: Sequence[Goal], outcome: Outcome) -> tuple[float, ...]:
    """Return one value per goal, in order.

    Empty if any is missing or not finite, or the run failed.
    """
    values = tuple(outcome.metrics.get(g.metric, math.nan) for g in goals)
    if outcome.state is State.FAILED or not all(map(math.isfinite, values)):
        return ()
    return values


def _not_before(date: float | None, start: float | None) -> float | None:
    """Return a date, or `start` if that is later, because the wall clock may have been set."""
    return date if date is None or start is None else max(date, start)


class OpenTrials:
    """Trials without an outcome, and the queue of those that wait to run.

    Attributes
    ----------
    waiting
        Trials that wait to run, in order.
    open
        All trials without an outcome, by ascending number.
    next_number
        The number of the next new trial.
    """

    def __init__(self, study_seed: int) -> None:
        self.waiting: deque[Trial] = deque()
        self.open: dict[int, Trial] = {}
        self.next_number = 0
        self._study_seed = study_seed

    def create(self, params: Params) -> Trial:
        """Return a new open trial, which does not wait."""
        number = self.next_number
        self.next_number += 1
        trial = Trial(number, params, seed=trial_seed(self._study_seed, number))
        self.open[number] = trial
        return trial

    def within_lag(self, lag: int) -> int:
        """Return how many new trials may start until `lag` ones follow the oldest open one."""
        return next(iter(self.open), self.next_number) + lag - self.next_number

    def reserve(self, number: int) -> None:
        """Mark a number as used."""
        self.next_number = max(self.next_number, number + 1)

    def enqueue(self, trial: Trial) -> None:
        """Append a trial to the queue."""
        self.waiting.append(trial)
        self.open[trial.number] = trial

    def start(self, trial: Trial) -> None:
        """Remove a trial from the queue; it stays open."""
        self.waiting = deque(t for t in self.waiting if t.number != trial.number)
        self.open[trial.number] = trial

    def replace(self, trial: Trial) -> None:
        """Replace a trial by its latest record, and keep the queue sorted if it waits."""
        known = self.open.get(trial.number)
        if known is not None and known.state is State.WAITING:
            self.waiting = deque(t for t in self.waiting if t.number != trial.number)
        self.reserve(trial.number)
        if trial.state.finished:
            self.open.pop(trial.number, None)
            return
        self.open[trial.number] = trial
        if trial.state is State.WAITING:
            in_order = not self.waiting or self.waiting[-1].number < trial.number
            self.waiting.append(trial)
            if not in_order:
                self.waiting = deque(sorted(self.waiting, key=lambda t: t.number))


@dataclass(slots=True)
class Counts:
    """Number of finished trials of a study, by state."""

    completed: int = 0
    stopped: int = 0
    failed: int = 0

    @property
    def done(self) -> int:
        """Number of trials with an outcome."""
        return self.completed + self.stopped + self.failed

    def add(self, state: State) -> None:
        """Count a trial that ended in `state`."""
        setattr(self, state.value, getattr(self, state.value) + 1)


class Deadlines:
    """Deadlines of runs, in a heap: each call takes logarithmic time.

    Examples
    --------
    >>> deadlines = Deadlines()
    >>> deadlines.set("a", 10.0)
    >>> deadlines.set("b", 20.0)
    >>> deadlines.drop("a")
    >>> deadlines.next(), deadlines.pop_overdue(20.0), deadlines.next()
    (20.0, ['b'], None)
    """

    def __init__(self) -> None:
        self._due: dict[str, float] = {}
        # May contain dropped entries; only those that match `_due` count.
        self._heap: list[tuple[float, str]] = []

    def set(self, run: str, due: float) -> None:
        """Set the deadline of a run."""
        self._due[run] = due
        heapq.heappush(self._heap, (due, run))

    def drop(self, run: str) -> None:
        """Remove the deadline of a run, if it has one."""
        self._due.pop(run, None)

    def next(self) -> float | None:
        """Return the earliest deadline, or None."""
        while self._heap and self._due.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def pop_overdue(self, now: float) -> list[str]:
        """Remove and return the runs whose deadline has passed."""
        overdue: list[str] = []
        while (due := self.next()) is not None and due <= now:
            _, run = heapq.heappop(self._heap)
            del self._due[run]
            overdue.append(run)
        return overdue
