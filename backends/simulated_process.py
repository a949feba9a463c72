"""A job under way on a simulated worker: its objective runs for real, its time is virtual."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, partial

from greenlet import GreenletExit, getcurrent, greenlet
from numpy.random import Generator, default_rng

from tuner.backends.durations import Duration
from tuner.backends.protocol import Event, Finished, Lost, Sent, Work
from tuner.backends.simulated_faults import Faults
from tuner.backends.timeouts import timed_out
from tuner.backends.virtual_clock import Agenda, VirtualClock
from tuner.errors import ControlException
from tuner.records import Begun, Job, Message, Output, Report

DUPLICATE_AFTER = 30.0
"""Mean seconds until an end is heard of once more, where that was asked for."""


@dataclass(slots=True)
class Stage:
    """What all jobs of a simulation share: time, chance, and the driver's ear."""

    work: Work
    clock: VirtualClock
    duration: Duration
    faults: Faults
    seed: int
    agenda: Agenda = field(default_factory=Agenda)
    running: dict[str, Process] = field(default_factory=dict)
    heard: list[Event] = field(default_factory=list)


class Process:
    """One job on one worker, and the job's `Channel`.

    It runs in a greenlet: wherever its time passes it waits there, and others go on. So the driver
    hears of every step before the objective asks whether it is to stop.
    """

    def __init__(
        self, job: Job, number: int, stage: Stage, free: Callable[[Process], None]
    ) -> None:
        self.job = job
        self.number = number
        self.worker = f"simulated-{number}"
        self.stopping = False
        self.over = False
        self.frozen = False
        self.failed = False
        """Whether the worker is gone with the job."""
        self._stage = stage
        self._free = free
        self._greenlet = greenlet(self._run)
        self._streams = sys.stdout, sys.stderr
        self._step: int | None = None
        self._last_heard = stage.clock()

    # --- for the backend ----------------------------------------------------------------------

    def resume(self) -> None:
        """Let the objective run until its time passes again, or until its end."""
        if self.over:
            return
        outer = sys.stdout, sys.stderr
        # What it prints is captured by a swap of these, which must not reach the others.
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
        """End the worker, and the job with it."""
        if not self.over:
            self.failed = True
            self._end(Lost(self.job.run, reason))
            self.discard()

    def discard(self) -> None:
        """Leave the objective where it is."""
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
        """Say something to the driver; a new step takes its time before that."""
        if self.over:
            raise _Killed
        match message:
            case Begun():
                now = self._stage.clock()
                begun = dataclasses.replace(message, host="simulated", pid=self.number, time=now)
                self._say(Sent(self.job.run, begun))
                self._wait(0.0)
                return
            case Report(step):
                if self._step is None or step > self._step:
                    self._pass_time(step)
                self._say(Sent(self.job.run, message))
                self._wait(0.0)
                return
            case Output():
                self._finish_work()
                message = dataclasses.replace(message, time=self._stage.clock())
        self._say(Sent(self.job.run, message))

    def stop_requested(self) -> bool:
        """Whether the driver has asked this job to end soon."""
        return self.stopping

    # --- inside -------------------------------------------------------------------------------

    def _run(self) -> None:
        stage = self._stage
        if self.job.timeout is not None:
            # By its name, so that what has long ended is not kept until then.
            due = stage.clock() + self.job.timeout
            stage.agenda.put(due, partial(_time_is_up, stage, self.job.run))
        try:
            outcome = stage.work(self.job, self)
            self._finish_work()
        except _Killed:
            return
        if self._chance(stage.faults.lost):
            self.failed = True
            self._end(Lost(self.job.run, "its outcome did not arrive"))
        else:
            self._end(Finished(self.job.run, outcome))

    def _finish_work(self) -> None:
        """Let a job that reported nothing take its time, too."""
        if self._step is None:
            self._pass_time(0)

    def _pass_time(self, step: int) -> None:
        """Work on `step`, and maybe not survive it."""
        stage = self._stage
        self._step = step
        seconds = stage.duration(self.job.trial, step, self._times)
        if self._chance(stage.faults.crash):
            died = stage.clock() + seconds * self._luck.random()
            stage.agenda.put(died, lambda: self.die("its worker died"))
            self._stay()
        elif self._chance(stage.faults.freeze):
            self.frozen = True
            self._stay()
        else:
            self._wait(seconds)

    def _wait(self, seconds: float) -> None:
        stage = self._stage
        stage.agenda.put(stage.clock() + seconds, self.resume, after=True)
        self._stay()

    def _stay(self) -> None:
        """Wait here until `resume`, or for ever."""
        try:
            self._greenlet.parent.switch()
        except GreenletExit:
            raise _Killed from None  # it is collected

    def time_is_up(self) -> None:
        """End the job as one that took too long; a frozen one does not notice."""
        if not (self.over or self.frozen):
            self._end(Finished(self.job.run, timed_out(self.job)))
            self.discard()

    def _end(self, event: Event | None) -> None:
        """Say the last word, if any, and free the worker."""
        if self.over:
            return
        self.over = True
        if event is not None:
            self._say(event)
            if self._chance(self._stage.faults.duplicate):
                later = self._last_heard + float(self._luck.exponential(DUPLICATE_AFTER))
                self._stage.agenda.put(later, lambda: self._stage.heard.append(event))
        self._free(self)

    def _say(self, event: Event) -> None:
        stage = self._stage
        if not stage.faults.delay:
            stage.heard.append(event)
            return
        arrives = stage.clock() + float(self._luck.exponential(stage.faults.delay))
        self._last_heard = max(self._last_heard, arrives)
        stage.agenda.put(self._last_heard, lambda: stage.heard.append(event))

    def _chance(self, probability: float) -> bool:
        return probability > 0 and self._luck.random() < probability

    @cached_property
    def _times(self) -> Generator:
        """The randomness of durations: the same for a trial whatever else happens."""
        return default_rng([self._stage.seed, self.job.trial.number, self.job.attempt])

    @cached_property
    def _luck(self) -> Generator:
        """The randomness of faults."""
        return default_rng([self._stage.seed, self.job.trial.number, self.job.attempt, 1])


def _time_is_up(stage: Stage, run: str) -> None:
    process = stage.running.get(run)
    if process is not None:
        process.time_is_up()


class _Killed(ControlException):
    """Raised in an objective that is not to go on; no `except Exception` of its holds it up."""
