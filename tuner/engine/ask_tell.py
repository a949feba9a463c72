"""Ask and tell: manual loops, on the same state machine as the driver."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from tuner.backends.protocol import Finished, Sent
from tuner.engine import writer
from tuner.engine.clock import Clock
from tuner.engine.history import follow, replay, reports_of, untried
from tuner.engine.messages import (
    Ask,
    AskRequested,
    Command,
    Event,
    Launch,
    Record,
    RecordReport,
    SaveArtifact,
    Stop,
    Suggested,
    Tell,
)
from tuner.engine.shared_machine import SharedMachine
from tuner.engine.worker.outcome import told_outcome
from tuner.engine.worker.trial import LiveTrial
from tuner.engine.writer import retry_while_unavailable
from tuner.errors import ArgumentError, StoreUnavailable, StudyTakenOver, TrialFinished
from tuner.optimizers.protocol import Optimizer
from tuner.records import Message, Params, State, StudyInfo, Trial
from tuner.schedulers.protocol import Scheduler
from tuner.search_spaces import Space
from tuner.tracking.batch import Batch, Changes, TrialStatus
from tuner.tracking.database.write_queue import FairLock
from tuner.tracking.lease import LeaseOwner, new_lease_owner

if TYPE_CHECKING:
    from tuner.tracking.store import Store

ATTEMPTS = 3
"""Attempts of an ask that other processes overtake, until it locks them out."""

SHARED = 20
"""Asks that queue with other processes after the last sign of them; later ones do not queue."""


@dataclass(slots=True)
class ManualChannel:
    """The `Channel` of a trial that the user runs; it writes messages to the store."""

    run: str
    loop: ManualLoop
    worker: str = "manual"
    stopping: bool = False

    def send(self, message: Message) -> None:
        """Record a message."""
        self.loop.hear(Sent(self.run, message))

    def stop_requested(self) -> bool:
        """Whether the scheduler stops the trial, or its outcome no longer counts."""
        return self.stopping or not self.loop.is_open(self.run)


@dataclass(slots=True)
class ManualLoop:
    """Creates trials and records their outcomes; each call commits before it returns.

    Any number of processes and threads may use one study, each with the state of the study in
    memory. A call reads only new commits, and each commit checks its preconditions:

    - An ask depends on all earlier commits. While others use the study, it queues, reads new
      commits, and commits if its trial numbers are still free. Concurrent outcomes do not matter.
    - A tell depends on its own trial only, so it never waits for an ask.

    Trials stay running when the process that asked for them ends, so a value that arrives days
    later can be told to the loaded study.
    """

    info: StudyInfo
    space: Space
    store: Store
    optimizer: Optimizer
    clock: Clock
    scheduler: Scheduler | None = None
    code: str = ""
    environment: str = ""
    _machine: SharedMachine = field(init=False)
    _epoch: int | None = field(init=False)
    """The epoch up to which the trials are known, None if that is uncertain."""
    _shared: int = field(init=False, default=0)
    """How many of the next asks queue, because other processes use the study."""
    _stale: bool = field(init=False, default=True)
    _trials: dict[str, LiveTrial] = field(default_factory=dict)
    _channels: dict[str, ManualChannel] = field(default_factory=dict)
    _adopted: set[str] = field(default_factory=set)
    """Active runs that other processes started."""
    _batch: Batch = field(default_factory=Batch)
    _sent: Batch = field(default_factory=Batch)
    """The last batch that was sent to the store."""
    _launched: list[str] = field(default_factory=list)
    _told: Trial = field(init=False)
    _holder: LeaseOwner | None = None
    _lock: FairLock = field(default_factory=FairLock)

    def __post_init__(self) -> None:
        self._catch_up()

    def ask(self, n: int) -> list[LiveTrial]:
        """Return `n` trials to evaluate; raise `StudyBusy` if a driver holds the study."""
        with self._lock:
            self._retrying(lambda: self._create(lambda: self._ask(n)))
            return [self._live(uid) for uid in self._launched]

    def enqueue(self, points: Sequence[Params]) -> None:
        """Queue points, which become the next trials."""
        with self._lock:
            self._retrying(lambda: self._create(lambda: self._act(self._machine.enqueue(points))))

    def tell(
        self,
        number: int,
        returned: Any = None,
        state: State | None = None,
        run: str | None = None,
    ) -> Trial:
        """Record the outcome of trial `number`, given the return value of its objective.

        With `run`, only if this is still the active run of the trial.

        Raises
        ------
        TrialFinished
            If the trial has an outcome, or another run has replaced `run`.
        ArgumentError
            If the trial does not exist.
        StudyBusy
            If a driver holds the study.
        """
        with self._lock:
            self._retrying(lambda: self._tell(number, returned, state, run))
            for uid in [u for u, live in self._trials.items() if live.number == number]:
                del self._trials[uid], self._channels[uid]
            return self._told

    def hear(self, message: Sent) -> None:
        """Record a message of a running trial."""
        with self._lock:
            self._act(self._handled(message))
            batch, self._batch = self._batch, Batch()
            # Only this process writes reports of this run, so no check is needed.
            retry_while_unavailable(partial(self.store.write, self.info.uid, batch))

    def forget(self) -> None:
        """Reload the whole study at the next call, because its optimizer was used elsewhere."""
        with self._lock:
            self._stale = True

    def is_open(self, run: str) -> bool:
        """Return whether the outcome of a run would count, as far as this process knows."""
        return run in self._machine.active

    # --- one call, one transaction ------------------------------------------------------------

    def _retrying(self, call: Callable[[], None]) -> None:
        """Run `call`, and retry it while the store is unavailable, as long as in a search."""
        since = time.monotonic()
        self._sent = Batch()
        while True:
            try:
                if not (self._sent and self._was_committed(self._sent)):
                    call()
            except StoreUnavailable:
                self._epoch = None
                if time.monotonic() - since > writer.STORE_TIMEOUT:
                    raise
                time.sleep(writer.RETRY_DELAY)
            else:
                return

    def _was_committed(self, sent: Batch) -> bool:
        """Return whether a batch was committed whose confirmation was lost; if so, apply it."""
        self._catch_up()
        for run in sent.runs:
            if run not in self.store.runs(self.info.uid, run.trial):
                return False
        if not sent.runs:
            pending = self._machine.pending
            return all(trial in pending for trial in sent.trials)
        trials = {trial.number: trial for trial in sent.trials}
        for run in sent.runs:
            if trials[run.trial].state.finished:
                self._told = trials[run.trial]
            else:
                self._machine.adopt(trials[run.trial], run)
        return True

    def _create(self, action: Callable[[], None]) -> None:
        """Run `action`, which creates or launches trials, and commit its result.

        If other processes use the study, queue with them. If one of them commits first, repeat
        `action` on the new state.
        """
        if not self._shared and not self._stale and self._epoch is not None:
            try:
                return self._attempt(action, alone=True)
            except StudyTakenOver:
                pass
        self._shared = max(self._shared, SHARED)
        with self.store.turn(self.info.uid):
            for _ in range(ATTEMPTS):
                self._catch_up()
                try:
                    self._attempt(action)
                except StudyTakenOver:
                    continue
                self._shared -= 1
                return None
        # A process does not respect the queue, so lock all others out.
        while True:
            with suppress(StudyTakenOver):
                return self._insist(action)

    def _attempt(self, action: Callable[[], None], *, alone: bool = False) -> None:
        """Run `action` and commit; roll back and raise if a precondition fails."""
        known, savepoint = self._machine.places(), self._machine.savepoint()
        self._batch = Batch()
        try:
            action()
        except BaseException:
            # The optimizer may be in an inconsistent state.
            self._stale = True
            raise
        expected = {trial.number: known.get(trial.number) for trial in self._batch.trials}
        try:
            self._commit(None if alone else expected)
        except BaseException:
            self._machine.rollback_to(savepoint)
            self._epoch = None
            raise

    def _insist(self, action: Callable[[], None]) -> None:
        """Run `action` on the current state and commit, in a transaction that locks others out."""
        if self._stale:
            self._catch_up()
        savepoint = self._machine.savepoint()

        def decide(changes: Changes) -> Batch:
            nonlocal savepoint
            self._take_in(changes)
            savepoint = self._machine.savepoint()
            self._batch = Batch()
            try:
                action()
            except BaseException:
                self._stale = True
                raise
            batch, self._batch = self._batch, Batch()
            self._sent = batch
            return batch

        machine = self._machine
        known = machine.last_number, machine.places()
        try:
            self._epoch = self.store.write_on(self.info.uid, *known, self._lease_owner(), decide)
        except BaseException:
            machine.rollback_to(savepoint)
            self._epoch = None
            raise

    def _settle(self, finished: Finished) -> bool:
        """Commit the outcome of a run, and learn from it; return False if it no longer counts.

        A temporary machine with only this trial determines the records. The state machine handles
        the outcome after the commit.
        """
        attempt = self._machine.active[finished.run]
        now = self.clock.elapsed(), self.clock.now()
        self._batch = Batch()
        for command in self._machine.alone(attempt).handle(finished, *now):
            if isinstance(command, Record):
                self._act([command])
        trial = attempt.trial
        try:
            self._commit({trial.number: (trial.state, trial.attempts)})
        except BaseException as error:
            self._epoch = None
            if isinstance(error, StudyTakenOver):
                return False
            raise
        try:
            if finished.run in self._adopted and self.scheduler is not None:
                # Another process received its reports.
                self._adopted.discard(finished.run)
                for report in reports_of([trial.number], self.info, self.store)[trial.number]:
                    self.scheduler.on_report(trial, report)
            self._act(self._machine.handle(finished, *now))
        except BaseException:
            self._stale = True
            raise
        finally:
            self._batch = Batch()
        return True

    def _commit(self, expected: Mapping[int, TrialStatus | None] | None) -> None:
        batch, self._batch = self._batch, Batch()
        if not batch:
            return
        self._sent = batch
        before = -1 if self._epoch is None else self._epoch
        epoch = self.store.write_if_epoch(
            self.info.uid, batch, before, self._lease_owner(), expected
        )
        if epoch == before + 1 and self._epoch is not None:
            self._epoch = epoch
        else:
            # Other processes have written since the known epoch.
            self._shared = SHARED

    def _lease_owner(self) -> LeaseOwner:
        if self._holder is None or self._holder.pid != os.getpid():  # in a forked child
            self._holder = new_lease_owner()
        return self._holder

    def _catch_up(self) -> None:
        """Read the commits of other processes since the last call."""
        if self._stale:
            self._begin()
        last, known = self._machine.last_number, self._machine.places()
        self._take_in(self.store.changes(self.info.uid, last, known))

    def _take_in(self, changes: Changes) -> None:
        if changes.trials:
            self._shared = SHARED
        try:
            if self._stale:
                replay(self.info, changes.trials, self.optimizer, self.scheduler, self.store)
            else:
                follow(self.info, changes.trials, self.optimizer, self.scheduler, self.store)
            for trial in changes.trials:
                self._machine.learn(trial)
        except BaseException:
            self._stale = True
            raise
        self._epoch = changes.epoch
        self._stale = False

    def _begin(self) -> None:
        """Reset the machine, the optimizer and the scheduler."""
        self._batch = Batch()
        self._epoch = None
        self._machine = machine = SharedMachine(self.info, self.scheduler)
        machine.run_template = replace(
            machine.run_template, code=self.code, environment=self.environment
        )
        self.optimizer.reset(self.space, self.info.goals, self.info.seed)
        if self.scheduler is not None:
            self.scheduler.reset(self.info.goals)

    # --- trials -------------------------------------------------------------------------------

    def _ask(self, n: int) -> None:
        before = set(self._machine.active)
        if self._machine.last_number < 0 and (first := self.space.defaults()) is not None:
            self._act(
                self._machine.enqueue(untried(self.space, [first], self.info.warm_start_trials))
            )
        self._act(self._handled(AskRequested(n)))
        self._launched = [uid for uid in self._machine.active if uid not in before]

    def _tell(self, number: int, returned: Any, state: State | None, run: str | None) -> None:
        settled = False
        while not settled:
            uid = self._run_of(number, run)
            trial = self._live(uid)
            outcome = told_outcome(returned, state, self.info, trial.side)
            settled = self._settle(Finished(uid, outcome))

    def _run_of(self, number: int, run: str | None) -> str:
        """Return the active run of a trial, started here or in another process."""
        found = self._machine.active_run(number)
        if self._epoch is None or self._stale or found is None:
            self._catch_up()
            found = self._machine.active_run(number)
        trial = self._machine.open_trial(number)
        if found is None and trial is not None and trial.state is State.RUNNING:
            *_, last = self.store.runs(self.info.uid, number)
            self._machine.adopt(trial, last)
            self._adopted.add(last.uid)
            found = last.uid
        if found is not None and run in (None, found):
            return found
        place = f"study {self.info.name!r}: trial {number}"
        if found is not None:
            raise TrialFinished(
                f"{place} runs again in another process, which took over the study; only the "
                f"outcome of that run counts"
            )
        if trial is not None:
            raise TrialFinished(f"{place} has not started; tell a trial that study.ask() returned")
        if 0 <= number <= self._machine.last_number:
            raise TrialFinished(f"{place} already has an outcome; tell each trial once")
        raise ArgumentError(f"{place} does not exist; tell a trial that study.ask() returned")

    def _live(self, uid: str) -> LiveTrial:
        if uid not in self._trials:
            attempt = self._machine.active[uid]
            self._channels[uid] = ManualChannel(uid, self)
            self._trials[uid] = LiveTrial(attempt.job, self.info.goals, self._channels[uid])
        return self._trials[uid]

    def _handled(self, event: Event) -> list[Command]:
        return self._machine.handle(event, self.clock.elapsed(), self.clock.now())

    def _act(self, commands: Sequence[Command]) -> None:
        for command in commands:
            match command:
                case Ask(n):
                    points = self.optimizer.ask(n, self._machine.pending)
                    self._act(self._handled(Suggested(points)))
                case Launch(job, run):
                    self._batch.trials.append(job.trial)
                    self._batch.runs.append(run)
                case Record(trial, run):
                    self._batch.trials += [] if trial is None else [trial]
                    self._batch.runs += [] if run is None else [run]
                case RecordReport(uid, report):
                    self._batch.reports.append((uid, report))
                case SaveArtifact(uid, upload):
                    kept = retry_while_unavailable(partial(self.store.put_artifact, uid, upload))
                    self._batch.artifacts.append(kept)
                case Tell(trial, outcome):
                    self.optimizer.tell(trial, outcome)
                    self._told = trial
                case Stop(uid):
                    self._channels[uid].stopping = True
