"""The worker actor: run jobs one after another and send their messages as they occur."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from tuner.backends.os_processes import ProcessIdentity, exit_with_parent, this_process
from tuner.backends.process_cleaner import ProcessCleaner
from tuner.backends.protocol import Event, Finished, Sent, Work
from tuner.backends.ray.checkpoint_transfer import ShippedFolder, receive_folder
from tuner.backends.ray.journal import JournalWriter
from tuner.backends.shipping import load_work
from tuner.records import CheckpointEnd, CheckpointPart, Job, Message, Outcome, State
from tuner.records.tracebacks import describe


@dataclass(frozen=True, slots=True)
class Prepared:
    """The result of loading the work: the `problem`, if any; whether the journal is `shared`.

    `process` is the worker's process and `node` is Ray's id of its node.
    """

    process: ProcessIdentity
    node: str
    problem: str = ""
    shared: bool = False


@dataclass(frozen=True, slots=True)
class BatchDone:
    """A batch is complete.

    `events` are those that no `poll` has returned. `reclaimed` are the runs that were not started.
    `seconds_per_job` is the mean duration of the other jobs. `needs_restart` is the reason to
    replace the worker, empty if there is none.
    """

    events: list[Event]
    reclaimed: list[str]
    seconds_per_job: float
    needs_restart: str = ""


class JobState(StrEnum):
    """The state in which a cancellation found a job."""

    RUNNING = "running"
    WAITING = "waiting"
    OVER = "over"


@dataclass(frozen=True, slots=True)
class Cancellation:
    """The state of a job to cancel, the events not yet polled, and whether the worker answered."""

    state: JobState
    events: list[Event] = field(default_factory=list)
    answered: bool = True


class WorkerActor:
    """Holds the work of a study and runs batches of jobs; `worker_factory` makes it an actor.

    `run` blocks while jobs run; the other methods are called meanwhile, from threads of another
    concurrency group. The method that removes events from the outbox also delivers them, so each
    event is delivered once and in order.
    """

    def __init__(self, name: str) -> None:
        exit_with_parent(int(os.environ.get("RAY_RAYLET_PID", 0)))
        self._name = name
        self._cleaner: ProcessCleaner | None = None
        self._work: Work | None = None
        self._journal: JournalWriter | None = None
        self._changed = threading.Condition()
        self._todo: deque[tuple[int, Job]] = deque()
        self._current: str | None = None
        self._began = 0.0
        self._outbox: list[Event] = []
        self._taken = 0
        self._delivered = 0
        self._unsaved: list[Event] = []
        self._stopping: set[str] = set()
        self._batch = 0
        self._refused: set[str] = set()
        self._reclaimed: list[str] = []
        self._busy = False
        self._halted = False

    def prepare(
        self, work: tuple[bytes, Sequence[Any]], journal: str, driver_node: str
    ) -> Prepared:
        """Unpickle the work with its arrays, and open the journal if it is on this machine."""
        import ray

        process, node = this_process(), ray.get_runtime_context().get_node_id()
        self._work, problem = load_work(*work)
        if problem:
            return Prepared(process, node, problem)
        self._cleaner = ProcessCleaner()
        if node == driver_node:
            with suppress(OSError):
                self._journal = JournalWriter(journal)
        return Prepared(process, node, shared=self._journal is not None)

    def run(
        self,
        number: int,
        jobs: Sequence[Job],
        checkpoints: Mapping[str, ShippedFolder] | None = None,
    ) -> BatchDone:
        """Run the jobs of batch `number` to their end, in order; `checkpoints` is keyed by run."""
        checkpoints = checkpoints or {}
        assert self._work is not None
        start, ran, needs_restart = time.perf_counter(), 0, ""
        with self._changed:
            self._todo.extend(
                (place, job) for place, job in enumerate(jobs, 1) if job.run not in self._refused
            )
            self._batch, self._busy = number, True
            self._refused.clear()
            self._unsaved, self._reclaimed = [], []
        while (job := self._begin_next()) is not None:
            with _with_local_checkpoint(job, checkpoints.get(job.run)) as job_here:
                outcome = self._outcome(job_here)
            self.put(Finished(job.run, outcome))
            ran += 1
            if self._cleaner is not None and (needs_restart := self._cleaner.clean()):
                self.reclaim()
        with self._changed:
            self._busy = False
            self._stopping.clear()
            self._changed.notify_all()
            seconds_per_job = (time.perf_counter() - start) / max(ran, 1)
            return BatchDone(self._take(), self._reclaimed, seconds_per_job, needs_restart)

    def _outcome(self, job: Job) -> Outcome:
        assert self._work is not None
        try:
            return self._work(job, ActorChannel(self._name, job.run, self))
        except KeyboardInterrupt as error:
            if signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ()):
                raise
            # Ray shields workers from Ctrl-C, so the objective raised this. Propagated further,
            # it would look like the death of this worker, and the job would be retried.
            return Outcome(State.FAILED, error=describe(error))

    def _begin_next(self) -> Job | None:
        with self._changed:
            self._current = None
            if self._halted or not self._todo:
                return None
            place, job = self._todo.popleft()
            if self._journal is not None:
                try:
                    self._journal.write(self._batch, place, self._unsaved)
                except OSError:
                    # A full disk, for example, is not a failure of a job. Without a journal, more
                    # jobs run again if this worker dies.
                    self._journal = None
                self._unsaved = []
            self._current, self._began = job.run, time.monotonic()
            return job

    def poll(self, timeout: float) -> list[Event]:
        """Wait up to `timeout` seconds for events, or for the end of the batch."""
        with self._changed:
            self._delivered = self._taken  # polls are sequential, so the last answer has arrived
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._outbox or self._halted or not self._busy, timeout)
            return self._take()

    def request_stop(self, run: str) -> None:
        """Request that the job ends; it sees this at its next check."""
        with self._changed:
            self._stopping.add(run)

    def reclaim(self) -> list[str]:
        """Reclaim the jobs that have not started, and return their runs."""
        with self._changed:
            self._reclaimed += [job.run for _, job in self._todo]
            self._todo.clear()
            return list(self._reclaimed)

    def cancel(self, run: str, batch: int, after: float = 0.0) -> Cancellation:
        """Find a job of batch number `batch` that must be killed.

        A queued job is reclaimed, even before its batch has arrived. If the job has been running
        for more than `after` seconds, this worker starts and sends nothing more, so that killing
        the process harms no other job.
        """
        with self._changed:
            if batch > self._batch:
                self._refused.add(run)
                return Cancellation(JobState.WAITING)
            if any(job.run == run for _, job in self._todo):
                self._todo = deque(entry for entry in self._todo if entry[1].run != run)
                return Cancellation(JobState.WAITING)
            if self._current != run or time.monotonic() - self._began < after:
                return Cancellation(JobState.OVER)
            self._halted = True
            self._changed.notify_all()
            return Cancellation(JobState.RUNNING, self._take())

    def leave(self) -> None:
        """End this process."""
        os._exit(0)

    def put(self, event: Event) -> None:
        """Put an event into the outbox."""
        with self._changed:
            if isinstance(event, Finished):
                self._current = None
            if self._halted:
                return
            self._outbox.append(event)
            if self._todo:
                self._unsaved.append(event)
            self._changed.notify_all()

    def send_and_wait(self, event: Event) -> None:
        """Put an event into the outbox and wait until the driver has it.

        This limits memory to one large message, and makes saved data safe. Jobs queued behind a
        job that saves checkpoints are returned, because such a job is long.
        """
        with self._changed:
            self.reclaim()
            self.put(event)
            ticket = self._taken + len(self._outbox)
            self._changed.wait_for(lambda: self._delivered >= ticket or self._halted)

    def is_stopping(self, run: str) -> bool:
        """Whether a job has been asked to end."""
        return run in self._stopping

    def _take(self) -> list[Event]:
        events, self._outbox = self._outbox, []
        self._taken += len(events)
        return events


class ActorChannel:
    """The channel of one job on this worker."""

    __slots__ = ("_owner", "_run", "worker")

    def __init__(self, worker: str, run: str, owner: WorkerActor) -> None:
        self.worker = worker
        self._run = run
        self._owner = owner

    def send(self, message: Message) -> None:
        """Send a message; for a piece of a checkpoint, wait until the driver has it."""
        event = Sent(self._run, message)
        if isinstance(message, CheckpointPart | CheckpointEnd):
            self._owner.send_and_wait(event)
        else:
            self._owner.put(event)

    def stop_requested(self) -> bool:
        """Whether the driver has asked this job to end."""
        return self._owner.is_stopping(self._run)


@contextmanager
def _with_local_checkpoint(job: Job, shipped: ShippedFolder | None) -> Iterator[Job]:
    """Yield the job with its checkpoint copied to this machine."""
    if shipped is None or job.checkpoint is None:
        yield job
        return
    with tempfile.TemporaryDirectory(prefix="tuner-") as folder:
        # If the disk is full, the job finds the checkpoint damaged and starts over.
        with suppress(OSError):
            receive_folder(shipped, Path(folder))
        yield replace(job, checkpoint=replace(job.checkpoint, folder=folder))
