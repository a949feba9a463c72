"""Runs trials on a pool of long-lived Ray actors, reused from trial to trial."""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tuner.backends.protocol import Event, Finished, Lost, Resized, Sent, Work
from tuner.backends.ray_cluster import (
    Cluster,
    as_ray_resources,
    connect,
    fitting_workers,
    local_nodes,
    will_be_local,
)
from tuner.backends.ray_worker import PacketDone, Worker
from tuner.errors import BackendError, ObjectiveError
from tuner.records import Job

PACKET = 0.02
"""Seconds of work that go to a worker at once: calling it costs about a millisecond."""

LARGEST = 64
"""Jobs in a packet, at most."""

QUIET = 0.03
"""Seconds that a packet runs before its messages are asked for while it runs."""

PATIENCE = 1.0
"""Seconds that a worker waits for a message before it answers that there is none."""

START_TIMEOUT = 120.0
"""Seconds within which the first worker must have started."""

START_DEATHS = 3
"""Workers that die one after another before they are ready, until that is an error."""


@dataclass(slots=True, eq=False)
class _Member:
    """A worker of the pool, and what it has been given."""

    actor: Any
    starting: Any = None
    running: Any = None
    polling: Any = None
    packet: dict[str, Job] = field(default_factory=dict)
    begun: set[str] = field(default_factory=set)
    since: float = 0.0

    @property
    def idle(self) -> bool:
        return self.starting is None and self.running is None


