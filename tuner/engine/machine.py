"""The loop as a pure state machine: events in, commands out.

`Machine` tracks open trials, active attempts and the budget. It does no I/O and reads no clock:
each event carries its time, and a function creates run tokens. The answer to each event is a list
of commands for the driver.

    open trial ──Launch──> attempt ──Finished──> outcome ──Record, Tell──> counted once
         ^                    │
         └─ lost, retried, ───┘
                paused

Only tokens of active attempts are accepted. Late and repeated messages are dropped, so an outcome
counts at most once.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Sequence
from typing import ClassVar

from tuner.backends.protocol import Finished, Lost, Resized, Sent, overdue
from tuner.engine.machine_state import (
    Attempt,
    Counts,
    Deadlines,
    Limits,
    OpenTrials,
    RepeatedFailureDetector,
    finished_trial,
    next_attempt,
    waiting_again,
)
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
from tuner.engine.scheduling import Retries, Scheduling
from tuner.records import (
    Begun,
    CheckpointEnd,
    CheckpointPart,
    Failure,
    Goal,
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
from tuner.schedulers.protocol import Scheduler


class Machine:
    """Decides the next step of a study.

    Parameters
    ----------
    limits
        Limits on trials, time and retries.
    goals
        The study's goals.
    seed
        The study's seed; the seed of each trial derives from it and the trial's number.
    new_run
        Returns a new run token at each call.
    history
        The study's trials so far; those without an outcome run again, as their next attempt.
    scheduler
        Decides whether a trial stops when it reports, and if it can pause trials, which of them
        continue; None stops no trial.
    saved
        Numbers of the open trials that have a checkpoint.

    Attributes
    ----------
    run_template
        Fields that all runs of this session share, such as the keys of its code and environment.
    queues
        Whether a launched job waits until its worker sends `Begun`. Until then, its trial is
        recorded as waiting, without the attempt and its start.
    """

    queues: ClassVar[bool] = True

    def __init__(
        self,
        limits: Limits,
        goals: Sequence[Goal],
        seed: int,
        new_run: Callable[[], str],
        history: Iterable[Trial] = (),
        scheduler: Scheduler | None = None,
        saved: Iterable[int] = (),
    ) -> None:
        self.run_template = Run("", 0)
        self.limits = limits
        self.goals = tuple(goals)
        self.seed = seed
        self.new_run = new_run
        self.counts = Counts()
        self.active: dict[str, Attempt] = {}
        self.failure: Failure | None = None
        self._trials = OpenTrials(seed)
        self._deadlines = Deadlines()
        self._failures = RepeatedFailureDetector(limits)
        self._scheduling = Scheduling(scheduler, goals[0], saved)
        self._retries = Retries(limits)
        self._capacity = 0
        self._lag: int | None = None
        self._asked = 0
        self._exhausted = False
        self._opened_at: float | None = None
        self._date = 0.0
        self._ending: End | None = None
        self._over = False
        for trial in sorted(history, key=lambda t: t.number):
            self._trials.reserve(trial.number)
            if trial.state.finished:
                self.counts.add(trial.state)
            elif self._scheduling.resumes(trial):
                self._keep_paused(trial)
            else:
                self._trials.enqueue(waiting_again(trial))

    # --- views for the driver -----------------------------------------------------------------

    @property
    def pending(self) -> list[Trial]:
        """The trials without an outcome, by number."""
        return list(self._trials.open.values())

    @property
    def running(self) -> int:
        """Number of attempts that run on a worker."""
        return min(len(self.active), self._capacity)

    def next_deadline(self) -> float | None:
        """Return the time at which a `Tick` is due even without an event, or None."""
        end = None if self._ending else self.limits.ends(self._opened_at)
        due = min((t for t in (end, self._deadlines.next()) if t is not None), default=math.inf)
        return due if due < math.inf else None

    # --- events -----------------------------------------------------------------------

    def handle(self, event: Event, now: float, date: float | None = None) -> list[Command]:
        """Return the commands that follow from an event.

        Parameters
        ----------
        event
            The event.
        now
            Time of the event in seconds on a monotonic clock; measures deadlines and durations.
        date
            Date of the event in seconds since the epoch, for records only; None means `now`.
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
            case Opened(capacity, size):
                self._opened_at = now
                self._capacity = capacity
                self._lag = size if self.limits.in_order else None
                return []
            case Resized(capacity):
                self._capacity = capacity
                return []
            case StopRequested():
                return self._stop_launching(End.STOPPED)
            case Interrupted():
                return self._interrupt(End.INTERRUPTED, now)

    # --- filling free workers -----------------------------------------------------------------

    def enqueue(self, points: Iterable[Params]) -> list[Command]:
        """Create a waiting trial for each point; they run before the optimizer is asked."""
        trials = [self._trials.create(point) for point in points]
        self._trials.waiting.extend(trials)
        return [Record(trial=trial) for trial in trials]

    def _tick(self, now: float) -> list[Command]:
        commands: list[Command] = []
        if not self._ending and now >= self.limits.ends(self._opened_at):
            commands += self._stop_launching(End.TIMEOUT)
        commands += self._kill_overdue(now)
        if not self._ending:
            commands += self._fill_workers(now)
        if not self.active and not self._asked:
            if self._ending:
                commands.append(self._finish(self._ending))
            elif (end := self._reached()) is not None:
                commands += [*self._stop_paused(), self._finish(end)]
        return commands

    def _reached(self) -> End | None:
        """Return the reason why no further trial starts, or None."""
        if self._left() <= 0:
            return End.BUDGET
        return End.EXHAUSTED if self._exhausted and not self._trials.waiting else None

    def _left(self) -> float:
        """Return how many more trials may start, including those that wait."""
        begun = self.counts.done + len(self.active) + len(self._scheduling)
        return self.limits.left(begun + self._asked)

    def _fill_workers(self, now: float) -> list[Command]:
        free = self._capacity * self.limits.lookahead - len(self.active) - self._asked
        # Small requests would cost more than lookahead saves.
        if self.limits.lookahead > 1 and free < self._capacity and self.active:
            return []
        resumed = self._resume(int(free), now)
        free -= len(resumed)
        return [*resumed, *self._launch_or_ask(int(min(free, self._left())), now)]

    def _resume(self, n: int, now: float) -> list[Command]:
        """Launch the paused trials that the scheduler chooses, at most `n`."""
        new = len(self._trials.waiting) if self._exhausted else n
        taken = self._scheduling.take(n, int(min(new, max(self._left(), 0))))
        return [self._launch(trial, now) for trial in taken]

    def _keep_paused(self, trial: Trial) -> None:
        self._scheduling.add(trial)
        self._trials.open[trial.number] = trial

    def _stop_paused(self) -> list[Command]:
        """End all paused trials: the budget allows no new ones, and none continues."""
        commands: list[Command] = []
        for trial in self._scheduling.clear():
            outcome = Outcome(State.STOPPED, dict(trial.metrics))
            commands += self._count(finished_trial(trial, self.goals, outcome, self._date), outcome)
        return commands

    def _launch_or_ask(self, n: int, now: float) -> list[Command]:
        """Launch up to `n` waiting trials, and ask the optimizer for the rest."""
        commands: list[Command] = []
        while self._trials.waiting and n > 0:
            commands.append(self._launch(self._trials.waiting.popleft(), now))
            n -= 1
        if self._lag is not None:
            n = min(n, self._trials.within_lag(self._lag))
        if n > 0 and not self._exhausted:
            self._asked += n
            commands.append(Ask(n))
        return commands

    def _on_suggested(self, points: Sequence[Params], now: float) -> list[Command]:
        # With fewer points than requested, the optimizer says that it is exhausted.
        self._exhausted = len(points) < self._asked
        self._asked = 0
        if self._ending:
            return []
        return [self._launch(self._trials.create(point), now) for point in points]

    def _launch(self, trial: Trial, now: float) -> Launch:
        run = dataclasses.replace(self.run_template, uid=self.new_run(), started=self._date)
        attempt = next_attempt(trial, run, self.limits.trial_timeout, now)
        if self.queues:
            attempt.queued = dataclasses.replace(trial, state=State.WAITING)
        self.active[run.uid] = attempt
        self._trials.open[trial.number] = attempt.trial
        return Launch(attempt.job, attempt.run, attempt.queued)

    # --- messages of workers --------------------------------------------------------------

    def _on_message(self, uid: str, message: Message, now: float) -> list[Command]:
        attempt = self.active.get(uid)
        if attempt is None:
            return []
        commands: list[Command] = []
        if isinstance(message, Begun):
            attempt.begin(message, now)
            # The limit excludes the time that the job was queued.
            if self.limits.trial_timeout is not None and attempt.killed is None:
                self._deadlines.set(uid, now + self.limits.trial_timeout)
        if attempt.queued is not None or isinstance(message, Begun):
            attempt.queued = None
            self._trials.open[attempt.trial.number] = attempt.trial
            commands.append(Record(attempt.trial, attempt.run))
        match message:
            case Output(text, time):
                attempt.run = dataclasses.replace(attempt.run, output=text, ended=time)
            case Upload():
                commands.append(SaveArtifact(uid, message))
            case CheckpointPart() | CheckpointEnd():
                self._scheduling.note(attempt.trial.number, message)
                commands.append(SaveCheckpoint(attempt.trial.number, uid, message))
            case Report():
                attempt.note(message)
                commands.append(RecordReport(uid, message))
                if self._scheduling.on_report(attempt, message):
                    commands.append(Stop(uid))
        return commands

    def _on_finished(self, uid: str, outcome: Outcome, now: float) -> list[Command]:
        attempt = self.active.get(uid)
        if attempt is None:
            return [DropStale(uid, outcome)]
        if attempt.killed is not None:
            # It ended just before the kill took effect, but it exceeded its time limit.
            return self._fail(attempt, attempt.killed, now)
        if outcome.state is State.FAILED:
            failure = outcome.error or Failure("Unknown", "the objective failed")
            return self._fail(attempt, failure, now, outcome)
        if self._scheduling.follows(attempt, outcome):
            return self._pause(attempt, outcome, now)
        return self._settle(attempt, outcome, now)

    def _pause(self, attempt: Attempt, outcome: Outcome, now: float) -> list[Command]:
        """End this run; the trial waits until the scheduler resumes it, and uses no new budget."""
        run = self._end_run(attempt, outcome, now)
        metrics = {**attempt.last, **outcome.metrics}
        trial = dataclasses.replace(attempt.trial, state=State.WAITING, metrics=metrics)
        self._keep_paused(trial)
        return [Record(trial, run)]

    def _on_lost(self, uid: str, reason: str, now: float) -> list[Command]:
        attempt = self.active.get(uid)
        if attempt is None:
            return []
        if attempt.abandoned:
            return self._give_up(attempt, now)
        if attempt.killed is not None:
            return self._fail(attempt, attempt.killed, now)
        failure = Failure("WorkerLost", reason)
        if self._retries.after_loss(attempt.trial.number) and not self._ending:
            return self._retry(attempt, failure, now)
        if self._ending:
            return self._give_up(attempt, now)
        return self._settle(attempt, Outcome(State.FAILED, dict(attempt.last), failure), now)

    # --- end of an attempt --------------------------------------------------------------------

    def _fail(
        self,
        attempt: Attempt,
        failure: Failure,
        now: float,
        outcome: Outcome | None = None,
    ) -> list[Command]:
        if self._retries.after_failure(attempt.trial.number) and not self._ending:
            return self._retry(attempt, failure, now)
        known = Outcome(State.FAILED) if outcome is None else outcome
        metrics = {**attempt.last, **known.metrics}
        failed_outcome = Outcome(State.FAILED, metrics, failure, notes=known.notes)
        return self._settle(attempt, failed_outcome, now)

    def _retry(self, attempt: Attempt, failure: Failure, now: float) -> list[Command]:
        """End this run as failed and launch the trial's next run, which uses no new budget."""
        run = self._end_run(attempt, Outcome(State.FAILED, dict(attempt.last), failure), now)
        return [Record(attempt.trial, run), self._launch(attempt.trial, now)]

    def _give_up(self, attempt: Attempt, now: float) -> list[Command]:
        """End this run; the trial stays open, and a later call runs it again.

        A job that no worker has begun leaves no run.
        """
        failure = Failure("Interrupted", "the study ended before this run did")
        run = self._end_run(attempt, Outcome(State.FAILED, dict(attempt.last), failure), now)
        trial = waiting_again(attempt.trial) if attempt.queued is None else attempt.queued
        self._trials.enqueue(trial)
        return [Record(trial, run if attempt.queued is None else None)]

    def _settle(self, attempt: Attempt, outcome: Outcome, now: float) -> list[Command]:
        """End this run and count the trial."""
        run = self._end_run(attempt, outcome, now)
        trial = finished_trial(attempt.trial, self.goals, outcome, run.ended)
        commands = self._count(trial, outcome, run)
        self.failure = self._failures.see(outcome)
        return commands if self.failure is None else commands + self._interrupt(End.ALL_FAILED, now)

    def _count(self, trial: Trial, outcome: Outcome, run: Run | None = None) -> list[Command]:
        """Count a trial with its outcome."""
        self.counts.add(trial.state)
        del self._trials.open[trial.number]
        self._scheduling.on_finish(trial, outcome)
        return [Record(trial, run), Tell(trial, outcome)]

    def _end_run(self, attempt: Attempt, outcome: Outcome, now: float) -> Run:
        del self.active[attempt.run.uid]
        self._deadlines.drop(attempt.run.uid)
        return attempt.ended_run(outcome, now, self._date)

    # --- deadlines and the end ----------------------------------------------------------------

    def _kill_overdue(self, now: float) -> list[Command]:
        commands: list[Command] = []
        for uid in self._deadlines.pop_overdue(now):
            self.active[uid].killed = overdue(self.limits.trial_timeout)
            commands.append(Stop(uid, kill=True))
        return commands

    def _stop_launching(self, end: End) -> list[Command]:
        """Start no more trials; cancel submitted jobs that have not started."""
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
