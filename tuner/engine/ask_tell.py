"""Ask and tell for a loop of one's own, on the same state machine as the driver's."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from tuner.backends.protocol import Finished, Sent
from tuner.engine import writer
from tuner.engine.clock import Clock
from tuner.engine.limits import Limits
from tuner.engine.machine import Machine
from tuner.engine.messages import (
    Ask,
    Command,
    Event,
    Keep,
    Launch,
    Log,
    Record,
    Stop,
    Suggested,
    Tell,
    Wanted,
)
from tuner.engine.replay import follow, replay, reports_of
from tuner.engine.worker.outcome import as_outcome
from tuner.engine.worker.trial import LiveTrial
from tuner.engine.writer import with_patience
from tuner.errors import ArgumentError, StoreUnavailable, StudyTakenOver, TrialFinished
from tuner.optimizers.protocol import Optimizer
from tuner.records import Failure, Message, Outcome, Params, State, StudyInfo, Trial
from tuner.schedulers.protocol import Scheduler
from tuner.search_spaces import Space
from tuner.tracebacks import text_of
from tuner.tracking.batch import Batch, Changes, TrialStatus
from tuner.tracking.database.write_queue import FairLock
from tuner.tracking.lease import Holder, new_holder
from tuner.tracking.uuid7 import uuid7

if TYPE_CHECKING:
    from tuner.tracking.store import Store

ATTEMPTS = 3
"""How often an ask is done again as others were faster, before it keeps them out."""

SHARED = 20
"""Asks that take turns with others after the last sign of them; later ones expect to be alone."""


@dataclass(slots=True)
class _Desk:
    """The `Channel` of a trial that the user runs: messages go straight to the store."""

    run: str
    loop: ManualLoop
    worker: str = "manual"
    stopping: bool = False

    def send(self, message: Message) -> None:
        self.loop.hear(Sent(self.run, message))

    def stop_requested(self) -> bool:
        return self.stopping or not self.loop.is_open(self.run)


@dataclass(slots=True)
class ManualLoop:
    """Hands out trials and takes their outcomes; each call is committed before it returns.

    Any number of processes and threads may ask and tell of one study, each with the state of the
    study in memory. A call reads only what others have committed since, and each commit checks
    that what it rests on still holds:

    - An ask rests on all that was committed before. While others use the study, it waits for its
      turn, reads what is new, and commits if the numbers that it gives are still free. Outcomes
      that others tell meanwhile do not matter to it.
    - A tell rests on its own trial alone, so it waits for nobody's ask.

    Trials that are under way stay so, whoever asked for them, so that a value that arrives days
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
    _machine: Machine = field(init=False)
    _epoch: int | None = field(init=False)
    """The epoch up to which we know the trials, None where it does not tell."""
    _shared: int = field(init=False, default=0)
    """How many of our next asks take turns, as others use the study just now."""
    _stale: bool = field(init=False, default=True)
    _trials: dict[str, LiveTrial] = field(default_factory=dict)
    _desks: dict[str, _Desk] = field(default_factory=dict)
    _adopted: set[str] = field(default_factory=set)
    """Runs under way that others began."""
    _batch: Batch = field(default_factory=Batch)
    _sent: Batch = field(default_factory=Batch)
    """What was last given to the store to commit."""
    _launched: list[str] = field(default_factory=list)
    _told: Trial = field(init=False)
    _holder: Holder | None = None
    _lock: FairLock = field(default_factory=FairLock)

    def __post_init__(self) -> None:
        self._catch_up()

    def ask(self, n: int) -> list[LiveTrial]:
        """Return `n` trials to be evaluated.

        Raises
        ------
        StudyBusy
            If a driver holds the study.
        """
        with self._lock:
            self._patiently(lambda: self._create(lambda: self._ask(n)))
            return [self._live(uid) for uid in self._launched]

    def enqueue(self, points: Sequence[Params]) -> None:
        """Have these points handed out before any other."""
        with self._lock:
            self._patiently(lambda: self._create(lambda: self._act(self._machine.enqueue(points))))

    def tell(
        self,
        number: int,
        returned: Any = None,
        state: State | None = None,
        run: str | None = None,
    ) -> Trial:
        """Take the outcome of trial `number`: what an objective would have returned.

        With `run`, only if that is the trial's run still.

        Raises
        ------
        TrialFinished
            If it has an outcome, or `run` was given up and another took its place.
        ArgumentError
            If it was never asked for.
        StudyBusy
            If a driver holds the study.
        """
        with self._lock:
            self._patiently(lambda: self._tell(number, returned, state, run))
            for uid in [u for u, live in self._trials.items() if live.number == number]:
                del self._trials[uid], self._desks[uid]
            return self._told

    def hear(self, message: Sent) -> None:
        """Take a message of a trial that is under way."""
        with self._lock:
            self._act(self._handled(message))
            batch, self._batch = self._batch, Batch()
            # No one else writes what this run reports, so nobody need be asked.
            with_patience(partial(self.store.write, self.info.uid, batch))

    def forget(self) -> None:
        """Read the whole study again at the next call, because its optimizer was used elsewhere."""
        with self._lock:
            self._stale = True

    def is_open(self, run: str) -> bool:
        """Whether the outcome of a run would still count, as far as is known here."""
        return run in self._machine.active

    # --- one call, one transaction ------------------------------------------------------------

    def _patiently(self, call: Callable[[], None]) -> None:
        """Do `call`; again while the store is away, with the same patience as in a search."""
        since = time.monotonic()
        self._sent = Batch()
        while True:
            try:
                if not (self._sent and self._was_committed(self._sent)):
                    call()
            except StoreUnavailable:
                self._epoch = None
                if time.monotonic() - since > writer.PATIENCE:
                    raise
                time.sleep(writer.PAUSE)
            else:
                return

    def _was_committed(self, sent: Batch) -> bool:
        """Whether the store has a batch, of which only the answer was lost; take it in then."""
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
        """Do `action`, which creates or launches trials, and commit what comes of it.

        Where others use the study, in turns with them; again on what is there, if somebody was
        faster all the same.
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
        # Somebody does not take turns with us. Then we do not with anybody.
        while True:
            try:
                return self._insist(action)
            except StudyTakenOver:
                continue

    def _attempt(self, action: Callable[[], None], *, alone: bool = False) -> None:
        """Do `action` and commit; take it back and raise if what it rests on does not hold."""
        known, mark = self._places(), self._machine.mark()
        self._batch = Batch()
        try:
            action()
        except BaseException:
            # The optimizer may have stopped half way.
            self._stale = True
            raise
        expected = {trial.number: known.get(trial.number) for trial in self._batch.trials}
        try:
            self._commit(None if alone else expected)
        except BaseException:
            self._machine.back_to(mark)
            self._epoch = None
            raise

    def _insist(self, action: Callable[[], None]) -> None:
        """Do `action` on what is there, and commit it, in a transaction that keeps others out."""
        if self._stale:
            self._catch_up()
        mark = self._machine.mark()

        def decide(changes: Changes) -> Batch:
            nonlocal mark
            self._take_in(changes)
            mark = self._machine.mark()
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
        try:
            self._epoch = self.store.write_on(
                self.info.uid, machine.last_number, self._places(), self._who(), decide
            )
        except BaseException:
            machine.back_to(mark)
            self._epoch = None
            raise

    def _settle(self, finished: Finished) -> bool:
        """Commit the outcome of a run, and learn from it; return False if it is not wanted.

        The state machine learns it only once it is committed. Until then a machine of this trial
        alone says what is to be recorded.
        """
        attempt = self._machine.active[finished.run]
        now = self.clock.elapsed(), self.clock.now()
        of_trial = self._new_machine()
        of_trial.scheduler = None
        of_trial.adopt(attempt.trial, attempt.run)
        of_trial.active[finished.run].launched = attempt.launched
        of_trial.active[finished.run].last.update(attempt.last)
        self._batch = Batch()
        for command in of_trial.handle(finished, *now):
            if isinstance(command, Record):
                self._act([command])
        trial = attempt.trial
        try:
            self._commit({trial.number: (trial.state, trial.attempts)})
        except StudyTakenOver:
            self._epoch = None
            return False
        except BaseException:
            self._epoch = None
            raise
        try:
            if finished.run in self._adopted and self.scheduler is not None:
                # What it reported was heard by the process that asked for it.
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
        epoch = self.store.write_if_epoch(self.info.uid, batch, before, self._who(), expected)
        if epoch == before + 1 and self._epoch is not None:
            self._epoch = epoch
        else:
            # Others have written. What we know is of the epoch that it was.
            self._shared = SHARED

    def _who(self) -> Holder:
        if self._holder is None or self._holder.pid != os.getpid():  # a forked child is another
            self._holder = new_holder()
        return self._holder

    def _catch_up(self) -> None:
        """Take in what others have committed since the last look."""
        if self._stale:
            self._begin()
        last, known = self._machine.last_number, self._places()
        self._take_in(self.store.changes(self.info.uid, self._epoch, last, known))

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
        """Forget all that is known of the study's trials."""
        self._batch = Batch()
        self._epoch = None
        self._machine = self._new_machine()
        self.optimizer.reset(self.space, self.info.goals, self.info.seed)
        if self.scheduler is not None:
            self.scheduler.reset(self.info.goals)

    def _new_machine(self) -> Machine:
        machine = Machine(
            Limits(same_failures=None),
            self.info.goals,
            self.info.seed,
            uuid7,
            scheduler=self.scheduler,
        )
        machine.run_template = replace(
            machine.run_template, code=self.code, environment=self.environment
        )
        return machine

    def _places(self) -> dict[int, TrialStatus]:
        return {t.number: (t.state, t.attempts) for t in self._machine.pending}

    # --- what is done -------------------------------------------------------------------------

    def _ask(self, n: int) -> None:
        before = set(self._machine.active)
        self._act(self._handled(Wanted(n)))
        self._launched = [uid for uid in self._machine.active if uid not in before]

    def _tell(self, number: int, returned: Any, state: State | None, run: str | None) -> None:
        settled = False
        while not settled:
            uid = self._run_of(number, run)
            outcome = self._outcome(self._live(uid), returned, state)
            settled = self._settle(Finished(uid, outcome))

    def _outcome(self, trial: LiveTrial, returned: Any, state: State | None) -> Outcome:
        if state is State.FAILED:
            reason = "failed" if returned is None else text_of(returned, "the reason")
            return Outcome(state, dict(trial.logged), Failure("Told", reason or "failed"))
        if state is State.STOPPED and returned is None:
            return Outcome(state, {**trial.reported, **trial.logged})
        outcome = as_outcome(
            returned, self.info.goals, trial.logged, self.info.constraints, trial.constraints
        )
        if state is State.STOPPED and outcome.state is State.COMPLETED:
            outcome = replace(outcome, state=state)
        return outcome

    def _run_of(self, number: int, run: str | None) -> str:
        """Return the run of a trial whose outcome is awaited, here or elsewhere."""
        found = self._active_run(number)
        if self._epoch is None or self._stale or found is None:
            self._catch_up()
            found = self._active_run(number)
        trial = self._machine.open_trial(number)
        if found is None and trial is not None and trial.state is State.RUNNING:
            *_, last = self.store.runs(self.info.uid, number)
            self._machine.adopt(trial, last)
            self._adopted.add(last.uid)
            found = last.uid
        if found is not None and run in (None, found):
            return found
        if found is not None:
            raise TrialFinished(
                f"study {self.info.name!r}: trial {number} is run again by another process, which "
                f"took the study over; only the outcome of that run counts"
            )
        if trial is not None:
            raise TrialFinished(
                f"study {self.info.name!r}: trial {number} is waiting to be run; tell what "
                f"study.ask() gave"
            )
        if 0 <= number <= self._machine.last_number:
            raise TrialFinished(
                f"study {self.info.name!r}: trial {number} has its outcome already; "
                f"a trial is told once"
            )
        raise ArgumentError(
            f"study {self.info.name!r}: there is no trial {number}; tell what study.ask() gave"
        )

    def _active_run(self, number: int) -> str | None:
        for uid, attempt in self._machine.active.items():
            if attempt.trial.number == number:
                return uid
        return None

    def _live(self, uid: str) -> LiveTrial:
        if uid not in self._trials:
            attempt = self._machine.active[uid]
            self._desks[uid] = _Desk(uid, self)
            self._trials[uid] = LiveTrial(attempt.job, self.info.goals, self._desks[uid])
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
                case Log(uid, report):
                    self._batch.reports.append((uid, report))
                case Keep(uid, upload):
                    kept = with_patience(partial(self.store.put_artifact, uid, upload))
                    self._batch.artifacts.append(kept)
                case Tell(trial, outcome):
                    self.optimizer.tell(trial, outcome)
                    self._told = trial
                case Stop(uid):
                    self._desks[uid].stopping = True
