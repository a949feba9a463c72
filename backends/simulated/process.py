"""A job on a simulated worker: the objective really runs, its time is virtual."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, partial

from greenlet import GreenletExit, getcurrent, greenlet
from numpy.random import Generator, default_rng

from tuner.backends.protocol import Event, Finished, Lost, Sent, Work, timed_out
from tuner.backends.simulated.model import Duration, EventQueue, Faults, VirtualClock
from tuner.errors import ControlException
from tuner.records import Begun, Job, Message, Output, Report

DUPLICATE_AFTER = 30.0
"""Mean delay in seconds of a duplicated end of a job (see `Faults.duplicate`)."""


@dataclass(slots=True)
class SimulationContext:
    """The shared state of a simulation: the clock, the seed, and the delivery to the driver."""

    work: Work
    clock: VirtualClock
    duration: Duration
    faults: Faults
    seed: int
    queue: EventQueue = field(default_factory=EventQueue)
    running: dict[str, SimulatedProcess] = field(default_factory=dict)
    outbox: list[Event] = field(default_factory=list)


class SimulatedProcess:
    """One job on one worker, and the job's `Channel`.

    It runs in a greenlet, which yields to other jobs while its virtual time passes. So the driver
    receives every step before the objective asks whether to stop.
    """

    def __init__(
        self,
        job: Job,
        number: int,
        context: SimulationContext,
        free: Callable[[SimulatedProcess], None],
    ) -> None:
        self.job = job
        self.number = number
        self.worker = f"simulated-{number}"
        self.stopping = False
        self.over = False
        self.frozen = False
        self.failed = False
        """Whether the worker died with the job."""
        self._context = context
        self._free = free
        self._greenlet = greenlet(self._run)
        self._streams = sys.stdout, sys.stderr
        self._step: int | None = None
        self._last_delivery = context.clock()

    # --- for the backend ----------------------------------------------------------------------

    def resume(self) -> None:
        """Run the objective until it next waits for virtual time, or until its end."""
        if self.over:
            return
        outer = sys.stdout, sys.stderr
        # Output capture swaps these streams, which must not affect the other jobs.
        sys.stdout, sys.stderr = self._streams
        self._greenlet.parent = getcurrent()
        try:
            self._greenlet.switch()
        except BaseException:
            self._end(None)
            raise
        finally:
            self._streams = sys.stdout, sys.stderr
            sys.stdout, sys.stderr = outer

    def die(self, reason: str) -> None:
        """Kill the worker and its job."""
        if not self.over:
            self.failed = True
            self._end(Lost(self.job.run, reason))
            self.discard()

    def discard(self) -> None:
        """Abandon the objective at its current point."""
        self.over = True
        if self._greenlet and not self._greenlet.dead:
            outer = sys.stdout, sys.stderr
            self._greenlet.parent = getcurrent()
            try:
                self._greenlet.throw(_Killed)
            finally:
                sys.stdout, sys.stderr = outer

    # --- for the objective --------------------------------------------------------------------

    def send(self, message: Message) -> None:
        """Send a message to the driver; for a new step, its duration passes first."""
        if self.over:
            raise _Killed
        match message:
            case Begun():
                now = self._context.clock()
                begun = dataclasses.replace(message, host="simulated", pid=self.number, time=now)
                self._deliver(Sent(self.job.run, begun))
                self._wait(0.0)
                return
            case Report(step):
                if self._step is None or step > self._step:
                    self._pass_time(step)
                self._deliver(Sent(self.job.run, message))
                self._wait(0.0)
                return
            case Output():
                self._finish_work()
                message = dataclasses.replace(message, time=self._context.clock())
        self._deliver(Sent(self.job.run, message))

    def stop_requested(self) -> bool:
        """Whether the driver has asked this job to end soon."""
        return self.stopping

    # --- inside -------------------------------------------------------------------------------

    def _run(self) -> None:
        context = self._context
        if self.job.timeout is not None:
            # Refer to it by name, so that a finished process is not kept alive.
            due = context.clock() + self.job.timeout
            context.queue.put(due, partial(_time_is_up, context, self.job.run))
        try:
            outcome = context.work(self.job, self)
            self._finish_work()
        except _Killed:
            return
        if self._happens(context.faults.lost):
            self.failed = True
            self._end(Lost(self.job.run, "its outcome did not arrive"))
        else:
            self._end(Finished(self.job.run, outcome))

    def _finish_work(self) -> None:
        """Let time pass for a job that reported nothing, too."""
        if self._step is None:
            self._pass_time(0)

    def _pass_time(self, step: int) -> None:
        """Simulate the work on `step`, including its possible faults."""
        context = self._context
        self._step = step
        seconds = context.duration(self.job.trial, step, self._duration_rng)
        if self._happens(context.faults.crash):
            died = context.clock() + seconds * self._fault_rng.random()
            context.queue.put(died, lambda: self.die("its worker died"))
            self._suspend()
        elif self._happens(context.faults.freeze):
            self.frozen = True
            self._suspend()
        else:
            self._wait(seconds)

    def _wait(self, seconds: float) -> None:
        context = self._context
        context.queue.put(context.clock() + seconds, self.resume, after=True)
        self._suspend()

    def _suspend(self) -> None:
        """Wait until `resume`, possibly forever."""
        try:
            self._greenlet.parent.switch()
        except GreenletExit:
            raise _Killed from None  # the greenlet is garbage-collected

    def time_is_up(self) -> None:
        """End the job at its time limit; a frozen one does not notice."""
        if not (self.over or self.frozen):
            self._end(timed_out(self.job))
            self.discard()

    def _end(self, event: Event | None) -> None:
        """Send the last event, if any, and free the worker."""
        if self.over:
            return
        self.over = True
        if event is not None:
            self._deliver(event)
            if self._happens(self._context.faults.duplicate):
                later = self._last_delivery + float(self._fault_rng.exponential(DUPLICATE_AFTER))
                self._context.queue.put(later, lambda: self._context.outbox.append(event))
        self._free(self)

    def _deliver(self, event: Event) -> None:
        context = self._context
        if not context.faults.delay:
            context.outbox.append(event)
            return
        arrives = context.clock() + float(self._fault_rng.exponential(context.faults.delay))
        self._last_delivery = max(self._last_delivery, arrives)
        context.queue.put(self._last_delivery, lambda: context.outbox.append(event))

    def _happens(self, probability: float) -> bool:
        return probability > 0 and self._fault_rng.random() < probability

    @cached_property
    def _duration_rng(self) -> Generator:
        """Generator of durations; depends on the trial only."""
        return default_rng([self._context.seed, self.job.trial.number, self.job.attempt])

    @cached_property
    def _fault_rng(self) -> Generator:
        """Generator of faults."""
        return default_rng([self._context.seed, self.job.trial.number, self.job.attempt, 1])


def _time_is_up(context: SimulationContext, run: str) -> None:
    process = context.running.get(run)
    if process is not None:
        process.time_is_up()


class _Killed(ControlException):
    """Raised in an objective to end it; `except Exception` does not catch it."""