class RayBackend:
    """A pool of Ray actors, one trial at a time on each.

    Ray is used as this process finds it: a cluster it is connected to; else the one at `address`
    or in the environment variable ``RAY_ADDRESS``; else one is started on this machine, with all
    its cores, and ended at the end. The objective is shipped to each worker once.

    Trials that take milliseconds travel in packets. When a worker dies, the trial it ran is lost;
    those that waited behind it run elsewhere, each alone from then on.

    Parameters
    ----------
    address
        Where the cluster is: ``"auto"``, ``"host:port"``, ``"ray://host:port"``, ``"local"``.
    """

    def __init__(self, address: str | None = None) -> None:
        self._address = address
        self._cluster: Cluster | None = None
        self._members: list[_Member] = []
        self._queue: deque[Job] = deque()
        self._alone: set[str] = set()
        self._early: list[Event] = []
        self._deaths = 0
        self._pace = PACKET
        self._make_actor: Callable[[], Any] | None = None
        self._work: Any = None

    # --- start and end ------------------------------------------------------------------------

    def start(
        self,
        work: Work,
        *,
        workers: int | None = None,
        resources: Mapping[str, float] | None = None,
        deliver: Callable[[Event], None] | None = None,  # noqa: ARG002 (events come from `events`)
    ) -> None:
        """Start the workers and give them the work; see `Backend.start`."""
        needs = as_ray_resources(resources)
        shipped = _pickled(work)
        self._check_before_ray(workers, needs)
        import ray

        self._cluster = connect(self._address)
        try:
            number = fitting_workers(workers, needs, self._cluster.nodes())
            self._work = ray.put(shipped)
            self._make_actor = _actor_maker(needs)
            self._members = [self._new_member() for _ in range(number)]
            self._await_first()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End all workers, and Ray if it was started here."""
        import ray

        for member in self._members:
            if ray.is_initialized():
                ray.kill(member.actor)
        self._members, self._early = [], []
        self._queue.clear()
        self._alone.clear()
        self._work = self._make_actor = None
        if self._cluster is not None:
            self._cluster.leave()
            self._cluster = None

    def _check_before_ray(self, workers: int | None, needs: Mapping[str, float]) -> None:
        """Refuse what a local Ray can never have, before waiting for it to start."""
        import ray

        if not ray.is_initialized() and will_be_local(self._address):
            fitting_workers(workers, needs, local_nodes())

    def _new_member(self) -> _Member:
        assert self._make_actor is not None
        actor = self._make_actor()
        return _Member(actor, starting=actor.prepare.remote(self._work))

    def _await_first(self) -> None:
        """Wait until one worker is ready; the others may follow while it works."""
        deadline = time.monotonic() + START_TIMEOUT
        while not any(member.starting is None for member in self._members):
            self._collect(self._wait(0.5))
            if time.monotonic() > deadline:
                raise BackendError(
                    f"no worker has started within {START_TIMEOUT:g} s: the cluster's resources "
                    f"are taken by others; wait for them, or ask for less"
                )
        self._early.clear()

    # --- the protocol -------------------------------------------------------------------------

    @property
    def capacity(self) -> int:
        """How many workers there are, those that still start included."""
        return len(self._members)

    def submit(self, job: Job) -> None:
        """Queue a job."""
        if not self._members:
            raise BackendError("RayBackend: submit before start; call start first")
        if job.attempt > 1:
            self._alone.add(job.run)  # whatever made it fail must not take others with it
        self._queue.append(job)

    def events(self, timeout: float | None) -> Sequence[Event]:
        """Wait up to `timeout` seconds and return what happened."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            self._dispatch()
            self._take_back_what_waits()
            if self._early:
                events, self._early = self._early, []
                return events
            left = PATIENCE if deadline is None else max(0.0, deadline - time.monotonic())
            self._early += self._collect(self._wait(min(left, self._until_poll())))
            if not self._early and left == 0:
                return []

    def stop(self, run: str, *, kill: bool = False) -> None:
        """Ask a job to end soon, or end its worker; see `Backend.stop`."""
        if any(job.run == run for job in self._queue):
            if kill:
                self._queue = deque(job for job in self._queue if job.run != run)
                self._early.append(Lost(run, "taken back before it began"))
            return
        for member in self._members:
            if run in member.packet:
                if not kill:
                    member.actor.request_stop.options(concurrency_group="io").remote(run)
                elif self._withdrawn(member, [run]):
                    self._early.append(Lost(run, "taken back before it began"))
                else:
                    self._kill(member, run)
                return

    # --- giving out work ----------------------------------------------------------------------

    def _dispatch(self) -> None:
        """Give each idle worker its next packet, an even share of what is queued."""
        idle = [member for member in self._members if member.idle]
        for n, member in enumerate(idle):
            if not self._queue:
                return
            share = -(-len(self._queue) // (len(idle) - n))
            self._send(member, self._next_packet(share))

    def _next_packet(self, share: int) -> list[Job]:
        size = max(1, min(share, LARGEST, int(PACKET / max(self._pace, 1e-6))))
        packet = [self._queue.popleft()]
        while self._queue and len(packet) < size:
            if packet[-1].run in self._alone or self._queue[0].run in self._alone:
                break
            packet.append(self._queue.popleft())
        return packet

    def _send(self, member: _Member, packet: Sequence[Job]) -> None:
        member.packet = {job.run: job for job in packet}
        member.begun = set()
        member.since = time.monotonic()
        member.running = member.actor.run.remote(packet)

    def _take_back_what_waits(self) -> None:
        """Give idle workers what waits behind a trial that turned out to be long."""
        if self._queue or not any(member.idle for member in self._members):
            return
        now = time.monotonic()
        for member in self._members:
            if len(member.packet) > 1 and now - member.since > 2 * PACKET:
                self._queue.extend(self._withdraw_jobs(member, list(member.packet)))
                member.since = now
        if self._queue:
            self._dispatch()

    def _withdrawn(self, member: _Member, runs: Sequence[str]) -> list[Job]:
        return self._withdraw_jobs(member, runs) if len(member.packet) > 1 else []

    def _withdraw_jobs(self, member: _Member, runs: Sequence[str]) -> list[Job]:
        import ray

        try:
            taken = ray.get(
                member.actor.withdraw.options(concurrency_group="io").remote(runs), timeout=5.0
            )
        except (ray.exceptions.RayActorError, ray.exceptions.GetTimeoutError):
            return []  # dead or stuck: what it ran is found out as for any worker
        return [member.packet.pop(run) for run in taken]

    # --- taking in what happened --------------------------------------------------------------

    def _wait(self, timeout: float) -> list[Any]:
        """Return the answers that are there within `timeout` seconds."""
        import ray

        refs = [
            ref
            for member in self._members
            for ref in (member.starting, member.running, member.polling)
            if ref is not None
        ]
        if not refs:
            time.sleep(min(timeout, 0.05))
            return []
        ready, others = ray.wait(refs, num_returns=1, timeout=timeout)
        if ready and others:
            more, _ = ray.wait(others, num_returns=len(others), timeout=0)
            ready += more
        return list(ready)

    def _until_poll(self) -> float:
        """Ask busy workers for messages, and return when the next one is to be asked."""
        soonest = PATIENCE
        now = time.monotonic()
        for member in self._members:
            if member.running is None or member.polling is not None:
                continue
            due = member.since + QUIET - now
            if due <= 0:
                member.polling = member.actor.poll.options(concurrency_group="io").remote(PATIENCE)
            else:
                soonest = min(soonest, due)
        return soonest

    def _collect(self, ready: Sequence[Any]) -> list[Event]:
        events: list[Event] = []
        there = set(ready)
        for member in list(self._members):
            if member.starting in there:
                events += self._on_started(member)
            elif member.running in there:
                events += self._on_packet_done(member)
            elif member.polling in there:
                events += self._polled(member)
        return events

    def _on_started(self, member: _Member) -> list[Event]:
        import ray

        try:
            problem = ray.get(member.starting)
        except ray.exceptions.RayError as error:
            self._deaths += 1
            if self._deaths >= START_DEATHS:
                raise BackendError(
                    f"{self._deaths} workers died before they were ready: {_reason(error)}"
                ) from None
            return self._replace(member)
        if problem:
            raise ObjectiveError(
                f"the objective cannot be loaded in a worker: {problem}; define it in the script "
                f"itself or in a module that is installed on every node"
            )
        self._deaths = 0
        member.starting = None
        return [Resized(self.capacity)]

    def _on_packet_done(self, member: _Member) -> list[Event]:
        """Return the last events of a packet, or what its worker's death comes to."""
        import ray

        # What an earlier poll took out of the outbox comes first.
        events = [] if member.polling is None else self._polled(member)
        running, member.running = member.running, None
        try:
            done: PacketDone = ray.get(running)
        except ray.exceptions.RayError as error:
            return events + self._on_death(member, _reason(error))
        finished = sum(isinstance(event, Finished) for event in done.events)
        if finished:
            self._pace = 0.5 * self._pace + 0.5 * done.seconds / finished
        events += self._noted(member, done.events)
        member.packet, member.begun = {}, set()
        return events

    def _polled(self, member: _Member) -> list[Event]:
        """Return what a poll has answered; a dead worker's packet tells of its death, not this."""
        import ray

        polling, member.polling = member.polling, None
        try:
            return self._noted(member, ray.get(polling))
        except ray.exceptions.RayError:
            return []

    def _noted(self, member: _Member, events: Sequence[Event]) -> list[Event]:
        """Return those events that are about jobs of the packet, and note what they say."""
        kept: list[Event] = []
        for event in events:
            if isinstance(event, Sent | Finished) and event.run in member.packet:
                kept.append(event)
                member.begun.add(event.run)
                if isinstance(event, Finished):
                    del member.packet[event.run]
                    self._alone.discard(event.run)
                    # The next one in the packet is only now as old as its turn.
                    member.since = time.monotonic()
        return kept

    # --- death --------------------------------------------------------------------------------

    def _on_death(self, member: _Member, reason: str) -> list[Event]:
        """Return what a dead worker's jobs come to: begun ones are lost, the others run again.

        If nothing was heard of any, the first one is taken for the one that had begun. Should that
        be wrong, the guilty one dies alone next time.
        """
        jobs = list(member.packet.values())
        begun = [job for job in jobs if job.run in member.begun] or jobs[:1]
        lost: list[Event] = [Lost(job.run, reason) for job in begun]
        self._run_alone([job for job in jobs if job not in begun])
        return lost + self._replace(member)

    def _kill(self, member: _Member, run: str) -> None:
        """End the worker that runs `run`; what else it had been given runs elsewhere."""
        import ray

        ray.kill(member.actor)
        del member.packet[run]
        self._run_alone(list(member.packet.values()))
        self._early.append(Lost(run, "its worker was ended"))
        self._early += self._replace(member)

    def _run_alone(self, jobs: Sequence[Job]) -> None:
        self._alone.update(job.run for job in jobs)
        self._queue.extendleft(reversed(jobs))

    def _replace(self, member: _Member) -> list[Event]:
        self._members[self._members.index(member)] = self._new_member()
        return []


_numbers = itertools.count()


def _actor_maker(needs: Mapping[str, float]) -> Callable[[], Any]:
    """Return a function that starts an actor with these resources."""
    import ray

    custom = {
        name: amount for name, amount in needs.items() if name not in ("CPU", "GPU", "memory")
    }
    actor = ray.remote(concurrency_groups={"io": 4})(Worker)

    def make() -> Any:
        return actor.options(
            num_cpus=needs["CPU"],
            num_gpus=needs.get("GPU", 0),
            memory=needs.get("memory"),
            resources=custom or None,
            max_restarts=0,
        ).remote(f"ray-{next(_numbers)}")

    return make


def _pickled(work: Work) -> bytes:
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


def _reason(error: Exception) -> str:
    """Return the first line of what Ray says of a death, and the system's error if it has one."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return "; ".join(lines[:1] + [line for line in lines[1:] if "exit" in line.lower()][:1])
