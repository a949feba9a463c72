"""The driver's handle of one Ray worker: its assigned jobs and its pending requests."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tuner.backends.os_processes import Process, end
from tuner.backends.protocol import Event, Finished, Sent, Work
from tuner.backends.ray.checkpoint_transfer import pack
from tuner.backends.ray.journal import Journal
from tuner.backends.ray.worker import Arrest, Found, Prepared, Worker
from tuner.errors import ObjectiveError
from tuner.records import Job

PATIENCE = 1.0
"""Seconds that a worker waits for a message before it sends an empty answer."""

ANSWER = 1.0
"""Seconds within which a worker must answer whether it runs a job; otherwise it is hung."""


@dataclass(slots=True, eq=False)
class Member:
    """A worker of the pool.

    Attributes
    ----------
    starting, running, polling, withdrawing
        Ray's references to pending answers.
    packet
        The unfinished jobs of its batch, in execution order.
    shared
        Whether it writes its journal; a worker on another machine cannot.
    process, node
        Its process, and Ray's id of its node; known once it is ready.
    near
        Whether it runs on the driver's node.
    round
        The round of starts in which it was started.
    since
        Start of the first unfinished job on the monotonic clock, to the driver's knowledge.
    """

    actor: Any
    journal: Journal
    starting: Any = None
    running: Any = None
    polling: Any = None
    withdrawing: Any = None
    packet: dict[str, Job] = field(default_factory=dict)
    shared: bool = False
    process: Process = field(default_factory=lambda: Process(0))
    node: str = ""
    near: bool = False
    round: int = 0
    since: float = 0.0
    _given: tuple[str, ...] = ()
    _heard: int = 0
    _number: int = 0

    @property
    def ready(self) -> bool:
        """Whether it has loaded the work."""
        return self.starting is None

    @property
    def idle(self) -> bool:
        """Whether it can accept a batch."""
        return self.starting is None and self.running is None

    def awaited(self) -> list[Any]:
        """Return the references of pending answers."""
        refs = (self.starting, self.running, self.polling, self.withdrawing)
        return [ref for ref in refs if ref is not None]

    def send(self, packet: Sequence[Job]) -> None:
        """Send it jobs; errors of pickling propagate, and then nothing is sent."""
        # A worker that shares the driver's disk reads checkpoints directly.
        saved = {} if self.shared else {j.run: j.checkpoint for j in packet if j.checkpoint}
        parcels = {
            run: pack(checkpoint.folder, checkpoint.size) for run, checkpoint in saved.items()
        }
        self.running = self.actor.run.remote(self._number + 1, packet, parcels)
        self._number += 1
        self._heard = 0
        self._given = tuple(job.run for job in packet)
        self.packet = {job.run: job for job in packet}
        self.since = time.monotonic()

    def poll(self) -> None:
        """Request the messages of the running jobs."""
        self.polling = self._aside("poll", PATIENCE)

    def withdraw(self) -> None:
        """Ask it to return the jobs that it has not started."""
        self.withdrawing = self._aside("withdraw")

    def request_stop(self, run: str) -> None:
        """Signal a job to end."""
        self._aside("request_stop", run)

    def ask_for_arrest(self, run: str, after: float = 0.0) -> Any:
        """Ask whether it has run a job for more than `after` seconds; if so, it halts."""
        return self._aside("arrest", run, self._number, after)

    def arrest(self, asked: Any, timeout: float = ANSWER) -> Arrest:
        """Return the answer to `ask_for_arrest`; without an answer, assume that it runs the job.

        Such a worker is dead, frozen, or in native code that blocks all other threads.
        """
        import ray

        try:
            found: Arrest = ray.get(asked, timeout=timeout)
        except (ray.exceptions.RayError, TimeoutError):
            return Arrest(Found.RUNNING, answered=False)
        return found

    def polled(self, timeout: float | None = None) -> list[Event]:
        """Return the answer of the poll, if any; a dead or hung worker's answer is lost."""
        import ray

        polling, self.polling = self.polling, None
        if polling is None:
            return []
        try:
            return self.noted(ray.get(polling, timeout=timeout))
        except (ray.exceptions.RayError, TimeoutError):
            return []

    def noted(self, events: Sequence[Event]) -> list[Event]:
        """Return the events that concern jobs of the batch, and remove finished jobs."""
        self._heard += len(events)
        kept: list[Event] = []
        for event in events:
            if isinstance(event, Sent | Finished) and event.run in self.packet:
                kept.append(event)
                if isinstance(event, Finished):
                    del self.packet[event.run]
                    self.since = time.monotonic()
        return kept

    def release(self) -> list[Job]:
        """Return the unfinished jobs of a completed batch, and become idle."""
        jobs = list(self.packet.values())
        self.packet = {}
        self.running = self.withdrawing = None
        return jobs

    def post_mortem(self) -> tuple[list[Event], list[Job], list[Job]]:
        """Return the undelivered events, the started jobs and the other jobs of a dead worker.

        Call this once the worker starts no more jobs. Without a journal, all jobs count as
        started: none may run twice under one token.
        """
        if not self.shared:
            return [], list(self.packet.values()), []
        begun, events = self.journal.read(self._number)
        unheard = self.noted(events[self._heard :])
        runs = set(self._given[:begun])
        jobs = self.packet.values()
        return unheard, [j for j in jobs if j.run in runs], [j for j in jobs if j.run not in runs]

    def kill(self, *, hung: bool = False) -> None:
        """Kill the worker's process.

        Ray waits some seconds before it kills a `hung` worker, which could meanwhile wake up and
        start jobs that others have been given. So the process is killed directly where possible.
        """
        import ray

        if hung and self.near:
            end(self.process)
        if ray.is_initialized():
            ray.kill(self.actor)

    def leave(self) -> Any:
        """Let the worker exit by itself, for a cluster that has lost its head."""
        return self._aside("leave")

    def is_dead(self) -> bool:
        """Whether it is certain, within a second, that its process has ended."""
        import ray

        try:
            ray.get(self.running, timeout=ANSWER)
        except ray.exceptions.ActorDiedError:
            return True
        except (ray.exceptions.RayError, TimeoutError):
            return False
        return False

    def _aside(self, method: str, *args: Any) -> Any:
        """Call a method that can answer while jobs run."""
        return getattr(self.actor, method).options(concurrency_group="io").remote(*args)


