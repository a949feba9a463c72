"""The driver: pass events to the state machine and execute its commands.

The driver decides nothing. It passes events from the backend to the `Machine`, and commands to the
backend, the optimizer and the `Writer`. It holds a lease on the study, so no other process changes
the study meanwhile.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any

from tuner.backends.protocol import Backend, Work
from tuner.backends.protocol import Event as BackendEvent
from tuner.engine.clock import Clock, SystemClock
from tuner.engine.history import LaggedOptimizer, replay, untried
from tuner.engine.interrupted import interrupted
from tuner.engine.machine import Machine
from tuner.engine.machine_state import Limits
from tuner.engine.messages import (
    Ask,
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
from tuner.engine.progress import Progress, Snapshot
from tuner.engine.worker.forks import exit_forked_children, exit_if_forked
from tuner.engine.writer import MakeWriter, Writer, Writing
from tuner.errors import StoreError, StoreUnavailable, TunerError
from tuner.optimizers import describe, ranking
from tuner.optimizers.protocol import Optimizer
from tuner.records import (
    Code,
    Environment,
    Outcome,
    Params,
    Run,
    RunPurpose,
    StudyInfo,
    Trial,
)
from tuner.schedulers.protocol import Scheduler
from tuner.search_spaces import Space
from tuner.tracking.artifacts.checkpoint_store import CheckpointManager
from tuner.tracking.batch import Batch
from tuner.tracking.lease import LEASE, Lease, LeaseOwner, new_lease_owner
from tuner.tracking.uuid7 import uuid7

if TYPE_CHECKING:
    from tuner.tracking.store import Store

_searches: dict[tuple[str, str], Driver] = {}
"""The searches that this process runs, by the URL of the store and the uid of the study."""


def running_search(store_url: str, study: str) -> Driver | None:
    """Return the driver in this process that runs a search of a study, None if there is none."""
    driver = _searches.get((store_url, study))
    return driver if driver is not None and driver.pid == os.getpid() else None


POLL = 0.25
"""Maximum seconds between two checks of deadlines and updates of the display."""

LOOKAHEAD = 16
"""Jobs submitted per worker if suggestions do not depend on outcomes."""

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Session:
    """The inputs of one run of the loop.

    `initial` are points to try first, unless the study has as many trials of them. `listeners` are
    called with each finished trial, once it is committed; without `listeners_read`, they do not use
    the record and do not wait for the commit. `clock` measures deadlines and dates
    records. `poll` is the maximum number of seconds between two checks of deadlines and updates of
    the display. `lease` is the number of seconds after its last renewal at which the lease expires.
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
    listeners_read: bool = True
    clock: Clock = field(default_factory=SystemClock)
    poll: float = POLL
    owner: LeaseOwner = field(default_factory=new_lease_owner)
    lease: float = LEASE
    new_run: Callable[[], str] = uuid7
    writer: MakeWriter = Writer


