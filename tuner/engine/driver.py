"""Feeds the state machine and acts on what it decides.

The driver owns no decisions: it carries events from the backend to the `Machine` and its commands
to the backend, the optimizer and the store's `Writer`. It holds the study by a lease of the store
while it does, so what it has read of the study stays true until it ends.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from tuner import ranking
from tuner.backends.protocol import Backend, Work
from tuner.backends.protocol import Event as BackendEvent
from tuner.engine.checkpoint_manager import SavedTrials
from tuner.engine.clock import Clock, SystemClock
from tuner.engine.lagged import LaggedOptimizer
from tuner.engine.limits import Limits
from tuner.engine.machine import Machine
from tuner.engine.messages import (
    Ask,
    Command,
    Drained,
    End,
    Event,
    Halted,
    Keep,
    Launch,
    Log,
    Opened,
    Record,
    Refuse,
    Shelve,
    Stop,
    Suggested,
    Tell,
    Tick,
)
from tuner.engine.replay import replay
from tuner.engine.worker.forks import children_end, end_if_forked
from tuner.engine.writer import MakeWriter, Writer, Writing
from tuner.errors import StoreError, StoreUnavailable, TunerError
from tuner.optimizers import describe
from tuner.optimizers.protocol import Optimizer
from tuner.progress import Progress, Snapshot
from tuner.records import (
    Code,
    Environment,
    Failure,
    Outcome,
    Params,
    Run,
    State,
    StudyInfo,
    Trial,
)
from tuner.schedulers.protocol import Scheduler
from tuner.tracking.batch import Batch
from tuner.tracking.lease import LEASE, Holder, Lease, new_holder
from tuner.tracking.uuid7 import uuid7

if TYPE_CHECKING:
    from tuner.tracking.store import Store

POLL = 0.25
"""Seconds between looks at deadlines and the display while nothing happens."""

LOOKAHEAD = 16
"""Jobs handed out per worker when suggestions do not depend on outcomes."""

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Session:
    """One call's part in a study: what is needed to run its loop.

    `listeners` are called with each trial that has its outcome. `clock` measures every deadline and
    dates what is recorded. `poll` is how many seconds it waits at most before it looks at deadlines
    and the display again. `lease` is how long the study stays this driver's after it was last heard
    of, in seconds.
    """

    info: StudyInfo
    store: Store
    optimizer: Optimizer
    backend: Backend
    work: Work
    limits: Limits
    progress: Progress
    scheduler: Scheduler | None = None
    workers: int | None = None
    resources: Mapping[str, float] | None = None
    initial: Sequence[Params] = ()
    code: Code = field(default_factory=Code)
    environment: Environment = field(default_factory=lambda: Environment("", ""))
    listeners: Sequence[Callable[[Trial], None]] = ()
    clock: Clock = field(default_factory=SystemClock)
    poll: float = POLL
    holder: Holder = field(default_factory=new_holder)
    lease: float = LEASE
    new_run: Callable[[], str] = uuid7
    writer: MakeWriter = Writer


class Driver:
    """Runs the loop of one session to its end: `begin`, then `step` until it is over, then `close`.

    `run` does all three.
    """

    def __init__(self, session: Session) -> None:
        self._session = s = session
        limits = s.limits
        self._optimizer = s.optimizer
        # tuner 0.1 documented `independent` as the name of `history_free`.
        if getattr(s.optimizer, "history_free", getattr(s.optimizer, "independent", False)):
            # Its suggestions do not depend on outcomes, so they can be made ahead.
            limits = replace(limits, lookahead=LOOKAHEAD, in_order=False)
        elif limits.in_order:
            self._optimizer = LaggedOptimizer(s.optimizer, lag=1)
        self._limits = limits
        self._machine = self._new_machine([])
        self._fresh = True
        self._best: Trial | None = None
        self._opened = s.clock.elapsed()
        self._pid = os.getpid()
        self._end: End | None = None
        self._drain_reason: str | None = None
        self._lease: Lease | None = None
        self._writer: Writing | None = None
        self._saved = SavedTrials(s.store.artifact_root, s.info.uid)

    @property
    def machine(self) -> Machine:
        """The state machine, to be looked at."""
        return self._machine

    def describe_optimizer(self) -> dict[str, Any]:
        """Return what the optimizer says of itself, its name at least."""
        return describe(self._session.optimizer)

    def stop(self, reason: str = "stopped") -> None:
        """Begin no more trials; those that run come to their end."""
        self._drain_reason = reason

    def run(self) -> End:
        """Run until the machine says that it is over, and return why.

        Raises
        ------
        StudyBusy
            If another driver holds the study; nothing was started.
        StudyTakenOver
            If another driver took it from this one; what was committed before is safe.
        BackendError
            If the workers cannot be started or replaced.
        StoreError
            If the record cannot be written; what was committed is safe.
        KeyboardInterrupt
            After everything that had finished was recorded.
        """
        closing = "failed"
        try:
            self.begin()
            while (end := self.step()) is None:
                pass
            closing = str(end)
        except KeyboardInterrupt:
            closing = "interrupted"
            self._give_up(closing)
            raise
        except BaseException as error:
            # What went wrong first is what the user must see, not what it drags along.
            self._give_up(type(error).__name__)
            raise
        finally:
            self.close(closing)
        return end

    # --- beginning and end --------------------------------------------------------------------

    def begin(self) -> None:
        """Take the study, learn what it knows, and start the workers."""
        s = self._session
        known = s.store.find_study(s.info.name) is not None
        if known:
            self._take()
        history = list(s.store.trials(s.info.uid)) if known else []
        replay(s.info, history, self._optimizer, s.scheduler, s.store)
        self._machine = self._new_machine(history)
        self._fresh = not history
        self._best = ranking.best(s.info.goal, history)
        done = self._machine.counts.done
        s.progress.start(s.info.name, done, s.limits.n_trials, s.limits.timeout, s.info.goal)
        s.progress.note("starting workers")
        s.backend.start(s.work, workers=s.workers, resources=s.resources, deliver=self._deliver)
        if not known:
            # Only now is there something to record: a call that fails earlier leaves no trace.
            self._take()
        self._record_origin()
        self._opened = s.clock.elapsed()
        self._handle(Opened(s.backend.capacity))
        if isinstance(self._optimizer, LaggedOptimizer):
            self._optimizer.lag = s.backend.capacity
        if self._fresh and s.initial:
            self._act(self._machine.enqueue(s.initial))

    def step(self) -> End | None:
        """Do what is due, wait for what happens next; return why the study is over once it is."""
        s = self._session
        if self._writer is not None:
            self._writer.check()
        if self._drain_reason is not None:
            self._handle(Drained(self._drain_reason))
            self._drain_reason = None
        self._handle(Tick())
        s.progress.update(self._snapshot())
        if self._end is None:
            self._handle_all(s.backend.events(self._patience()))
        return self._end

    def close(self, closing: str) -> None:
        """End the workers, commit what is left and give the study back."""
        end_if_forked(self._pid)
        s = self._session
        with ExitStack() as last:
            last.callback(s.progress.close, closing)
            last.callback(lambda: s.progress.update(self._snapshot()))
            if self._lease is not None:
                last.callback(self._give_back, self._lease)
            if self._writer is not None:
                last.callback(self._writer.close)
            s.backend.close()

    def _new_machine(self, history: Sequence[Trial]) -> Machine:
        s = self._session
        return Machine(self._limits, s.info.goals, s.info.seed, s.new_run, history, s.scheduler)

    def _take(self) -> None:
        """Take the study by a lease, which the writer keeps alive from here on."""
        s = self._session
        self._lease = s.store.acquire_lease(s.info, s.holder, s.lease)
        self._writer = s.writer(s.store, self._lease)

    def _give_back(self, lease: Lease) -> None:
        # All is written by now; where this cannot be, the lease lapses by itself.
        with suppress(StoreUnavailable):
            self._session.store.release_lease(lease)

    def _record_origin(self) -> None:
        """Record what this session's runs come from; end what a dead driver left."""
        s = self._session
        self._machine.run_template = replace(
            self._machine.run_template,
            code=s.store.put_code(s.code),
            environment=s.store.put_environment(s.environment),
        )
        failure = Failure("Interrupted", "the study's driver ended before this run did")
        left = [
            replace(
                run, state=State.FAILED, error=failure, ended=max(s.clock.now(), run.started or 0.0)
            )
            for trial in self._machine.pending
            for run in s.store.runs(s.info.uid, trial.number)
            if not run.state.finished
        ]
        waiting = [
            replace(trial, state=State.WAITING)
            for trial in self._machine.pending
            if trial.state is State.RUNNING
        ]
        s.store.write(s.info.uid, Batch(waiting, left), self._lease)
        self._saved.tidy(trial.number for trial in self._machine.pending)

    def _deliver(self, event: BackendEvent) -> None:
        """Take in an event at once, while `events` still runs a job on this thread."""
        self._handle(event)
        self._session.progress.update(self._snapshot())

    def _patience(self) -> float:
        """How long to wait for events: until the next deadline, and no longer than `poll`."""
        s = self._session
        due = self._machine.next_deadline()
        return s.poll if due is None else min(s.poll, max(0.0, due - s.clock.elapsed()))

    def _give_up(self, reason: str) -> None:
        """Leave what runs open for a later call; record it if the store still takes it."""
        clock = self._session.clock
        for command in self._machine.handle(Halted(reason), clock.elapsed(), clock.now()):
            # The store may be what failed, and then the next call tidies up.
            with suppress(TunerError):
                self._execute(command)

    # --- acting on commands -------------------------------------------------------------------

    def _handle(self, event: Event) -> None:
        end_if_forked(self._pid)
        clock = self._session.clock
        self._act(self._machine.handle(event, clock.elapsed(), clock.now()))

    def _handle_all(self, events: Iterable[Event]) -> None:
        """Handle each event, whether or not the store fails: the last commit may still take it."""
        failed: StoreError | None = None
        for event in events:
            try:
                self._handle(event)
            except StoreError as error:
                failed = failed or error
        if failed is not None:
            raise failed

    def _act(self, commands: Sequence[Command]) -> None:
        for command in commands:
            self._execute(command)

    def _execute(self, command: Command) -> None:
        s = self._session
        match command:
            case Launch(job, run):
                self._put(trial=job.trial, run=run)
                s.backend.submit(self._saved.provide(job))
            case Record(trial, run):
                self._put(trial=trial, run=run)
            case Tell(trial, outcome):
                self._tell(trial, outcome)
            case Log(run_uid, report):
                if self._writer is not None:
                    self._writer.put(report=(run_uid, report))
            case Refuse(run_uid, outcome):
                _log.info("run %s is over; its late %s outcome is refused", run_uid, outcome.state)
            case Ask(n):
                self._handle(Suggested(self._optimizer.ask(n, self._machine.pending)))
            case Keep(run_uid, upload):
                if self._writer is not None:
                    self._writer.put(upload=(run_uid, upload))
            case Shelve(number, run_uid, piece):
                if self._writer is not None:
                    self._writer.insist(partial(self._saved.take, number, run_uid, piece))
            case Stop(run_uid, kill):
                s.backend.stop(run_uid, kill=kill)
            case End():
                self._end = command

    def _put(self, trial: Trial | None, run: Run | None) -> None:
        if self._writer is not None:
            self._writer.put(trial=trial, run=run)

    def _tell(self, trial: Trial, outcome: Outcome) -> None:
        if self._writer is not None and self._saved.has(trial.number):
            self._writer.flush()  # only what is committed needs no checkpoint any more
            self._saved.remove(trial.number)
        self._optimizer.tell(trial, outcome)
        if ranking.beats(self._session.info.goal, trial, self._best):
            self._best = trial
        for listener in self._session.listeners:
            with children_end():
                listener(trial)

    def _snapshot(self) -> Snapshot:
        counts = self._machine.counts
        best = self._best
        return Snapshot(
            done=counts.done,
            running=self._machine.running,
            failed=counts.failed,
            stopped=counts.stopped,
            best_value=None if best is None else best.value,
            best_trial=None if best is None else best.number,
            elapsed=self._session.clock.elapsed() - self._opened,
        )
