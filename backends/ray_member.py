"""The driver's side of one Ray worker: what it has been given, and how to ask it."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tuner.backends.processes import Process, end
from tuner.backends.protocol import Event, Finished, Sent, Work
from tuner.backends.ray_journal import Journal
from tuner.backends.ray_parcels import pack
from tuner.backends.ray_worker import Arrest, Found, Prepared, Worker
from tuner.errors import ObjectiveError
from tuner.records import Job

PATIENCE = 1.0
"""Seconds that a worker waits for a message before it answers that there is none."""

ANSWER = 1.0
"""Seconds within which a worker must answer whether it runs a job; one that does not, hangs."""


@dataclass(slots=True, eq=False)
class Member:
    """A worker of the pool.

    Attributes
    ----------
    starting, running, polling, withdrawing
        Ray's references to the answers that are awaited.
    packet
        The jobs of its packet that have not finished, in the order in which they run.
    shared
        Whether it writes to its journal, which one on another machine cannot.
    process, node
        Its process, and Ray's id of the node that this is on; known once it is ready.
    near
        Whether that is the driver's own node.
    round
        In which round of starts it was started.
    since
        When the first of these began, as far as is known here (by the monotonic clock).
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
        """Whether it can take a packet."""
        return self.starting is None and self.running is None

    def awaited(self) -> list[Any]:
        """Return the references whose answers are awaited."""
        refs = (self.starting, self.running, self.polling, self.withdrawing)
        return [ref for ref in refs if ref is not None]

    def send(self, packet: Sequence[Job]) -> None:
        """Give it jobs to run; raises whatever pickling them raises, and then nothing is sent."""
        # What shares the driver's disk reads checkpoints there.
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
        """Ask for the messages of what runs."""
        self.polling = self._aside("poll", PATIENCE)

    def withdraw(self) -> None:
        """Ask it to give back the jobs that it has not begun."""
        self.withdrawing = self._aside("withdraw")

    def request_stop(self, run: str) -> None:
        """Let a job see that it is to end."""
        self._aside("request_stop", run)

    def ask_for_arrest(self, run: str, after: float = 0.0) -> Any:
        """Have it find out whether it runs a job for more than `after` seconds, and halt if so."""
        return self._aside("arrest", run, self._number, after)

    def arrest(self, asked: Any, timeout: float = ANSWER) -> Arrest:
        """Return the answer to `ask_for_arrest`; a worker that gives none is taken to run the job.

        It is dead, frozen, or in native code that lets no other thread answer.
        """
        import ray

        try:
            found: Arrest = ray.get(asked, timeout=timeout)
        except (ray.exceptions.RayError, TimeoutError):
            return Arrest(Found.RUNNING, answered=False)
        return found

    def polled(self, timeout: float | None = None) -> list[Event]:
        """Return the answer of the poll, if there is one; that of a dead or hung worker is lost."""
        import ray

        polling, self.polling = self.polling, None
        if polling is None:
            return []
        try:
            return self.noted(ray.get(polling, timeout=timeout))
        except (ray.exceptions.RayError, TimeoutError):
            return []

    def noted(self, events: Sequence[Event]) -> list[Event]:
        """Return those events that are about jobs of the packet, and strike off what finished."""
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
        """Return the jobs that are left of a packet that is done, and be free for another."""
        jobs = list(self.packet.values())
        self.packet = {}
        self.running = self.withdrawing = None
        return jobs

    def post_mortem(self) -> tuple[list[Event], list[Job], list[Job]]:
        """Return what its end leaves: events unheard of, jobs that had begun, and the others.

        To be called when it begins nothing more. Without a journal all jobs count as begun: none
        may run twice under one token.
        """
        if not self.shared:
            return [], list(self.packet.values()), []
        begun, events = self.journal.read(self._number)
        unheard = self.noted(events[self._heard :])
        runs = set(self._given[:begun])
        jobs = self.packet.values()
        return unheard, [j for j in jobs if j.run in runs], [j for j in jobs if j.run not in runs]

    def kill(self, *, hung: bool = False) -> None:
        """End the worker's process.

        Ray lets one that is `hung` be for some seconds first, in which it might come round and
        begin what has been given to others; here it is ended at once, where that can be done.
        """
        import ray

        if hung and self.near:
            end(self.process)
        if ray.is_initialized():
            ray.kill(self.actor)

    def leave(self) -> Any:
        """Have the worker end by itself, for when there is no head of the cluster to end it."""
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
        """Call a method that answers while jobs run."""
        return getattr(self.actor, method).options(concurrency_group="io").remote(*args)


def member_maker(
    needs: Mapping[str, float],
    work: bytes,
    folder: Path,
    runtime_env: Mapping[str, Any] | None = None,
) -> Callable[[], Member]:
    """Return a function that starts a worker; the work is put into Ray once, here.

    Parameters
    ----------
    needs
        What each worker takes of its node, by Ray's names.
    work
        The pickled work.
    folder
        Where the journals are kept.
    runtime_env
        What Ray is to prepare for it that is not prepared for all workers of this process.
    """
    import ray

    custom = {name: amount for name, amount in needs.items() if name not in _OPTIONS}
    options: dict[str, Any] = {
        _OPTIONS[name]: amount for name, amount in needs.items() if name in _OPTIONS
    }
    if runtime_env:
        options["runtime_env"] = dict(runtime_env)
    # Whether something is tried again is decided elsewhere, and never by Ray.
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
    """Return the answer of a worker that has started; raises Ray's error if it died."""
    import ray

    answer: Prepared = ray.get(member.starting)
    member.starting = None
    member.shared = answer.shared
    member.process, member.node = answer.process, answer.node
    member.near = answer.node == ray.get_runtime_context().get_node_id()
    return answer


def pickled(work: Work) -> bytes:
    """Return the work as it is shipped.

    Raises
    ------
    ObjectiveError
        If it cannot be.
    """
    import cloudpickle

    try:
        return bytes(cloudpickle.dumps(work))
    except Exception as error:
        # A user's __reduce__ may raise anything.
        raise ObjectiveError(
            f"the objective cannot be shipped to a worker: {type(error).__name__}: {error}; open "
            f"files, locks and connections in the objective itself"
        ) from error
