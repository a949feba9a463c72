"""Runs trials on simulated workers in virtual time: hours of a large cluster in seconds."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from tuner.backends.durations import Duration, as_duration
from tuner.backends.protocol import Event, Lost, Resized, Work
from tuner.backends.resources import as_needs
from tuner.backends.simulated_faults import Faults
from tuner.backends.simulated_process import Process, Stage
from tuner.backends.virtual_clock import VirtualClock
from tuner.errors import ArgumentError, BackendError, ResourcesError
from tuner.records import Job


class SimulatedBackend:
    """Workers that are not there: the objective is really called, but its time is made up.

    Everything happens on the calling thread, in the order of a virtual clock that moves on only
    while the study waits for something. With the same seeds the same search happens again. For
    studies of schedulers and of parallel search without waiting, and of what faults do to them.

    Parameters
    ----------
    duration
        Virtual seconds that a trial works before each new step that it reports, or before its end
        if it reports none: a number, or a function of the trial, the step and a generator, such as
        ``lambda trial, step, rng: 60 * trial.params["layers"]`` or `lognormal(60)`.
    workers
        How many workers there are; ``optimize(workers=...)`` may take fewer.
    seed
        Of durations and faults. A trial's durations are the same in every search with this seed.
    faults
        What goes wrong; see `Faults`.
    sizes
        Workers come and go: pairs of seconds since the start and how many workers there are from
        then on. When too many are busy, the last ones leave with their trials.
    clock
        To share the time with others; a new one if None.

    Attributes
    ----------
    clock : VirtualClock
        The time of the simulation in seconds since the epoch, which `optimize` goes by.

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
        self._made = self.clock()
        self._wanted: int | None = None
        self._capacity = 0
        self._stage: Stage | None = None
        self._queue: deque[Job] = deque()
        self._idle: list[int] = []
        self._away: set[int] = set()
        self._running: dict[str, Process] = {}
        self._stopping: set[str] = set()

    @property
    def elapsed(self) -> float:
        """Virtual seconds since this backend was made."""
        return self.clock() - self._made

    def start(
        self,
        work: Work,
        *,
        workers: int | None = None,
        resources: Mapping[str, float] | None = None,
        deliver: Callable[[Event], None] | None = None,  # noqa: ARG002 (nothing runs in between)
    ) -> None:
        """Get ready; see `Backend.start`. No resources are counted."""
        if workers is not None and not 1 <= workers <= self._workers:
            raise ResourcesError(
                f"workers={workers}: there are {self._workers} simulated workers; write "
                f"SimulatedBackend(workers={max(workers, 1)}), or fewer here"
            )
        if any(amount > 0 for name, amount in as_needs(resources).items() if name != "CPU"):
            raise ResourcesError(
                f"resources={dict(resources or {})!r}: simulated workers have no resources; leave "
                f"them out"
            )
        self._stage = stage = Stage(work, self.clock, self._duration, self._faults, self._seed)
        self._wanted = workers
        self._capacity = self._fitting(self._workers)
        self._idle = list(range(self._capacity - 1, -1, -1))
        for when, size in self._sizes:
            stage.agenda.put(self.clock() + when, partial(self._resize, size))

    @property
    def capacity(self) -> int:
        """How many jobs run at once."""
        return self._capacity

    def submit(self, job: Job) -> None:
        """Queue a job; a worker takes it up when it is free."""
        if self._stage is None:
            raise BackendError("SimulatedBackend: submit before start; call start first")
        self._queue.append(job)
        self._assign()

    def events(self, timeout: float | None) -> Sequence[Event]:
        """Let virtual time pass until something happens, at most `timeout` seconds of it.

        Raises
        ------
        BackendError
            If there is no limit and nothing will ever happen.
        """
        if self._stage is None:
            return []
        agenda, heard = self._stage.agenda, self._stage.heard
        until = math.inf if timeout is None else self.clock() + timeout
        while agenda and (due := agenda.next_time) <= until:
            # What has been said is heard before time passes, and before anyone goes on.
            if heard and (due > self.clock() or agenda.next_is_after):
                break
            self.clock.advance_to(due)
            agenda.take()()
        if not heard:
            if math.isinf(until):
                raise BackendError(self._stuck())
            self.clock.advance_to(until)
        events = list(heard)
        heard.clear()
        return events

    def stop(self, run: str, *, kill: bool = False) -> None:
        """Ask a job to end soon, or with `kill` end it and its worker now."""
        process = self._running.get(run)
        if process is not None:
            if kill:
                process.die("ended while it ran")
            else:
                process.stopping = True
        elif any(job.run == run for job in self._queue):
            if kill:
                self._queue = deque(job for job in self._queue if job.run != run)
                assert self._stage is not None
                self._stage.heard.append(Lost(run, "taken back before it began"))
            else:
                self._stopping.add(run)

    def close(self) -> None:
        """End what runs and forget what waits; the clock stays where it is."""
        self._queue.clear()
        self._stopping.clear()
        running, self._running = self._running, {}
        for process in running.values():
            process.discard()
        self._idle.clear()
        self._away.clear()
        self._stage = None

    # --- workers ------------------------------------------------------------------------------

    def _fitting(self, size: int) -> int:
        return size if self._wanted is None else min(size, self._wanted)

    def _assign(self) -> None:
        """Give what waits to workers that are free; they begin when the study next waits."""
        stage = self._stage
        while stage is not None and self._idle and self._queue:
            job = self._queue.popleft()
            process = Process(job, self._idle.pop(), stage, self._freed)
            process.stopping = job.run in self._stopping
            self._stopping.discard(job.run)
            self._running[job.run] = process
            stage.agenda.put(self.clock(), process.resume, after=True)

    def _freed(self, process: Process) -> None:
        """Let the worker take another job, at once or when another stands in for it."""
        self._running.pop(process.job.run, None)
        stage, number = self._stage, process.number
        if stage is None:
            return
        if number >= self._capacity:
            return
        self._away.add(number)
        if process.failed and self._faults.restart:
            stage.agenda.put(self.clock() + self._faults.restart, lambda: self._back(number))
        else:
            self._back(number)

    def _back(self, number: int) -> None:
        if number in self._away:
            self._away.remove(number)
            self._idle.append(number)
            self._assign()

    def _resize(self, size: int) -> None:
        """Let workers come, or the last ones go."""
        before, self._capacity = self._capacity, self._fitting(size)
        self._idle = [number for number in self._idle if number < self._capacity]
        self._away = {number for number in self._away if number < self._capacity}
        for process in list(self._running.values()):
            if process.number >= self._capacity:
                process.die("its machine left")
        self._idle += range(before, self._capacity)
        assert self._stage is not None
        self._stage.heard.append(Resized(self._capacity))
        self._assign()

    def _stuck(self) -> str:
        frozen = [p.job.trial.number for p in self._running.values() if p.frozen]
        if frozen:
            return (
                f"SimulatedBackend: trial {frozen[0]} is frozen and nothing else will ever happen; "
                f"give trial_timeout to optimize, which ends it"
            )
        return (
            f"SimulatedBackend: nothing will ever happen: {len(self._queue)} jobs wait for "
            f"{self._capacity} workers; let sizes=... end with at least one"
        )
