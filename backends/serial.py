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
from tuner.errors import BackendError, ControlException, ResourcesError
from tuner.records import Job, Message

DELIVERY = 1.0
"""Seconds of the delivery of a message that count for a job's time limit; it usually takes less."""


class SerialBackend:
    """One worker: the calling thread.

    A time limit interrupts the objective on the main thread of a process, by the alarm signal of
    the operating system. On another thread, and where there is no such signal, it takes effect
    when the objective next reports or asks whether to stop. Time that the driver waits for a store
    or a disk to take a message is not the objective's, and does not count.

    An error of the driver while it takes a message, such as that of a store, is no outcome of the
    trial: the objective is left, and `events` raises the error even if the objective suppressed
    what it was left by.

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
        except _Leave as leave:
            if leave.desk is not desk:
                raise  # of the trial in whose objective this search runs
            last = leave.event
        except BaseException:
            if desk.error is None:
                raise
        finally:
            self._running = None
        if desk.error is not None:
            raise desk.error
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
        self.error: BaseException | None = None
        """What the driver raised while it took a message."""
        self._deliver = self.kept.append if deliver is None else deliver
        self._job = job
        self._deadline = None if job.timeout is None else time.monotonic() + job.timeout

    def send(self, message: Message) -> None:
        self._look_up()
        # The driver must not be interrupted in the middle of recording it.
        self._busy = True
        began = time.monotonic()
        try:
            self._deliver(Sent(self.run, message))
        except BaseException as error:
            # Also a KeyboardInterrupt: none of these is the objective's to catch.
            if self.error is None:
                self.error = error
        finally:
            excused = time.monotonic() - began - DELIVERY
            if self._deadline is not None and excused > 0:
                self._deadline += excused
                self._set_alarm(self._deadline)
            self._busy = False
        self._look_up()

    def stop_requested(self) -> bool:
        self._look_up()
        return self.stopping

    def ring(self, _number: int, _frame: FrameType | None) -> None:
        """Interrupt the objective, unless a message is being delivered: `send` looks up then."""
        if not self._busy:
            raise self._time_is_up()

    def _look_up(self) -> None:
        """Leave the objective if the driver failed, it has been ended, or its time is up."""
        if self.error is not None:
            raise _Leave(self, Lost(self.run, "the driver failed while it ran"))
        if self.killed:
            raise _Leave(self, Lost(self.run, "ended while it ran"))
        if self._deadline is not None and time.monotonic() > self._deadline:
            raise self._time_is_up()

    def _set_alarm(self, deadline: float) -> None:
        """Set this job's alarm anew, unless a search within its objective has set another."""
        if _has_alarm() and signal.getsignal(signal.SIGALRM) == self.ring:
            signal.setitimer(signal.ITIMER_REAL, max(deadline - time.monotonic(), 1e-6))

    def _time_is_up(self) -> _Leave:
        return _Leave(self, Finished(self.run, timed_out(self._job)))


class _Leave(ControlException):
    """Raised in an objective to leave it; `event` is how the job of `desk` has ended.

    No `except Exception` of the objective's holds it up.
    """

    def __init__(self, desk: _Desk, event: Event) -> None:
        self.desk = desk
        self.event = event


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
