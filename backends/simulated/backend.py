"""Run trials on simulated workers in virtual time: hours of a large cluster in seconds."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from tuner.backends.protocol import Event, Resized, Work, taken_back
from tuner.backends.resources import as_needs
from tuner.backends.simulated.model import Duration, Faults, VirtualClock, as_duration
from tuner.backends.simulated.process import SimulatedProcess, SimulationContext
from tuner.errors import ArgumentError, BackendError, ResourcesError
from tuner.records import Job


class SimulatedBackend:
    """Simulated workers: the objective is really called, but its duration is simulated.

    Everything runs on the calling thread, in the order of a virtual clock that advances only while
    the study waits. The same seeds repeat the same search. Use it to study schedulers, parallel
    search and the effects of faults without waiting.

    Parameters
    ----------
    duration
        Virtual seconds that a trial works before each new step that it reports, or before its end
        if it reports none: a number, or a function of the trial, the step and a generator, such as
        ``lambda trial, step, rng: 60 * trial.params["layers"]`` or `lognormal(60)`.
    workers
        Number of workers; ``optimize(workers=...)`` may use fewer.
    seed
        Seed of durations and faults. A trial has the same durations in every search with this seed.
    faults
        Injected faults; see `Faults`.
    sizes
        Changes of the pool size: pairs of seconds since the start and the number of workers from
        then on. If too many are busy, the last workers leave and their trials are lost.
    clock
        A clock shared with other backends; None creates one.

    Attributes
    ----------
    clock : VirtualClock
        The simulated time in seconds since the epoch; `optimize` uses it as its clock.

    Examples
    --------
    >>> import tempfile, tuner
    >>> backend = SimulatedBackend(duration=3600.0, workers=100)
    >>> study = tuner.optimize(
    ...     lambda params: params["x"] ** 2, {"x": tuner.Float(-1, 1)}, n_trials=1000,
    ...     optimizer="random", backend=backend, store=tempfile.mkdtemp(), progress=False,
    ... )
    >>> backend.elapsed / 3600
    10.0
    """

    def __init__(
        self,
        duration: float | Duration = 1.0,
        *,
        workers: int = 1,
        seed: int = 0,
        faults: Faults | None = None,
        sizes: Sequence[tuple[float, int]] = (),
        clock: VirtualClock | None = None,
    ) -> None:
        if workers < 1:
            raise ArgumentError(f"SimulatedBackend(workers={workers}): write at least 1")
        if any(not 0 <= when < math.inf or size < 0 for when, size in sizes):
            raise ArgumentError(
                f"SimulatedBackend(sizes={sizes!r}): write pairs of seconds and workers from 0 up"
            )
        self.clock = VirtualClock() if clock is None else clock
        self._duration = as_duration(duration)
        self._workers = workers
        self._seed = seed
        self._faults = faults or Faults()
        self._sizes = tuple(sizes)
        self._created = self.clock()
        self._requested: int | None = None
        self._capacity = 0
        self._context: SimulationContext | None = None
        self._queue: deque[Job] = deque()
        self._idle: list[int] = []
        self._restarting: set[int] = set()
        self._stopping: set[str] = set()

    @property
    def elapsed(self) -> float:
        """Virtual seconds since this backend was created."""
        return self.clock() - self._created

    def start(
        self,
        work: Work,
        *,
        workers: int | None = None,
        resources: Mapping[str, float] | None = None,
        deliver: Callable[[Event], None] | None = None,  # noqa: ARG002 (nothing runs in between)
    ) -> None:
        """Prepare to run jobs; see `Backend.start`. Resources are ignored."""
        if workers is not None and not 1 <= workers <= self._workers:
            raise ResourcesError(
                f"workers={workers}: this backend has {self._workers} simulated workers; write "
                f"SimulatedBackend(workers={max(workers, 1)}), or fewer here"
            )
        if any(amount > 0 for name, amount in as_needs(resources).items() if name != "CPU"):
            raise ResourcesError(
                f"resources={dict(resources or {})!r}: simulated workers have no resources; leave "
                f"them out"
            )
        self._context = context = SimulationContext(
            work, self.clock, self._duration, self._faults, self._seed
        )
        self._requested = workers
        self._capacity = self._limited(self._workers)
        self._idle = list(range(self._capacity - 1, -1, -1))
        for when, size in self._sizes:
            context.queue.put(self.clock() + when, partial(self._resize, size))

    @property
    def capacity(self) -> int:
        """Number of jobs that run at once."""
        return self._capacity

    @property
    def size(self) -> int:
        """Number of jobs that run at once when all workers are there."""
        return self._limited(self._workers)

    def submit(self, job: Job) -> None:
        """Queue a job; the next free worker runs it."""
        if self._context is None:
            raise BackendError("SimulatedBackend: submit before start; call start first")
        self._queue.append(job)
        self._assign()

    def events(self, timeout: float | None) -> Sequence[Event]:
        """Advance virtual time to the next event, by at most `timeout` seconds.

        Raises
        ------
        BackendError
            If `timeout` is None and no event can ever happen.
        """
        if self._context is None:
            return []
        queue, outbox = self._context.queue, self._context.outbox
        until = math.inf if timeout is None else self.clock() + timeout
        while queue and (due := queue.next_time) <= until:
            # Deliver sent messages before time advances and before any job continues.
            if outbox and (due > self.clock() or queue.next_is_after):
                break
            self.clock.advance_to(due)
            queue.take()()
        if not outbox:
            if math.isinf(until):
                raise BackendError(self._stuck())
            self.clock.advance_to(until)
        events = list(outbox)
        outbox.clear()
        return events

    def stop(self, run: str, *, kill: bool = False) -> None:
        """Ask a job to end soon; with `kill`, end it and its worker now."""
        context = self._context
        if context is None:
            return
        process = context.running.get(run)
        if process is not None:
            if kill:
                process.die("ended while it ran")
            else:
                process.stopping = True
        elif any(job.run == run for job in self._queue):
            if kill:
                self._queue = deque(job for job in self._queue if job.run != run)
                context.outbox.append(taken_back(run))
            else:
                self._stopping.add(run)

    def close(self) -> None:
        """End running jobs and drop queued ones; the clock keeps its time."""
        self._queue.clear()
        self._stopping.clear()
        self._idle.clear()
        self._restarting.clear()
        context, self._context = self._context, None
        for process in [] if context is None else list(context.running.values()):
            process.discard()

    # --- workers ------------------------------------------------------------------------------

    def _limited(self, size: int) -> int:
        return size if self._requested is None else min(size, self._requested)

    def _assign(self) -> None:
        """Assign queued jobs to free workers; they start when the study next waits."""
        context = self._context
        while context is not None and self._idle and self._queue:
            job = self._queue.popleft()
            process = SimulatedProcess(job, self._idle.pop(), context, self._release)
            process.stopping = job.run in self._stopping
            self._stopping.discard(job.run)
            context.running[job.run] = process
            context.queue.put(self.clock(), process.resume, after=True)

    def _release(self, process: SimulatedProcess) -> None:
        """Free the worker for another job, now or when its replacement arrives."""
        context, number = self._context, process.number
        if context is None:
            return
        context.running.pop(process.job.run, None)
        if number >= self._capacity:
            return
        self._restarting.add(number)
        if process.failed and self._faults.restart:
            context.queue.put(self.clock() + self._faults.restart, lambda: self._restarted(number))
        else:
            self._restarted(number)

    def _restarted(self, number: int) -> None:
        if number in self._restarting:
            self._restarting.remove(number)
            self._idle.append(number)
            self._assign()

    def _resize(self, size: int) -> None:
        """Add workers, or remove the last ones."""
        before, self._capacity = self._capacity, self._limited(size)
        self._idle = [number for number in self._idle if number < self._capacity]
        self._restarting = {number for number in self._restarting if number < self._capacity}
        context = self._context
        assert context is not None
        for process in list(context.running.values()):
            if process.number >= self._capacity:
                process.die("its machine left")
        self._idle += range(before, self._capacity)
        context.outbox.append(Resized(self._capacity))
        self._assign()

    def _stuck(self) -> str:
        running = [] if self._context is None else self._context.running.values()
        frozen = [p.job.trial.number for p in running if p.frozen]
        if frozen:
            return (
                f"SimulatedBackend: trial {frozen[0]} is frozen and nothing else will ever happen; "
                f"give trial_timeout to optimize, which ends it"
            )
        return (
            f"SimulatedBackend: nothing will ever happen: {len(self._queue)} jobs wait for "
            f"{self._capacity} workers; let sizes=... end with at least one"
        )