class Driver:
    """Runs the loop of one session: `begin`, then `step` until it returns an end, then `close`.

    `run` calls all three. Meanwhile, `running_search` finds the driver by its study.
    """

    def __init__(self, session: Session) -> None:
        self._session = s = session
        limits = s.limits
        self._optimizer = s.optimizer
        # tuner 0.1 documented `independent` as the name of `history_free`.
        if getattr(s.optimizer, "history_free", getattr(s.optimizer, "independent", False)):
            # Its suggestions do not depend on outcomes, so it can make them in advance.
            limits = replace(limits, lookahead=LOOKAHEAD, in_order=False)
        elif limits.in_order:
            self._optimizer = LaggedOptimizer(s.optimizer, lag=1)
        self._limits = limits
        self._best: Trial | None = None
        self._opened = s.clock.elapsed()
        self.pid = os.getpid()
        self._end: End | None = None
        self._stop_reason: str | None = None
        self._closing: str | None = None
        self._enqueued: deque[Params] = deque()
        self._lease: Lease | None = None
        self._writer: Writing | None = None
        self._checkpoints = CheckpointManager(s.store.artifact_root, s.info.uid)
        self._machine = self._new_machine([])

    @property
    def machine(self) -> Machine:
        """The state machine; read-only for callers."""
        return self._machine

    def describe_optimizer(self) -> dict[str, Any]:
        """Return the optimizer's description of itself; it has at least a name."""
        return describe(self._session.optimizer)

    def stop(self, reason: str = "stopped") -> None:
        """Start no more trials; running ones continue to their end.

        The first `reason` is the text of the progress display at the end.
        """
        self._stop_reason = reason
        self._closing = self._closing or reason

    def enqueue(self, point: Params) -> None:
        """Queue a valid point, which runs before the optimizer is asked; safe on any thread.

        If the search ends first, the point waits for the next one.
        """
        self._enqueued.append(point)

    def run(self) -> End:
        """Run the loop, and return the reason for its end.

        Raises
        ------
        StudyBusy
            If another driver holds the study; nothing was started.
        StudyTakenOver
            If another driver took over the study; earlier commits are kept.
        BackendError
            If the workers cannot be started or replaced.
        StoreError
            If the store does not accept records; earlier commits are kept.
        KeyboardInterrupt
            After all finished trials have been recorded.
        """
        closing = "failed"
        try:
            self.begin()
            while (end := self.step()) is None:
                pass
            closing = self._closing if end is End.STOPPED and self._closing else str(end)
        except KeyboardInterrupt:
            closing = "interrupted"
            self._give_up(closing)
            raise
        except BaseException as error:
            # Show the user this error, not those that follow from it.
            self._give_up(type(error).__name__)
            raise
        finally:
            self.close(closing)
        return end

    # --- start and end ------------------------------------------------------------------------

    def begin(self) -> None:
        """Acquire the study, replay its history, and start the workers."""
        s = self._session
        known = s.store.find_study(s.info.name, s.info.uid) is not None
        if known:
            self._acquire_lease()
        history = list(s.store.trials(s.info.uid)) if known else []
        self._checkpoints.tidy(t.number for t in history if not t.state.finished)
        replay(s.info, history, self._optimizer, s.scheduler, s.store)
        self._machine = self._new_machine(history)
        self._best = ranking.best(s.info.goal, history)
        done = self._machine.counts.done
        s.progress.start(s.info.name, done, s.limits.n_trials, s.limits.timeout, s.info.goal)
        s.progress.note("starting workers")
        s.backend.start(s.work, workers=s.workers, resources=s.resources, deliver=self._deliver)
        if not known:
            # The study is created only now, so a call that fails earlier records nothing.
            self._acquire_lease()
        _searches[s.store.url, s.info.uid] = self
        self._record_origin(history)
        self._opened = s.clock.elapsed()
        # The number of workers that are ready already is a matter of luck, so the lag is the size.
        size = getattr(s.backend, "size", s.backend.capacity)  # tuner 0.1 had backends without it
        self._handle(Opened(s.backend.capacity, size))
        if isinstance(self._optimizer, LaggedOptimizer):
            self._optimizer.lag = size
        if s.initial:
            points = untried(Space.from_dict(s.info.space), s.initial, history)
            self._act(self._machine.enqueue(points))

    def step(self) -> End | None:
        """Execute due commands and wait for events; return the reason once the loop has ended."""
        s = self._session
        if self._writer is not None:
            self._writer.check()
        if self._stop_reason is not None:
            self._handle(StopRequested(self._stop_reason))
            self._stop_reason = None
        self._create_enqueued()
        self._handle(Tick())
        s.progress.update(self._snapshot())
        if self._end is None:
            self._handle_all(s.backend.events(self._poll_timeout()))
        return self._end

    def close(self, closing: str) -> None:
        """Stop the workers, commit pending records and release the lease."""
        exit_if_forked(self.pid)
        s = self._session
        if running_search(s.store.url, s.info.uid) is self:
            del _searches[s.store.url, s.info.uid]
        with ExitStack() as last:
            last.callback(s.progress.close, closing)
            last.callback(lambda: s.progress.update(self._snapshot()))
            if self._lease is not None:
                last.callback(self._release_lease, self._lease)
            if self._writer is not None:
                last.callback(self._writer.close)
            last.callback(self._create_enqueued)
            s.backend.close()

    def _create_enqueued(self) -> None:
        """Record the points of `enqueue` as waiting trials."""
        while self._enqueued:
            self._act(self._machine.enqueue([self._enqueued.popleft()]))

    def _new_machine(self, history: Sequence[Trial]) -> Machine:
        s = self._session
        saved = [trial.number for trial in history if self._checkpoints.has(trial.number)]
        goals, seed = s.info.goals, s.info.seed
        return Machine(self._limits, goals, seed, s.new_run, history, s.scheduler, saved)

    def _acquire_lease(self) -> None:
        """Acquire the lease of the study; from here on the writer renews it."""
        s = self._session
        self._lease = s.store.acquire_lease(s.info, s.owner, s.lease)
        self._writer = s.writer(s.store, self._lease)

    def _release_lease(self, lease: Lease) -> None:
        # All records are written; if the store is unreachable, the lease expires by itself.
        with suppress(StoreUnavailable):
            self._session.store.release_lease(lease)

    def _record_origin(self, history: Sequence[Trial]) -> None:
        """Record code and environment; end the runs that a dead driver left active."""
        s = self._session
        self._machine.run_template = replace(
            self._machine.run_template,
            code=s.store.put_code(s.code),
            environment=s.store.put_environment(s.environment),
        )
        pending = self._machine.pending
        of_trials = (run for t in pending for run in s.store.runs(s.info.uid, t.number))
        repeats = s.store.runs(s.info.uid, purpose=RunPurpose.REPEAT) if history else ()
        alive = self._last_sign_of_life(history)
        left = interrupted(chain(of_trials, repeats), alive)
        s.store.write(s.info.uid, Batch(pending, left), self._lease)

    def _last_sign_of_life(self, history: Sequence[Trial]) -> float:
        """Return the last known date at which the previous driver of the study was alive.

        Its last write renewed the lease. If it released the lease, or another process asked for
        trials, the latest date of a trial remains.
        """
        now = self._session.clock.now()
        dates = [date for t in history for date in (t.started, t.ended) if date is not None]
        if self._lease is not None and self._lease.silence is not None:
            dates.append(now - self._lease.silence)
        return min(now, max(dates, default=0.0))

    def _deliver(self, event: BackendEvent) -> None:
        """Handle an event immediately, while `events` runs a job on this thread."""
        self._handle(event)
        self._session.progress.update(self._snapshot())

    def _poll_timeout(self) -> float:
        """Return how long to wait for events: until the next deadline, at most `poll` seconds."""
        s = self._session
        due = self._machine.next_deadline()
        return s.poll if due is None else min(s.poll, max(0.0, due - s.clock.elapsed()))

    def _give_up(self, reason: str) -> None:
        """Leave running trials open for a later call; record this if the store accepts it."""
        clock = self._session.clock
        for command in self._machine.handle(Interrupted(reason), clock.elapsed(), clock.now()):
            # If the store failed, the next call cleans up.
            with suppress(TunerError):
                self._execute(command)

    # --- commands -----------------------------------------------------------------------------

    def _handle(self, event: Event) -> None:
        exit_if_forked(self.pid)
        clock = self._session.clock
        self._act(self._machine.handle(event, clock.elapsed(), clock.now()))

    def _handle_all(self, events: Iterable[Event]) -> None:
        """Handle all events even if the store fails: the last commit may still succeed."""
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
            case Launch(job, run, queued):
                if queued is None:
                    self._put(trial=job.trial, run=run)
                else:
                    self._put(trial=queued, run=None)
                s.backend.submit(self._checkpoints.provide(job))
            case Record(trial, run):
                self._put(trial=trial, run=run)
            case Tell(trial, outcome):
                self._tell(trial, outcome)
            case RecordReport(run_uid, report):
                if self._writer is not None:
                    self._writer.put(report=(run_uid, report))
            case DropStale(run_uid, outcome):
                _log.info(
                    "run %s has ended; its late %s outcome is dropped", run_uid, outcome.state
                )
            case Ask(n):
                self._handle(Suggested(self._optimizer.ask(n, self._machine.pending)))
            case SaveArtifact(run_uid, upload):
                if self._writer is not None:
                    self._writer.put(upload=(run_uid, upload))
            case SaveCheckpoint(number, run_uid, piece):
                if self._writer is not None:
                    self._writer.call_with_retries(
                        partial(self._checkpoints.add, number, run_uid, piece)
                    )
            case Stop(run_uid, kill):
                s.backend.stop(run_uid, kill=kill)
            case End():
                self._end = command

    def _put(self, trial: Trial | None, run: Run | None) -> None:
        if self._writer is not None:
            self._writer.put(trial=trial, run=run)

    def _tell(self, trial: Trial, outcome: Outcome) -> None:
        if self._writer is not None and self._checkpoints.has(trial.number):
            self._writer.flush()  # the checkpoint is needed until the outcome is committed
            self._checkpoints.remove(trial.number)
        self._optimizer.tell(trial, outcome)
        if ranking.beats(self._session.info.goal, trial, self._best):
            self._best = trial
        if self._writer is not None and self._session.listeners_read:
            self._writer.flush()  # a callback reads the record, and may annotate the trial
        for listener in self._session.listeners:
            with exit_forked_children():
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