def member_maker(
    needs: Mapping[str, float],
    work: bytes,
    folder: Path,
    runtime_env: Mapping[str, Any] | None = None,
) -> Callable[[], Member]:
    """Return a function that starts a worker; put the work into Ray's object store once.

    Parameters
    ----------
    needs
        Resources of each worker, under Ray's names.
    work
        The pickled work.
    folder
        Folder of the journals.
    runtime_env
        The runtime environment beyond the one that all workers of this process share.
    """
    import ray

    custom = {name: amount for name, amount in needs.items() if name not in _OPTIONS}
    options: dict[str, Any] = {
        _OPTIONS[name]: amount for name, amount in needs.items() if name in _OPTIONS
    }
    if runtime_env:
        options["runtime_env"] = dict(runtime_env)
    # Retries are decided elsewhere, never by Ray.
    actor = ray.remote(concurrency_groups={"io": 4}, max_restarts=0, max_task_retries=0)(Worker)
    shipped, node = ray.put(work), ray.get_runtime_context().get_node_id()
    names = (f"ray-{number}" for number in itertools.count())

    def make() -> Member:
        name = next(names)
        journal = Journal(folder / name)
        handle = actor.options(**options, resources=custom or None, max_restarts=0).remote(name)
        return Member(handle, journal, starting=handle.prepare.remote(shipped, journal.path, node))

    return make


_OPTIONS = {"CPU": "num_cpus", "GPU": "num_gpus", "memory": "memory"}


def loaded(member: Member) -> Prepared:
    """Return the answer of a worker that has started; raise Ray's error if it died."""
    import ray

    answer: Prepared = ray.get(member.starting)
    member.starting = None
    member.shared = answer.shared
    member.process, member.node = answer.process, answer.node
    member.near = answer.node == ray.get_runtime_context().get_node_id()
    return answer


def pickled(work: Work) -> bytes:
    """Return the work, pickled for shipping.

    Raises
    ------
    ObjectiveError
        If it cannot be pickled.
    """
    import cloudpickle

    try:
        return bytes(cloudpickle.dumps(work))
    except Exception as error:
        # A user-defined __reduce__ may raise any exception.
        raise ObjectiveError(
            f"the objective cannot be shipped to a worker: {type(error).__name__}: {error}; open "
            f"files, locks and connections in the objective itself"
        ) from error
