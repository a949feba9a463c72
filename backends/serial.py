"""Runs trials one after another on the thread that asks for events: no process, no delay."""

from __future__ import annotations

import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType

from tuner.backends.protocol import Event, Finished, Lost, Sent, Work
from tuner.backends.resources import as_needs
from tuner.backends.timeouts import timed_out
from tuner.errors import BackendError, ResourcesError
from tuner.records import Job, Message


class SerialBackend:
    """One worker: the calling thread.

    A time limit interrupts the objective on the main thread of a process, by the alarm signal of
    the operating system. On another thread, and where there is no such signal, it takes effect
    when the objective next reports or asks whether to stop.

    Examples
    --------
    >>> import tempfile, tuner
    >>> study = tuner.optimize(
    ...     lambda params: params["x"] ** 2, {"x": tuner.Float(-1, 1)}, n_trials=3,
    ...     backend="serial", store=tempfile.mkdtemp(), progress=False,
    ... )
    >>> len(study.trials)
    3
    """

    def __init__(self) -> None:
        self._work: Work | None = None
        self._deliver: Callable[[Event], None] | None = None
        self._queue: deque[Job] = deque()
        self._early: list[Event] = []
        self._stopping: set[str] = set()
        self._running: _Desk | None = None

    def start(
        self,
        work: Work,
        *,
        workers: int | None = None,
        resources: Mapping[str, float] | None = None,
        deliver: Callable[[Event], None] | None = None,
    ) -> None:
        """Get ready; see `Backend.start`. There is one worker, and no resources are counted."""
        if workers is not None and workers != 1:
            raise ResourcesError(
                f'workers={workers}: backend="serial" runs one trial at a time; write '
                f'backend="ray", or leave workers out'
            )
        if any(amount > 0 for name, amount in as_needs(resources).items() if name != "CPU"):
            raise ResourcesError(
                f'resources={dict(resources or {})!r}: backend="serial" counts no resources; write '
                f'backend="ray", or leave them out'
            )
        self._work, self._deliver = work, deliver

    @property
    def capacity(self) -> int:
        """One job at a time."""
        return 1

    def submit(self, job: Job) -> None:
        """Queue a job; a later call of `events` runs it."""
        if self._work is None:
            raise BackendError("SerialBackend: submit before start; call start first")
        self._queue.append(job)

    def events(self, timeout: float | None) -> Sequence[Event]:
        """Run the next job to its end and return what happened."""
        if self._early:
            events, self._early = self._early, []
            return events
        if not self._queue:
            if timeout:
                time.sleep(timeout)
            return []
        return self._run(self._queue.popleft())

    def stop(self, run: str, *, kill: bool = False) -> None:
        """Ask a job to end soon; with `kill`, end it when it next reports or asks."""
        if self._running is not None and self._running.run == run:
            self._running.stopping = True
            self._running.killed = self._running.killed or kill
        elif any(job.run == run for job in self._queue):
            if kill:
                self._queue = deque(job for job in self._queue if job.run != run)
                self._early.append(Lost(run, "taken back before it began"))
            else:
                self._stopping.add(run)

    def close(self) -> None:
        """Forget the jobs that wait."""
        self._queue.clear()
        self._early.clear()
        self._stopping.clear()
        self._work = self._deliver = None

    def _run(self, job: Job) -> list[Event]:
        assert self._work is not None
        desk = self._running = _Desk(job, self._deliver)
        if job.run in self._stopping:
            self._stopping.discard(job.run)
            desk.stopping = True
        last: Event
        try:
            with _alarm(job.timeout, desk.ring):
                last = Finished(job.run, self._work(job, desk))
        except _TimeIsUp as time_is_up:
            if time_is_up.desk is not desk:
                raise  # of the trial in whose objective this search runs
            last = Finished(job.run, timed_out(job))
        except _Killed:
            last = Lost(job.run, "ended while it ran")
        finally:
            self._running = None
        return [*desk.kept, last]


class _Desk:
    """The channel of the running job: messages go straight to `deliver`."""

    worker = "serial"

    def __init__(self, job: Job, deliver: Callable[[Event], None] | None) -> None:
        self.run = job.run
        self.stopping = False
        self.killed = False
        self._busy = False
        self.kept: list[Event] = []
        self._deliver = self.kept.append if deliver is None else deliver
        self._deadline = None if job.timeout is None else time.monotonic() + job.timeout

    def send(self, message: Message) -> None:
        self._look_up()
        # The driver must not be interrupted in the middle of recording it.
        self._busy = True
        try:
            self._deliver(Sent(self.run, message))
        finally:
            self._busy = False
        self._look_up()

    def stop_requested(self) -> bool:
        self._look_up()
        return self.stopping

    def ring(self, _number: int, _frame: FrameType | None) -> None:
        """Interrupt the objective, unless a message is being delivered: `send` looks up then."""
        if not self._busy:
            raise _TimeIsUp(self)

    def _look_up(self) -> None:
        """Leave the objective if it has been ended or its time is up."""
        if self.killed:
            raise _Killed
        if self._deadline is not None and time.monotonic() > self._deadline:
            raise _TimeIsUp(self)


class _TimeIsUp(BaseException):
    """Raised in the objective when its time is up; no `except Exception` of its holds it up."""

    def __init__(self, desk: _Desk) -> None:
        self.desk = desk


class _Killed(BaseException):
    """Raised in the objective when it has been ended from outside, likewise."""


@contextmanager
def _alarm(seconds: float | None, ring: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Call `ring` in this block after that many seconds, where signals can do it.

    There is one alarm in a process: one that was set before rings after this block, if it is due.
    """
    if seconds is None or not _has_alarm():
        yield
        return
    left, interval = signal.setitimer(signal.ITIMER_REAL, 0)
    began = time.monotonic()
    before = signal.signal(signal.SIGALRM, ring)
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds)
        yield
    finally:
        try:
            signal.setitimer(signal.ITIMER_REAL, 0)
        finally:
            # It rings once, which may be between any two lines; these run all the same.
            signal.signal(signal.SIGALRM, before)
            if left:
                left = max(left - (time.monotonic() - began), 1e-6)
                signal.setitimer(signal.ITIMER_REAL, left, interval)


def _has_alarm() -> bool:
    return hasattr(signal, "setitimer") and (threading.current_thread() is threading.main_thread())
