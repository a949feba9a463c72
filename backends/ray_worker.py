"""What runs in a Ray worker process: jobs one after another, messages as they come."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from tuner.backends.protocol import Event, Finished, Sent, Work
from tuner.records import Job, Message


@dataclass(frozen=True, slots=True)
class PacketDone:
    """A packet of jobs is done: the events that no `poll` has taken, and the seconds it took."""

    events: list[Event]
    seconds: float


class Worker:
    """Holds the work of a study and runs packets of jobs; becomes an actor in `ray_pool`.

    `run` is busy as long as jobs are; the other methods are called meanwhile, from threads of
    another concurrency group. Whoever takes events out of the outbox delivers them, so each is
    taken once and in order.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._work: Work | None = None
        self._changed = threading.Condition()
        self._todo: deque[Job] = deque()
        self._outbox: list[Event] = []
        self._stopping: set[str] = set()
        self._busy = False

    def prepare(self, work: bytes) -> str:
        """Unpickle the work; return why that failed, or an empty text."""
        import cloudpickle

        try:
            self._work = cloudpickle.loads(work)
        except BaseException as error:
            # Whatever importing the user's modules raises, the driver must hear of it.
            return f"{type(error).__name__}: {error}"
        return ""

    def run(self, jobs: Sequence[Job]) -> PacketDone:
        """Run jobs to their end, in order."""
        assert self._work is not None
        began = time.perf_counter()
        with self._changed:
            self._todo.extend(jobs)
            self._busy = True
        while True:
            with self._changed:
                if not self._todo:
                    break
                job = self._todo.popleft()
            outcome = self._work(job, _Desk(self._name, job.run, self))
            self.put(Finished(job.run, outcome))
        with self._changed:
            self._busy = False
            self._stopping.clear()
            self._changed.notify_all()
            return PacketDone(self._take(), time.perf_counter() - began)

    def poll(self, patience: float) -> list[Event]:
        """Wait up to `patience` seconds for events, or for the end of the packet."""
        with self._changed:
            self._changed.wait_for(lambda: self._outbox or not self._busy, patience)
            return self._take()

    def request_stop(self, run: str) -> None:
        """Let the job see at its next look that it is to end."""
        with self._changed:
            self._stopping.add(run)

    def withdraw(self, runs: Sequence[str]) -> list[str]:
        """Take back those of these jobs that have not begun, and return which they were."""
        with self._changed:
            taken = [job.run for job in self._todo if job.run in runs]
            self._todo = deque(job for job in self._todo if job.run not in runs)
            return taken

    def put(self, event: Event) -> None:
        """Put an event into the outbox."""
        with self._changed:
            self._outbox.append(event)
            self._changed.notify_all()

    def is_stopping(self, run: str) -> bool:
        """Whether a job has been asked to end."""
        return run in self._stopping

    def _take(self) -> list[Event]:
        events, self._outbox = self._outbox, []
        return events


class _Desk:
    """The channel of one job."""

    __slots__ = ("_owner", "_run", "worker")

    def __init__(self, worker: str, run: str, owner: Worker) -> None:
        self.worker = worker
        self._run = run
        self._owner = owner

    def send(self, message: Message) -> None:
        self._owner.put(Sent(self._run, message))

    def stop_requested(self) -> bool:
        return self._owner.is_stopping(self._run)
