"""Ask and tell for a loop of one's own, on the same state machine as the driver's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tuner.backends.protocol import Finished, Sent
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
from tuner.errors import ArgumentError, TrialFinished
from tuner.optimizers.protocol import Optimizer
from tuner.records import Failure, Message, Outcome, Params, State, StudyInfo, Trial
from tuner.schedulers.protocol import Scheduler
from tuner.tracking.protocol import Batch, Store
from tuner.tracking.uuid7 import uuid7


@dataclass(slots=True)
class _Desk:
    """The `Channel` of a trial that the user runs: messages go straight to the store."""

    run: str
    handle: Callable[[Event], None]
    worker: str = "manual"
    stopping: bool = False

    def send(self, message: Message) -> None:
        self.handle(Sent(self.run, message))

    def stop_requested(self) -> bool:
        return self.stopping


@dataclass(slots=True)
class ManualLoop:
    """Hands out trials and takes their outcomes; each call is committed before it returns.

    Trials that an earlier process asked for and has not told stay under way, so that a value that
    arrives days later can be told to the loaded study.
    """

    info: StudyInfo
    store: Store
    optimizer: Optimizer
    clock: Callable[[], float]
    scheduler: Scheduler | None = None
    code: str = ""
    environment: str = ""
    _machine: Machine = field(init=False)
    _trials: dict[str, LiveTrial] = field(default_factory=dict)
    _desks: dict[str, _Desk] = field(default_factory=dict)
    _batch: Batch = field(default_factory=Batch)
    _told: Trial = field(init=False)

    def __post_init__(self) -> None:
        history = list(self.store.trials(self.info.uid))
        limits = Limits(same_failures=None)
        self._machine = Machine(
            limits,
            self.info.goals,
            self.info.seed,
            uuid7,
            history,
            self.scheduler,
        )
        self._machine.run_template = replace(
            self._machine.run_template, code=self.code, environment=self.environment
        )
        replay(self.info, history, self.optimizer, self.scheduler, self.store)
        for trial in history:
            if trial.state is State.RUNNING:
                *_, run = self.store.runs(self.info.uid, trial.number)
                self._machine.adopt(trial, run, self.clock())

    def ask(self, n: int) -> list[LiveTrial]:
        """Return `n` trials to be evaluated."""
        before = set(self._machine.active)
        self._handle(Wanted(n))
        return [self._live(uid) for uid in self._machine.active if uid not in before]

    def enqueue(self, points: Sequence[Params]) -> None:
        """Have these points handed out before any other."""
        self._act(self._machine.enqueue(points))
        self._commit()

    def tell(self, number: int, returned: Any = None, state: State | None = None) -> Trial:
        """Take the outcome of trial `number`: what an objective would have returned.

        Raises
        ------
        TrialFinished
            If it has an outcome.
        ArgumentError
            If it was never asked for.
        """
        uid = self._run_of(number)
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
        self._trials.pop(uid, None)
        self._desks.pop(uid, None)
        return self._told

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
            self._desks[uid] = _Desk(uid, self._handle)
            self._trials[uid] = LiveTrial(attempt.job, self.info.goals, self._desks[uid])
        return self._trials[uid]

    def _handle(self, event: Event) -> None:
        self._act(self._machine.handle(event, self.clock()))
        self._commit()

    def _act(self, commands: Sequence[Command]) -> None:
        for command in commands:
            match command:
                case Ask(n):
                    points = self.optimizer.ask(n, self._machine.pending)
                    self._act(self._machine.handle(Suggested(points), self.clock()))
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

    def _commit(self) -> None:
        if self._batch:
            batch, self._batch = self._batch, Batch()
            self.store.write(self.info.uid, batch)
