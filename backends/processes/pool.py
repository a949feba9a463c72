"""Run trials on a pool of long-lived processes of this machine, reused from trial to trial."""

from __future__ import annotations

import itertools
import selectors
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from tuner.backends.pools import StartRounds, lost, unsendable
from tuner.backends.processes.guard import Guard
from tuner.backends.processes.messages import Leaving, Loaded, Started
from tuner.backends.processes.worker_handle import StoppedWorkerDetector, WorkerHandle
from tuner.backends.protocol import (
    Event,
    Finished,
    Lost,
    Resized,
    Sent,
    Work,
    taken_back,
    timed_out,
)
from tuner.backends.resources import as_needs, fitting_workers, local_machine, worker_variables
from tuner.backends.shipping import SharedFile, cannot_be_loaded, pickle_work, share
from tuner.errors import BackendError
from tuner.records import Job

CHECK_INTERVAL = 1.0
"""Maximum seconds between two checks of the workers."""


class ProcessBackend:
    """A pool of worker processes, each of which runs one trial at a time.

    Workers are started anew, not forked, and do not import the calling script: the objective is
    pickled by cloudpickle, so scripts need no ``if __name__ == "__main__"`` and notebooks work.
    Large arrays that it captures are shared by all workers, which see them read-only. Jobs and
    messages go through pipes; nothing listens on a socket.

    The objective runs on the main thread of a worker. If a worker dies, only the trial that it ran
    is lost, and another worker takes its place. If the driver is killed, the workers end with it.

    Examples
    --------
    >>> backend = ProcessBackend()  # what backend="processes" stands for
    """

    def __init__(self) -> None:
        self._work: SharedFile | None = None
        self._guard: Guard | None = None
        self._needs: Mapping[str, float] = {}
        self._size = 0
        self._names = (f"process-{number}" for number in itertools.count())
        self._selector: selectors.BaseSelector | None = None
        self._workers: list[WorkerHandle] = []
        self._queue: deque[Job] = deque()
        self._stopping: set[str] = set()
        self._events: list[Event] = []
        self._rounds = StartRounds(0.0)
        self._detector = StoppedWorkerDetector()
        self._check_due = 0.0

    # --- start and end ------------------------------------------------------------------------

    def start(
        self,
        work: Work,
        *,
        workers: int | None = None,
        resources: Mapping[str, float] | None = None,
        deliver: Callable[[Event], None] | None = None,  # noqa: ARG002 (events come from `events`)
    ) -> None:
        """Start the workers and ship the work to them; see `Backend.start`."""
        if sys.platform == "win32":
            raise BackendError('backend="processes" needs Linux or macOS; write backend="serial"')
        self._needs = as_needs(resources)
        self._size = fitting_workers(workers, self._needs, [local_machine(self._needs)])
        pickled = pickle_work(work)
        try:
            with _as_backend_error():
                self._work = share(pickled)
                self._guard = Guard()
            self._selector = selectors.DefaultSelector()
            self._names = (f"process-{number}" for number in itertools.count())
            self._rounds = StartRounds(time.monotonic())
            while not self.capacity:
                self._adjust_size()
                self._collect(CHECK_INTERVAL)
                self._check_readiness()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Kill all workers and the processes that their trials have started."""
        for worker in self._workers:
            worker.close()
        self._workers.clear()
        self._queue.clear()
        self._stopping.clear()
        self._events.clear()
        if self._selector is not None:
            self._selector.close()
            self._selector = None
        if self._guard is not None:
            self._guard.close()
            self._guard = None
        if self._work is not None:
            self._work.close()
            self._work = None

    # --- the protocol -------------------------------------------------------------------------

    @property
    def capacity(self) -> int:
        """Number of ready workers."""
        return sum(worker.ready for worker in self._workers)

    @property
    def size(self) -> int:
        """Number of workers that the pool keeps."""
        return self._size

    def submit(self, job: Job) -> None:
        """Queue a job."""
        if self._selector is None:
            raise BackendError("ProcessBackend: submit before start; call start first")
        self._queue.append(job)

    def events(self, timeout: float | None) -> Sequence[Event]:
        """Wait up to `timeout` seconds and return what happened."""
        if self._selector is None:
            raise BackendError("ProcessBackend: events before start; call start first")
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            self._adjust_size()
            self._collect(0.0)
            self._dispatch()
            self._check_workers()
            self._check_readiness()
            left = CHECK_INTERVAL if deadline is None else max(0.0, deadline - time.monotonic())
            if not self._events and left > 0:
                self._collect(min(left, self._next_check()))
                self._dispatch()
            if self._events or left == 0:
                events, self._events = self._events, []
                return events

    def stop(self, run: str, *, kill: bool = False) -> None:
        """Ask a job to end soon, or kill its worker; see `Backend.stop`."""
        worker = next((w for w in self._workers if w.job is not None and w.job.run == run), None)
        if worker is not None and kill:
            self._receive(worker)
            if worker.job is not None:
                self._kill(worker, lost("its worker was ended"))
        elif worker is not None:
            self._stopping.add(run)
            worker.request_stop()
        # A worker that is leaving has given the job back.
        queued = next((job for job in self._queue if job.run == run), None)
        if queued is not None and kill:
            self._queue.remove(queued)
            self._stopping.discard(run)
            self._events.append(taken_back(run))
        elif queued is not None:
            self._stopping.add(run)

    # --- jobs ---------------------------------------------------------------------------------

    def _dispatch(self) -> None:
        """Give each idle worker a job."""
        for worker in self._workers:
            if not self._queue:
                return
            if worker.idle and not worker.is_gone():
                self._send(worker, self._queue.popleft())

    def _send(self, worker: WorkerHandle, job: Job) -> None:
        try:
            worker.send(job)
        except Exception as error:
            # Pickling params of user-defined types may raise any exception.
            self._events.append(unsendable(job, error))
            self._stopping.discard(job.run)
        else:
            if job.run in self._stopping:
                worker.request_stop()

    # --- messages of workers ------------------------------------------------------------------

    def _collect(self, timeout: float) -> None:
        """Handle the messages that arrive within `timeout` seconds, and the deaths of workers."""
        assert self._selector is not None
        for key, _ in self._selector.select(timeout):
            worker: WorkerHandle = key.data
            if worker in self._workers:
                self._receive(worker)
            if worker in self._workers and worker.reader.at_end:
                self._on_death(worker)

    def _receive(self, worker: WorkerHandle) -> None:
        for message in worker.reader.read():
            self._handle(worker, message)

    def _handle(self, worker: WorkerHandle, message: object) -> None:
        match message:
            case Sent():
                self._events.append(message)
            case Started():
                worker.has_started = True
            case Finished():
                worker.job = None
                self._stopping.discard(message.run)
                self._events.append(message)
            case Leaving():
                if worker in self._workers:
                    self._drop(worker)
                self._queue.extendleft(worker.take_back())
            case Loaded(process, problem):
                if problem:
                    raise cannot_be_loaded(problem)
                worker.identity = process
                worker.ready = True
                self._rounds.on_ready()
                self._events.append(Resized(self.capacity))

    # --- workers ------------------------------------------------------------------------------

    def _adjust_size(self) -> None:
        """Start missing workers."""
        assert self._work is not None
        assert self._selector is not None
        assert self._guard is not None
        if len(self._workers) == self._size or not self._rounds.may_start(time.monotonic()):
            return
        for slot in sorted(set(range(self._size)) - {worker.slot for worker in self._workers}):
            variables = worker_variables(self._needs, slot)
            with _as_backend_error():
                worker = WorkerHandle(
                    next(self._names), slot, self._rounds.current, self._work, variables
                )
            self._workers.append(worker)
            self._guard.add(worker.process.pid)
            self._selector.register(worker.reader.descriptor, selectors.EVENT_READ, worker)

    def _check_workers(self) -> None:
        """Kill workers that are overdue or suspended, and notice those that have died."""
        now = time.monotonic()
        for worker in list(self._workers):
            if worker.is_overdue(now):
                self._receive(worker)
                if worker.is_overdue(now):
                    self._kill(worker, timed_out)
        if now < self._check_due:
            return
        self._check_due = now + CHECK_INTERVAL
        for worker in list(self._workers):
            # A process that its objective forked may keep the pipe open.
            if worker.is_gone():
                self._on_death(worker)
        for worker in self._detector.check(self._workers, now):
            why = "its process was frozen, as by SIGSTOP, and has been ended"
            self._kill(worker, lost(why))

    def _next_check(self) -> float:
        """Return the seconds until a worker must be checked."""
        now = time.monotonic()
        limits = (
            worker.job_started + worker.job.timeout
            for worker in self._workers
            if worker.job is not None and worker.job.timeout is not None
        )
        return max(0.0, min(CHECK_INTERVAL, min(limits, default=now + CHECK_INTERVAL) - now))

    def _check_readiness(self) -> None:
        """Raise an error if the pool has had no worker for too long."""
        self._rounds.check(
            self.capacity, time.monotonic(), "the machine is overloaded; start fewer workers"
        )

    def _on_death(self, worker: WorkerHandle) -> None:
        """Report the job of a worker that has died, if it ran one."""
        self._drop(worker)
        self._queue.extendleft(worker.take_back())
        self._end(worker, lost(worker.reason()))
        if not worker.ready:
            self._rounds.on_stillborn(
                worker.start_round, self.capacity, worker.reason(), time.monotonic()
            )

    def _kill(self, worker: WorkerHandle, end: Callable[[Job], Finished | Lost]) -> None:
        """Kill a worker; `end` makes the last event of its job, unless its own has arrived."""
        self._drop(worker)
        self._end(worker, end)

    def _end(self, worker: WorkerHandle, end: Callable[[Job], Finished | Lost]) -> None:
        if worker.job is not None:
            self._stopping.discard(worker.job.run)
            self._events.append(end(worker.job))

    def _drop(self, worker: WorkerHandle) -> None:
        """Remove a worker from the pool; `events` replaces it."""
        assert self._selector is not None
        assert self._guard is not None
        self._selector.unregister(worker.reader.descriptor)
        self._workers.remove(worker)
        for message in worker.close():
            self._handle(worker, message)
        self._guard.remove(worker.process.pid)
        if worker.ready:
            self._events.append(Resized(self.capacity))


@contextmanager
def _as_backend_error() -> Iterator[None]:
    """Raise `BackendError` if the system refuses memory, a process or a file."""
    try:
        yield
    except OSError as error:
        raise BackendError(
            f"workers cannot be started: {error}; start fewer with workers=..., or write "
            f'backend="serial"'
        ) from error
