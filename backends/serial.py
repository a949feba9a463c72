"""Run trials one after another on the thread that calls `events`: no processes, no delay."""

from __future__ import annotations

import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType

from tuner.backends.protocol import Event, Finished, Lost, Sent, Work, taken_back, timed_out
from tuner.backends.resources import as_needs
from tuner.errors import BackendError, ControlException, ResourcesError
from tuner.records import Job, Message

DELIVERY = 1.0
"""Seconds of a message's delivery that count toward the time limit; it usually takes less."""


class SerialBackend:
    """One worker: the calling thread.

    On the main thread of a process, the operating system's alarm signal enforces a time limit. On
    another thread, or without such a signal, the limit takes effect when the objective next
    reports or asks whether to stop. Time that the driver waits for a store or a disk does not
    count.

    An error of the driver while it handles a message, such as a store error, is not an outcome of
    the trial. The objective is aborted, and `events` raises the error even if the objective
    suppressed the exception that aborted it.

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
        self._running: SerialChannel | None = None

    def start(
        self,
        work: Work,
        *,
        workers: int | None = None,
        resources: Mapping[str, float] | None = None,
        deliver: Callable[[Event], None] | None = None,
    ) -> None:
        """Prepare to run jobs; see `Backend.start`. It has one worker and ignores resources."""
        if workers is not None and workers != 1:
            raise ResourcesError(
                f'workers={workers}: backend="serial" runs one trial at a time; write '
                f'backend="processes" or backend="ray", or leave workers out'
            )
        if any(amount > 0 for name, amount in as_needs(resources).items() if name != "CPU"):
            raise ResourcesError(
                f'resources={dict(resources or {})!r}: backend="serial" counts no resources; write '
                f'backend="processes" or backend="ray", or leave them out'
            )
        self._work, self._deliver = work, deliver

    @property
    def capacity(self) -> int:
        """One job at a time."""
        return 1

    @property
    def size(self) -> int:
        """One job at a time."""
        return 1

    def submit(self, job: Job) -> None:
        """Queue a job; a later call of `events` runs it."""
        if self._work is None:
            raise BackendError("SerialBackend: submit before start; call start first")
        self._queue.append(job)

    def events(self, timeout: float | None) -> Sequence[Event]:
        """Run the next job to its end and return its events."""
        if self._early:
            events, self._early = self._early, []
            return events
        if not self._queue:
            if timeout:
                time.sleep(timeout)
            return []
        return self._run(self._queue.popleft())

    def stop(self, run: str, *, kill: bool = False) -> None:
        """Ask a job to end soon; with `kill`, end it at its next report or check."""
        if self._running is not None and self._running.run == run:
            self._running.stopping = True
            self._running.killed = self._running.killed or kill
        elif any(job.run == run for job in self._queue):
            if kill:
                self._queue = deque(job for job in self._queue if job.run != run)
                self._early.append(taken_back(run))
            else:
                self._stopping.add(run)

    def close(self) -> None:
        """Drop queued jobs."""
        self._queue.clear()
        self._early.clear()
        self._stopping.clear()
        self._work = self._deliver = None

    def _run(self, job: Job) -> list[Event]:
        assert self._work is not None
        channel = self._running = SerialChannel(job, self._deliver)
        if job.run in self._stopping:
            self._stopping.discard(job.run)
            channel.stopping = True
        last: Event
        try:
            with _alarm(job.timeout, channel.ring):
                last = Finished(job.run, self._work(job, channel))
        except _Abort as abort:
            if abort.channel is not channel:
                raise  # belongs to an outer trial, whose objective runs this search
            last = abort.event
        except BaseException:
            if channel.error is None:
                raise
        finally:
            self._running = None
        if channel.error is not None:
            raise channel.error
        return [*channel.kept, last]


class SerialChannel:
    """The channel of the running job: messages go straight to `deliver`."""

    worker = "serial"

    def __init__(self, job: Job, deliver: Callable[[Event], None] | None) -> None:
        self.run = job.run
        self.stopping = False
        self.killed = False
        self._busy = False
        self.kept: list[Event] = []
        self.error: BaseException | None = None
        """The exception that the driver raised while it handled a message."""
        self._deliver = self.kept.append if deliver is None else deliver
        self._job = job
        self._deadline = None if job.timeout is None else time.monotonic() + job.timeout

    def send(self, message: Message) -> None:
        """Deliver a message; abort the objective if the driver failed or the time is up."""
        self._check_abort()
        # The driver must not be interrupted in the middle of recording it.
        self._busy = True
        began = time.monotonic()
        try:
            self._deliver(Sent(self.run, message))
        except BaseException as error:
            # Includes KeyboardInterrupt: the objective must not catch any of these.
            if self.error is None:
                self.error = error
        finally:
            excused = time.monotonic() - began - DELIVERY
            if self._deadline is not None and excused > 0:
                self._deadline += excused
                self._set_alarm(self._deadline)
            self._busy = False
        self._check_abort()

    def stop_requested(self) -> bool:
        """Whether the driver has asked this job to end."""
        self._check_abort()
        return self.stopping

    def ring(self, _number: int, _frame: FrameType | None) -> None:
        """Interrupt the objective, unless `send` is delivering a message and checks afterwards."""
        if not self._busy:
            raise self._time_is_up()

    def _check_abort(self) -> None:
        """Abort the objective if the driver failed, the job was killed, or its time is up."""
        if self.error is not None:
            raise _Abort(self, Lost(self.run, "the driver failed while it ran"))
        if self.killed:
            raise _Abort(self, Lost(self.run, "ended while it ran"))
        if self._deadline is not None and time.monotonic() > self._deadline:
            raise self._time_is_up()

    def _set_alarm(self, deadline: float) -> None:
        """Reset this job's alarm, unless a search inside its objective has set another."""
        if _has_alarm() and signal.getsignal(signal.SIGALRM) == self.ring:
            signal.setitimer(signal.ITIMER_REAL, max(deadline - time.monotonic(), 1e-6))

    def _time_is_up(self) -> _Abort:
        return _Abort(self, timed_out(self._job))


class _Abort(ControlException):
    """Raised in an objective to abort it; `event` is the end of the job of `channel`.

    An `except Exception` in the objective does not catch it.
    """

    def __init__(self, channel: SerialChannel, event: Event) -> None:
        self.channel = channel
        self.event = event


@contextmanager
def _alarm(seconds: float | None, ring: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Call `ring` after that many seconds within this block, if signals are available.

    A process has a single alarm: an alarm that was set earlier fires after this block if it is due.
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
            # The alarm fires once, possibly between any two lines; these lines still run.
            signal.signal(signal.SIGALRM, before)
            if left:
                left = max(left - (time.monotonic() - began), 1e-6)
                signal.setitimer(signal.ITIMER_REAL, left, interval)


def _has_alarm() -> bool:
    return hasattr(signal, "setitimer") and (threading.current_thread() is threading.main_thread())
