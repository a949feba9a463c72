"""Ask and tell for a loop of one's own, on the same state machine as the driver's."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from tuner.backends.protocol import Finished, Sent
from tuner.engine.clock import Clock
from tuner.engine.limits import Limits
from tuner.engine.live import LiveTrial
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
from tuner.engine.replay import replay
from tuner.engine.results import as_outcome
from tuner.errors import ArgumentError, StudyTakenOver, TrialFinished
from tuner.optimizers.protocol import Optimizer
from tuner.records import Failure, Message, Outcome, Params, State, StudyInfo, Trial
from tuner.schedulers.protocol import Scheduler
from tuner.search_spaces import Space
from tuner.tracking.lease import new_holder
from tuner.tracking.protocol import Batch, Store
from tuner.tracking.uuid7 import uuid7

_T = TypeVar("_T")


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

    Any number of processes and threads may ask and tell of one study. Each call is one transaction
    on the state of the study that it has seen; if another was faster, it is done again on what is
    there then. Trials that are under way stay so, whoever asked for them, so that a value that
    arrives days later can be told to the loaded study.
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
    _epoch: int = field(init=False)
    _stale: bool = field(init=False, default=False)
    _trials: dict[str, LiveTrial] = field(default_factory=dict)
    _desks: dict[str, _Desk] = field(default_factory=dict)
    _batch: Batch = field(default_factory=Batch)
    _told: Trial = field(init=False)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def __post_init__(self) -> None:
        self._catch_up()

    def ask(self, n: int) -> list[LiveTrial]:
        """Return `n` trials to be evaluated.

        Raises
        ------
        StudyBusy
            If a driver holds the study.
        """
        return self._committed(lambda: self._ask(n))

    def enqueue(self, points: Sequence[Params]) -> None:
        """Have these points handed out before any other."""
        self._committed(lambda: self._act(self._machine.enqueue(points)))

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
        uid, told = self._committed(lambda: self._tell(number, returned, state, run))
        self._trials.pop(uid, None)
        self._desks.pop(uid, None)
        return told

    def hear(self, message: Sent) -> None:
        """Take a message of a trial that is under way."""
        with self._lock:
            self._act(self._handled(message))
            batch, self._batch = self._batch, Batch()
            # No one else writes what this run reports, so nobody need be asked.
            self.store.write(self.info.uid, batch)

    def is_open(self, run: str) -> bool:
        """Whether the outcome of a run would still count, as far as is known here."""
        return run in self._machine.active

    # --- one call, one transaction ------------------------------------------------------------

    def _committed(self, action: Callable[[], _T]) -> _T:
        """Do `action` and commit what comes of it; again on what is there, if that was stale."""
        with self._lock:
            while True:
                if self._stale:
                    self._catch_up()
                try:
                    result = action()
                    self._commit()
                except StudyTakenOver:
                    self._stale = True
                except (ArgumentError, TrialFinished):
                    if self.store.study_epoch(self.info.uid) == self._epoch:
                        raise
                    self._stale = True
                except BaseException:
                    # The machine may know what the store does not.
                    self._stale = True
                    raise
                else:
                    return result

    def _commit(self) -> None:
        batch, self._batch = self._batch, Batch()
        if batch:
            self._epoch = self.store.write_at(self.info.uid, batch, self._epoch, new_holder())

    def _catch_up(self) -> None:
        """Begin anew from the record of the study."""
        self._batch = Batch()
        # First this: what is committed while the rest is read makes the next commit try again.
        self._epoch = self.store.study_epoch(self.info.uid)
        history = list(self.store.trials(self.info.uid))
        self._machine = Machine(
            Limits(same_failures=None),
            self.info.goals,
            self.info.seed,
            uuid7,
            history,
            self.scheduler,
        )
        self._machine.run_template = replace(
            self._machine.run_template, code=self.code, environment=self.environment
        )
        self.optimizer.reset(self.space, self.info.goals, self.info.seed)
        if self.scheduler is not None:
            self.scheduler.reset(self.info.goals)
        replay(self.info, history, self.optimizer, self.scheduler, self.store)
        for trial in history:
            if trial.state is State.RUNNING:
                *_, run = self.store.runs(self.info.uid, trial.number)
                self._machine.adopt(trial, run)
        self._stale = False

    # --- what is done -------------------------------------------------------------------------

    def _ask(self, n: int) -> list[LiveTrial]:
        before = set(self._machine.active)
        self._handle(Wanted(n))
        return [self._live(uid) for uid in self._machine.active if uid not in before]

    def _tell(
        self, number: int, returned: Any, state: State | None, run: str | None
    ) -> tuple[str, Trial]:
        uid = self._run_of(number)
        if run is not None and run != uid:
            raise TrialFinished(
                f"study {self.info.name!r}: trial {number} is run again by another process, which "
                f"took the study over; only the outcome of that run counts"
            )
        trial = self._live(uid)
        if state is State.FAILED:
            outcome = Outcome(state, dict(trial.logged), Failure("Told", str(returned or "failed")))
        elif state is State.STOPPED and returned is None:
            outcome = Outcome(state, {**trial.reported, **trial.logged})
        else:
            outcome = as_outcome(
                returned, self.info.goals, trial.logged, self.info.constraints, trial.constraints
            )
            if state is State.STOPPED and outcome.state is State.COMPLETED:
                outcome = replace(outcome, state=state)
        self._handle(Finished(uid, outcome))
        return uid, self._told

    def _run_of(self, number: int) -> str:
        for uid, attempt in self._machine.active.items():
            if attempt.trial.number == number:
                return uid
        if any(t.number == number for t in self.store.trials(self.info.uid)):
            raise TrialFinished(
                f"study {self.info.name!r}: trial {number} has its outcome already; "
                f"a trial is told once"
            )
        raise ArgumentError(
            f"study {self.info.name!r}: there is no trial {number}; tell what study.ask() gave"
        )

    def _live(self, uid: str) -> LiveTrial:
        if uid not in self._trials:
            attempt = self._machine.active[uid]
            self._desks[uid] = _Desk(uid, self)
            self._trials[uid] = LiveTrial(attempt.job, self.info.goals, self._desks[uid])
        return self._trials[uid]

    def _handle(self, event: Event) -> None:
        self._act(self._handled(event))

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
                    self._batch.artifacts.append(self.store.put_artifact(uid, upload))
                case Tell(trial, outcome):
                    self.optimizer.tell(trial, outcome)
                    self._told = trial
                case Stop(uid):
                    self._desks[uid].stopping = True
