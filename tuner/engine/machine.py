"""The loop as a pure state machine: events in, commands out.

`Machine` knows which trials are open, which attempts are under way and what the budget allows. It
does no I/O, starts nothing and reads no clock: the time comes with each event, run tokens come
from a function it is given. Whatever happens, its answer is a list of commands for the driver.

    open trial ──Launch──> attempt ──Finished──> outcome ──Record, Tell──> counted once
         ^                    │
         └── lost, retried ───┘

Only the token of an attempt that is under way is accepted; a late or repeated message of any
other is refused, so an outcome counts at most once.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable, Iterable, Sequence

from tuner.backends.protocol import Finished, Lost, Resized, Sent
from tuner.engine.limits import Limits, RepeatedFailureDetector
from tuner.engine.machine_state import Attempt, Counts, Deadlines, Savepoint
from tuner.engine.messages import (
    Ask,
    AskRequested,
    Command,
    DropStale,
    End,
    Event,
    Interrupted,
    Launch,
    Opened,
    Record,
    RecordReport,
    SaveArtifact,
    SaveCheckpoint,
    Stop,
    StopRequested,
    Suggested,
    Tell,
    Tick,
)
from tuner.engine.seeds import trial_seed
from tuner.records import (
    SYSTEM,
    Begun,
    CheckpointEnd,
    CheckpointPart,
    Failure,
    Goal,
    Job,
    Message,
    Outcome,
    Output,
    Params,
    Report,
    Run,
    State,
    Trial,
    Upload,
)
from tuner.schedulers.protocol import Decision, Scheduler


class Machine:
    """Decides the next step of a study.

    Parameters
    ----------
    limits
        Limits on trials, time and retries.
    goals
        The study's goals.
    seed
        The study's seed; each trial's own is derived from it and the trial's number.
    new_run
        Gives a fresh run token at each call.
    history
        The study's trials so far; those without an outcome run again, as their next attempt.
    scheduler
        Decides about trials that report, None lets all run to their end.

    Attributes
    ----------
    run_template
        What every run of this session has in common, such as the keys of its code and environment.
    """

    def __init__(
        self,
        limits: Limits,
        goals: Sequence[Goal],
        seed: int,
        new_run: Callable[[], str],
        history: Iterable[Trial] = (),
        scheduler: Scheduler | None = None,
    ) -> None:
        self.run_template = Run("", 0)
        self.limits = limits
        self.goals = tuple(goals)
        self.seed = seed
        self.new_run = new_run
        self.scheduler = scheduler
        self.counts = Counts()
        self.active: dict[str, Attempt] = {}
        self.failure: Failure | None = None
        self._waiting: deque[Trial] = deque()
        self._open: dict[int, Trial] = {}  # by number, as numbers are given in their order
        self._deadlines = Deadlines()
        self._failures = RepeatedFailureDetector(limits)
        self._lost: dict[int, int] = {}
        self._failed: dict[int, int] = {}
        self._capacity = 0
        self._lag: int | None = None
        self._asked = 0
        self._next_number = 0
        self._opened_at: float | None = None
        self._date = 0.0
        self._ending: End | None = None
        self._over = False
        for trial in sorted(history, key=lambda t: t.number):
            self._next_number = max(self._next_number, trial.number + 1)
            if trial.state.finished:
                self.counts.add(trial.state)
                self._failures.see(Outcome(trial.state, error=trial.error))
            else:
                self._waiting.append(trial)
                self._open[trial.number] = trial

    # --- views for the driver -----------------------------------------------------------------

    @property
    def pending(self) -> list[Trial]:
        """The trials that have no outcome yet, by number."""
        return list(self._open.values())

    @property
    def running(self) -> int:
        """Number of attempts that run on a worker."""
        return min(len(self.active), self._capacity)

    def next_deadline(self) -> float | None:
        """Return the time at which a `Tick` is due though nothing has happened, or None."""
        due: list[float] = []
        if self.limits.timeout is not None and self._opened_at is not None and not self._ending:
            due.append(self._opened_at + self.limits.timeout)
        if (overdue := self._deadlines.next()) is not None:
            due.append(overdue)
        return min(due, default=None)

    # --- the one way in -----------------------------------------------------------------------

    def handle(self, event: Event, now: float, date: float | None = None) -> list[Command]:
        """Return what is to be done about `event`, which happened at `now`.

        Parameters
        ----------
        event
            What happened.
        now
            Seconds of a clock that is never set; every deadline and duration is measured by it.
        date
            Seconds since the epoch, for the record only; the same as `now` if None.
        """
        self._date = now if date is None else date
        if self._over:
            return []
        match event:
            case Tick():
                return self._tick(now)
            case Sent(run, message):
                return self._on_message(run, message, now)
            case Finished(run, outcome):
                return self._on_finished(run, outcome, now)
            case Lost(run, reason):
                return self._on_lost(run, reason, now)
            case Suggested(points):
                return self._on_suggested(points, now)
            case AskRequested(n):
                return self._launch_or_ask(n, now)
            case Opened(capacity):
                self._opened_at = now
                self._capacity = capacity
                self._lag = capacity if self.limits.in_order else None
                return []
            case Resized(capacity):
                self._capacity = capacity
                return []
            case StopRequested():
                return self._stop_launching(End.STOPPED)
            case Interrupted():
                return self._interrupt(End.INTERRUPTED, now)

    # --- filling free workers -----------------------------------------------------------------

    def adopt(self, trial: Trial, run: Run) -> None:
        """Take up an attempt that is under way already, begun by an earlier driver."""
        self._waiting = deque(t for t in self._waiting if t.number != trial.number)
        job = Job(run.uid, trial, run.attempt)
        self.active[run.uid] = Attempt(job, trial, run, launched=None)
        self._open[trial.number] = trial

    def savepoint(self) -> Savepoint:
        """Return where the machine stands, for `rollback_to`."""
        return Savepoint(
            dict(self.active), tuple(self._waiting), dict(self._open), self._next_number
        )

    def rollback_to(self, savepoint: Savepoint) -> None:
        """Take back the trials that were created and launched since `savepoint`: nobody recorded them.

        Only for what `enqueue`, `AskRequested` and `Suggested` do; an outcome is not taken back.
        """
        self.active = savepoint.active
        self._waiting = deque(savepoint.waiting)
        self._open = savepoint.open
        self._next_number = savepoint.next_number
        self._asked = 0

    def learn(self, trial: Trial) -> None:
        """Take in a trial as another process has recorded it; its runs are that process's.

        Trials that are new here must come by number.
        """
        number = trial.number
        known = self._open.get(number)
        if known is not None and known.state is State.WAITING:
            self._waiting = deque(t for t in self._waiting if t.number != number)
        elif known is not None:
            for uid in [u for u, a in self.active.items() if a.trial.number == number]:
                del self.active[uid]
                self._deadlines.drop(uid)
        self._next_number = max(self._next_number, number + 1)
        if trial.state.finished:
            self._open.pop(number, None)
            self.counts.add(trial.state)
            self._failures.see(Outcome(trial.state, error=trial.error))
            return
        self._open[number] = trial
        if trial.state is State.WAITING:
            in_order = not self._waiting or self._waiting[-1].number < number
            self._waiting.append(trial)
            if not in_order:
                self._waiting = deque(sorted(self._waiting, key=lambda t: t.number))

    @property
    def last_number(self) -> int:
        """The highest number of a trial, -1 if there is none."""
        return self._next_number - 1

    def open_trial(self, number: int) -> Trial | None:
        """Return a trial that has no outcome yet, None if it has one or does not exist."""
        return self._open.get(number)

    def enqueue(self, points: Iterable[Params]) -> list[Command]:
        """Create a waiting trial for each of `points`, to be run before anything is asked for."""
        trials = [self._new_trial(p) for p in points]
        self._waiting.extend(trials)
        return [Record(trial=t) for t in trials]

    def _tick(self, now: float) -> list[Command]:
        commands: list[Command] = []
        if not self._ending and self._overdue(now):
            commands += self._stop_launching(End.TIMEOUT)
        commands += self._kill_overdue(now)
        if not self._ending:
            commands += self._fill_workers(now)
        if not self.active and not self._asked and (self._ending or not self._room()):
            commands.append(self._finish(self._ending or End.BUDGET))
        return commands

    def _overdue(self, now: float) -> bool:
        """Whether the study's own timeout is over."""
        timeout = self.limits.timeout
        # The same sum as in `next_deadline`, so that it has come when that has.
        return (
            timeout is not None and self._opened_at is not None and now >= self._opened_at + timeout
        )

    def _room(self) -> bool:
        """Whether the budget allows one more trial to be begun."""
        return self._left() > 0

    def _left(self) -> float:
        """How many more trials may be begun: waiting ones are within the budget first."""
        n_trials = self.limits.n_trials
        if n_trials is None:
            return float("inf")
        return n_trials - self.counts.done - len(self.active) - self._asked

    def _fill_workers(self, now: float) -> list[Command]:
        free = self._capacity * self.limits.lookahead - len(self.active) - self._asked
        # Asking ahead in small pieces would cost what it is meant to save.
        if self.limits.lookahead > 1 and free < self._capacity and self.active:
            return []
        return self._launch_or_ask(int(min(free, self._left())), now)

    def _launch_or_ask(self, n: int, now: float) -> list[Command]:
        """Launch `n` trials: those that wait first, and for the rest ask the optimizer."""
        commands: list[Command] = []
        while self._waiting and n > 0:
            commands.append(self._launch(self._waiting.popleft(), now))
            n -= 1
        if self._lag is not None:
            n = min(n, self._within_lag(self._lag))
        if n > 0:
            self._asked += n
            commands.append(Ask(n))
        return commands

    def _within_lag(self, lag: int) -> int:
        """Return how many new trials may begin before the oldest open one has its outcome."""
        oldest = next(iter(self._open), self._next_number)
        return oldest + lag - self._next_number

    def _on_suggested(self, points: Sequence[Params], now: float) -> list[Command]:
        self._asked = 0
        if self._ending:
            return []
        return [self._launch(self._new_trial(p), now) for p in points]

    def _new_trial(self, params: Params) -> Trial:
        number = self._next_number
        self._next_number += 1
        trial = Trial(number, params, seed=trial_seed(self.seed, number))
        self._open[number] = trial
        return trial

    def _launch(self, trial: Trial, now: float) -> Launch:
        trial = dataclasses.replace(
            trial,
            state=State.RUNNING,
            attempts=trial.attempts + 1,
            started=self._date if trial.started is None else trial.started,
        )
        run = dataclasses.replace(
            self.run_template,
            uid=self.new_run(),
            trial=trial.number,
            attempt=trial.attempts,
            started=self._date,
        )
        job = Job(run.uid, trial, trial.attempts, timeout=self.limits.trial_timeout)
        self.active[run.uid] = Attempt(job, trial, run, launched=now)
        self._open[trial.number] = trial
        return Launch(job, run)

    # --- what workers say ---------------------------------------------------------------------

    def _on_message(self, uid: str, message: Message, now: float) -> list[Command]:
        attempt = self.active.get(uid)
        if attempt is None:
            return []
        match message:
            case Begun(worker, host, pid, time):
                attempt.begun = now
                # Only from now on: until then it stood in a queue, or waited for its worker.
                if self.limits.trial_timeout is not None and attempt.killed is None:
                    self._deadlines.set(uid, now + self.limits.trial_timeout)
                attempt.run = dataclasses.replace(
                    attempt.run, worker=worker, host=host, pid=pid, started=time
                )
                if attempt.run.attempt == 1:
                    attempt.trial = dataclasses.replace(attempt.trial, started=time)
                    self._open[attempt.trial.number] = attempt.trial
                return [Record(run=attempt.run)]
            case Output(text, time):
                attempt.run = dataclasses.replace(attempt.run, output=text, ended=time)
                return []
            case Upload():
                return [SaveArtifact(uid, message)]
            case CheckpointPart() | CheckpointEnd():
                return [SaveCheckpoint(attempt.trial.number, uid, message)]
            case Report():
                return self._on_report(attempt, message)

    def _on_report(self, attempt: Attempt, report: Report) -> list[Command]:
        attempt.last.update(
            {name: x for name, x in report.metrics.items() if not name.startswith(SYSTEM)}
        )
        commands: list[Command] = [RecordReport(attempt.run.uid, report)]
        about_goal = self.goals[0].metric in report.metrics
        if self.scheduler is None or attempt.stop_asked or not about_goal:
            return commands
        if self.scheduler.on_report(attempt.trial, report) is Decision.STOP:
            attempt.stop_asked = True
            commands.append(Stop(attempt.run.uid))
        return commands

    def _on_finished(self, uid: str, outcome: Outcome, now: float) -> list[Command]:
        attempt = self.active.get(uid)
        if attempt is None:
            return [DropStale(uid, outcome)]
        if attempt.killed is not None:
            # It ended by itself just before the kill reached it, yet it was overdue.
            return self._fail(attempt, attempt.killed, now)
        if outcome.state is State.FAILED:
            failure = outcome.error or Failure("Unknown", "the objective failed")
            return self._fail(attempt, failure, now, outcome.metrics)
        return self._settle(attempt, outcome, now)

    def _on_lost(self, uid: str, reason: str, now: float) -> list[Command]:
        attempt = self.active.get(uid)
        if attempt is None:
            return []
        if attempt.abandoned:
            return self._give_up(attempt, now)
        if attempt.killed is not None:
            return self._fail(attempt, attempt.killed, now)
        failure = Failure("WorkerLost", reason)
        lost = self._lost[attempt.trial.number] = self._lost.get(attempt.trial.number, 0) + 1
        if lost <= self.limits.max_lost and not self._ending:
            return self._retry(attempt, failure, now)
        if self._ending:
            return self._give_up(attempt, now)
        return self._settle(attempt, Outcome(State.FAILED, dict(attempt.last), failure), now)

    # --- how an attempt ends ------------------------------------------------------------------

    def _fail(
        self,
        attempt: Attempt,
        failure: Failure,
        now: float,
        metrics: dict[str, float] | None = None,
    ) -> list[Command]:
        number = attempt.trial.number
        failed = self._failed[number] = self._failed.get(number, 0) + 1
        if failed <= self.limits.max_retries and not self._ending:
            return self._retry(attempt, failure, now)
        kept = {**attempt.last, **(metrics or {})}
        return self._settle(attempt, Outcome(State.FAILED, kept, failure), now)

    def _retry(self, attempt: Attempt, failure: Failure, now: float) -> list[Command]:
        """End this run as failed and launch the trial's next one at once, on the same budget."""
        run = self._end_run(attempt, Outcome(State.FAILED, dict(attempt.last), failure), now)
        return [Record(run=run), self._launch(attempt.trial, now)]

    def _give_up(self, attempt: Attempt, now: float) -> list[Command]:
        """End this run; the trial stays open and is run again by a later call."""
        failure = Failure("Interrupted", "the study ended before this run did")
        run = self._end_run(attempt, Outcome(State.FAILED, dict(attempt.last), failure), now)
        trial = dataclasses.replace(attempt.trial, state=State.WAITING)
        self._waiting.append(trial)
        self._open[trial.number] = trial
        return [Record(trial, run)]

    def _settle(self, attempt: Attempt, outcome: Outcome, now: float) -> list[Command]:
        """Count the trial: its one outcome is recorded and told here and nowhere else."""
        run = self._end_run(attempt, outcome, now)
        trial = dataclasses.replace(
            attempt.trial,
            state=outcome.state,
            metrics=outcome.metrics,
            values=goal_values(self.goals, outcome),
            constraints=outcome.constraints,
            error=outcome.error,
            ended=_not_before(run.ended, attempt.trial.started),
        )
        self.counts.add(trial.state)
        del self._open[trial.number]
        if self.scheduler is not None:
            self.scheduler.on_finish(trial, outcome)
        return [Record(trial, run), Tell(trial, outcome), *self._end_if_all_failed(outcome, now)]

    def _end_run(self, attempt: Attempt, outcome: Outcome, now: float) -> Run:
        del self.active[attempt.run.uid]
        self._deadlines.drop(attempt.run.uid)
        return dataclasses.replace(
            attempt.run,
            state=outcome.state,
            metrics=outcome.metrics,
            error=outcome.error,
            ended=self._end_date(attempt, now),
        )

    def _end_date(self, attempt: Attempt, now: float) -> float | None:
        """Return the date at which a run ended: its beginning plus the time that it was measured.

        The worker measures this if it can. Of a run that another driver has launched only dates
        are known.
        """
        run, since = attempt.run, attempt.launched if attempt.begun is None else attempt.begun
        if run.ended is not None:
            return run.ended
        if since is None or run.started is None:
            return _not_before(self._date, run.started)
        return run.started + max(0.0, now - since)

    def _end_if_all_failed(self, outcome: Outcome, now: float) -> list[Command]:
        """End the study when every one of its first trials failed for the same reason."""
        self.failure = self._failures.see(outcome)
        return [] if self.failure is None else self._interrupt(End.ALL_FAILED, now)

    # --- deadlines and the end ----------------------------------------------------------------

    def _kill_overdue(self, now: float) -> list[Command]:
        commands: list[Command] = []
        for uid in self._deadlines.pop_overdue(now):
            limit = self.limits.trial_timeout
            self.active[uid].killed = Failure(
                "Timeout", f"ran longer than trial_timeout={limit:g} s"
            )
            commands.append(Stop(uid, kill=True))
        return commands

    def _stop_launching(self, end: End) -> list[Command]:
        """Begin nothing more; take back what was handed out but has not begun."""
        self._ending = self._ending or end
        commands: list[Command] = []
        if self.limits.lookahead > 1:
            for uid, attempt in self.active.items():
                if attempt.begun is None and not attempt.abandoned:
                    attempt.abandoned = True
                    commands.append(Stop(uid, kill=True))
        return commands

    def _interrupt(self, end: End, now: float) -> list[Command]:
        self._ending = end
        commands: list[Command] = []
        for attempt in list(self.active.values()):
            commands.append(Stop(attempt.run.uid, kill=True))
            commands += self._give_up(attempt, now)
        commands.append(self._finish(end))
        return commands

    def _finish(self, end: End) -> End:
        self._over = True
        return end


def _not_before(date: float | None, began: float | None) -> float | None:
    """Return a date, or the beginning if that is later, as the wall's clock may have been set."""
    return date if date is None or began is None else max(date, began)


def goal_values(goals: Sequence[Goal], outcome: Outcome) -> tuple[float, ...]:
    """Return one value per goal in their order, nothing if any is missing or the run failed."""
    if outcome.state is State.FAILED or any(g.metric not in outcome.metrics for g in goals):
        return ()
    return tuple(outcome.metrics[g.metric] for g in goals)
