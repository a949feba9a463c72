"""Run trials on a pool of long-lived Ray actors, reused from trial to trial."""

from __future__ import annotations

import functools
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from tuner.backends.protocol import Event, Finished, Lost, Resized, Work, timed_out
from tuner.backends.ray.cluster import Cluster, connect, ray_is_there, will_be_local
from tuner.backends.ray.health import SILENCE, ClusterWatch, Guard, reason
from tuner.backends.ray.queue import JobQueue
from tuner.backends.ray.runtime_env import as_runtime_env, check_with_ray, uploaded
from tuner.backends.ray.worker import Found, PacketDone
from tuner.backends.ray.worker_handle import ANSWER, PATIENCE, Member, loaded, member_maker, pickled
from tuner.backends.resources import as_needs, fitting_workers, local_nodes
from tuner.errors import BackendError, ObjectiveError
from tuner.records import Failure, Job, Outcome, State

QUIET = 0.03
"""Seconds that a batch runs before the driver polls it for messages."""

HELD_UP = 0.02
"""Seconds that a trial may run before idle workers get the jobs queued behind it."""

START_TIMEOUT = 120.0
"""Seconds within which at least one worker must start."""

START_ROUNDS = 3
"""Number of rounds in which all workers die before any is ready, until that is an error."""

PAUSE = 1.0
"""Delay in seconds before the replacement of a worker that died during its start."""


class RayBackend:
    """A pool of Ray actors, each of which runs one trial at a time.

    The backend uses the cluster that this process is connected to; else the cluster at `address`
    or in the environment variable ``RAY_ADDRESS``; else it starts one on this machine, with all
    cores, and shuts it down at the end. The objective is shipped to each worker once.

    Trials that take milliseconds are sent in batches to workers on the driver's machine. If such a
    worker dies, its journal identifies the trial that it ran. This trial is lost, the earlier
    trials count, and the later ones run elsewhere.

    Parameters
    ----------
    address
        Address of the cluster: ``"auto"``, ``"host:port"``, ``"ray://host:port"``, ``"local"``.
    working_dir
        A folder, a .zip file, or a URI that Ray can download. Each worker gets a copy, imports
        modules from it, and runs in it.
    py_modules
        Additional modules for workers: folders, .py files, wheels, URIs, or modules.
    env_vars
        Environment variables of the workers.
    runtime_env
        Other fields of Ray's runtime environment, such as ``{"pip": ["lightgbm"]}``.

    Raises
    ------
    ArgumentError
        If an argument is invalid, for instance a folder that does not exist.

    Examples
    --------
    >>> backend = RayBackend(address="auto", env_vars={"OMP_NUM_THREADS": "2"})
    """

    def __init__(
        self,
        address: str | None = None,
        *,
        working_dir: str | Path | None = None,
        py_modules: Sequence[str | Path | ModuleType] | None = None,
        env_vars: Mapping[str, str] | None = None,
        runtime_env: Mapping[str, Any] | None = None,
    ) -> None:
        self._address = address
        self._runtime_env = as_runtime_env(
            working_dir=working_dir,
            py_modules=py_modules,
            env_vars=env_vars,
            runtime_env=runtime_env,
        )
        self._cluster: Cluster | None = None
        self._folder: Path | None = None
        self._make_member: Callable[[], Member] | None = None
        self._members: list[Member] = []
        self._watch: ClusterWatch | None = None
        self._guard: Guard | None = None
        self._guard_due = 0.0
        self._queue = JobQueue()
        self._early: list[Event] = []
        self._stopping: set[str] = set()
        self._round = 0
        self._not_before = 0.0
        self._last_ready = 0.0

    # --- start and end ------------------------------------------------------------------------

    def start(
        self,
        work: Work,
        *,
        workers: int | None = None,
        resources: Mapping[str, float] | None = None,
        deliver: Callable[[Event], None] | None = None,  # noqa: ARG002 (events come from `events`)
    ) -> None:
        """Start the workers and ship the work to them; see `Backend.start`."""
        needs = as_needs(resources)
        shipped = pickled(work)
        if will_be_local(self._address) and not ray_is_there():
            # Reject impossible requests before waiting for a local Ray to start.
            fitting_workers(workers, needs, local_nodes())
        if self._runtime_env:
            check_with_ray(self._runtime_env)
        self._cluster = connect(self._address, self._runtime_env)
        try:
            self._watch = ClusterWatch(self._cluster, workers, needs, time.monotonic())
            self._guard = Guard(self._cluster.own_node())
            self._folder = Path(tempfile.mkdtemp(prefix="tuner-"))
            # On an existing cluster, each worker gets the runtime environment separately.
            own = {} if self._cluster.own else uploaded(self._runtime_env, self._folder)
            self._make_member = member_maker(needs, shipped, self._folder, own)
            self._await_first()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Stop all workers, and Ray if it was started here."""
        if self._watch is not None and self._watch.head_lost:
            self._dismiss()
        for member in self._members:
            member.kill()
        self._members, self._early = [], []
        self._watch = self._guard = None
        self._queue.clear()
        self._stopping.clear()
        self._make_member = None
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None
        if self._cluster is not None:
            self._cluster.leave()
            self._cluster = None

    def _dismiss(self) -> None:
        """Let the workers exit by themselves: without a head, Ray does not end them soon."""
        import ray

        leaving = [member.leave() for member in self._members if member.ready]
        if leaving:
            ray.wait(leaving, num_returns=len(leaving), timeout=ANSWER)

    def _await_first(self) -> None:
        """Wait until one worker is ready; the others may become ready later."""
        self._last_ready = time.monotonic()
        while not self.capacity:
            self._fill_up()
            self._collect(self._wait(0.5))
            self._check_readiness()

    def _fill_up(self) -> None:
        """Start missing workers; abandon those that did not fit on any node."""
        assert self._make_member is not None
        assert self._watch is not None
        now = time.monotonic()
        self._watch.look(now)
        while len(self._members) < self._watch.size and now >= self._not_before:
            member = self._make_member()
            member.round = self._round
            self._members.append(member)
        for member in [m for m in self._members if not m.ready][: self._surplus()]:
            self._drop(member)

    def _surplus(self) -> int:
        assert self._watch is not None
        return max(0, len(self._members) - self._watch.size)

    def _check_readiness(self) -> None:
        """Raise an error if the pool has had no worker for too long."""
        now = time.monotonic()
        if self.capacity:
            self._last_ready = now
        elif now - self._last_ready > START_TIMEOUT:
            raise BackendError(
                f"no worker has started within {START_TIMEOUT:g} s: the cluster's resources are "
                f"taken by others or its nodes are gone; wait for them, or ask for less"
            )

    # --- the protocol -------------------------------------------------------------------------

    @property
    def capacity(self) -> int:
        """Number of ready workers."""
        return sum(member.ready for member in self._members)

    def submit(self, job: Job) -> None:
        """Queue a job."""
        if self._make_member is None:
            raise BackendError("RayBackend: submit before start; call start first")
        self._queue.add(job)

    def events(self, timeout: float | None) -> Sequence[Event]:
        """Wait up to `timeout` seconds and return what happened."""
        if self._make_member is None:
            raise BackendError("RayBackend: events before start; call start first")
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            self._fill_up()
            self._dispatch()
            self._take_back_what_waits()
            self._early += self._collect(self._wait(0.0))
            self._check_readiness()
            self._end_overdue()
            self._end_silent()
            left = PATIENCE if deadline is None else max(0.0, deadline - time.monotonic())
            if not self._early and left > 0:
                self._early += self._collect(self._wait(min(left, self._until_due())))
            if self._early or left == 0:
                return self._told()

    def _told(self) -> list[Event]:
        """Return the available events, and drop requests for jobs that ended."""
        events, self._early = self._early, []
        if self._stopping:
            self._stopping -= {e.run for e in events if isinstance(e, Finished | Lost)}
        return events

    def stop(self, run: str, *, kill: bool = False) -> None:
        """Ask a job to end soon, or kill its worker; see `Backend.stop`."""
        member = self._holder(run)
        if kill:
            if member is not None and member.withdrawing is not None:
                self._hear_what_was_taken_back(member)
                member = self._holder(run)
            if member is not None:
                asked = member.ask_for_arrest(run)
                self._kill(member, run, asked, functools.partial(_lost, why="its worker was ended"))
            if self._queue.remove(run):
                self._early.append(Lost(run, "taken back before it began"))
        elif member is not None or run in self._queue:
            # Keep the request until the job ends: it may be queued or move to another worker.
            self._stopping.add(run)
            if member is not None:
                member.request_stop(run)

    def _holder(self, run: str) -> Member | None:
        """Return the worker that holds a job, to the knowledge of the driver."""
        return next((member for member in self._members if run in member.packet), None)

    # --- giving out work ----------------------------------------------------------------------

    def _dispatch(self) -> None:
        """Give each idle worker its next batch, an even share of the queue."""
        idle = [member for member in self._members if member.idle]
        for n, member in enumerate(idle):
            if not self._queue:
                return
            # Without a journal, the results of a batch would be lost with its worker.
            share = -(-len(self._queue) // (len(idle) - n)) if member.shared else 1
            self._send(member, self._queue.next_packet(share))

    def _send(self, member: Member, packet: Sequence[Job]) -> None:
        try:
            member.send(packet)
        except Exception as error:
            # Pickling params of user-defined types may raise any exception.
            if len(packet) > 1:
                self._queue.put_back(packet[1:])
                self._send(member, packet[:1])
                return
            failure = Failure("Unpicklable", f"params cannot be sent to a worker: {error}")
            outcome = Outcome(State.FAILED, error=failure)
            self._early.append(Finished(packet[0].run, outcome))
            return
        for job in packet:
            if job.run in self._stopping:
                member.request_stop(job.run)

    def _take_back_what_waits(self) -> None:
        """Reclaim jobs queued behind a long trial if other workers are idle."""
        if self._queue or not any(member.idle for member in self._members):
            return
        now = time.monotonic()
        for member in self._members:
            waits = len(member.packet) > 1 and now - member.since > HELD_UP
            if waits and member.withdrawing is None:
                member.withdraw()

    # --- taking in what happened --------------------------------------------------------------

    def _wait(self, timeout: float) -> list[Any]:
        """Return the answers that arrive within `timeout` seconds."""
        import ray

        refs = [ref for member in self._members for ref in member.awaited()]
        if not refs:
            time.sleep(min(timeout, 0.05))
            return []
        ready, others = ray.wait(refs, num_returns=1, timeout=timeout)
        if ready and others:
            more, _ = ray.wait(others, num_returns=len(others), timeout=0)
            ready += more
        return list(ready)

    def _until_due(self) -> float:
        """Poll busy workers for messages; return the seconds until the next action."""
        soonest = PATIENCE
        now = time.monotonic()
        waiting = any(member.idle for member in self._members)
        for member in self._members:
            if member.running is None:
                continue
            if member.polling is None and (due := member.since + QUIET - now) <= 0:
                member.poll()
            elif member.polling is None:
                soonest = min(soonest, due)
            if waiting and len(member.packet) > 1 and member.withdrawing is None:
                soonest = min(soonest, max(0.001, member.since + HELD_UP - now))
            limit = next((job.timeout for job in member.packet.values()), None)
            if limit is not None:
                soonest = min(soonest, max(0.001, member.since + limit - now))
        return soonest

    def _collect(self, ready: Sequence[Any]) -> list[Event]:
        events: list[Event] = []
        there = set(ready)
        for member in list(self._members):
            if member.starting in there:
                events += self._on_started(member)
            elif member.running in there:
                events += self._on_packet_done(member)
            else:
                if member.polling in there:
                    events += member.polled()
                if member.withdrawing in there:
                    self._on_withdrawn(member)
        return events

    def _on_started(self, member: Member) -> list[Event]:
        import ray

        try:
            answer = loaded(member)
        except ray.exceptions.RayError as error:
            self._on_stillborn(member, error)
            return []
        if answer.problem:
            raise ObjectiveError(
                f"the objective cannot be loaded in a worker: {answer.problem}; define it in the "
                f"script itself or in a module that is installed on every node"
            )
        self._round = 0
        return [Resized(self.capacity)]

    def _on_stillborn(self, member: Member, error: Exception) -> None:
        """Retry later, unless several rounds of workers died before any was ready.

        Workers of one round may share one cause of death, such as the loss of their node.
        """
        self._drop(member)
        if member.round == self._round:
            self._round += 1
            self._not_before = time.monotonic() + PAUSE
        if self._round >= START_ROUNDS and self.capacity == 0:
            raise BackendError(
                f"workers died before they were ready, {START_ROUNDS} times: {reason(error)}"
            )

    def _on_packet_done(self, member: Member) -> list[Event]:
        """Return the last events of a batch, or the events that follow from its worker's death."""
        import ray

        # Events of an earlier poll come first; the worker may have frozen since.
        events = member.polled(timeout=SILENCE)
        try:
            done: PacketDone = ray.get(member.running)
        except ray.exceptions.RayError as error:
            # The state of a worker that is temporarily unreachable is unknown.
            certain = isinstance(error, _ends())
            lost = functools.partial(_lost, why=reason(error))
            return events + self._on_death(member, lost, certain=certain)
        self._queue.learn(done.pace)
        events += member.noted(done.events)
        left = member.release()
        # Some were reclaimed by a request whose answer is unread; others ended unreported.
        self._queue.put_back([job for job in left if job.run in done.unbegun])
        unheard = [job for job in left if job.run not in done.unbegun]
        events += [Lost(job.run, "its outcome did not arrive") for job in unheard]
        return events + self._drop(member) if done.spoiled else events

    def _hear_what_was_taken_back(self, member: Member) -> None:
        """Process the answer to a reclaim request: the worker gave up the jobs in it."""
        import ray

        ready, _ = ray.wait([member.withdrawing], timeout=ANSWER)
        if ready:
            self._on_withdrawn(member)

    def _on_withdrawn(self, member: Member) -> None:
        import ray

        withdrawing, member.withdrawing = member.withdrawing, None
        try:
            runs = ray.get(withdrawing)
        except ray.exceptions.RayError:
            return  # the answer for the batch reports its death
        self._queue.put_back([member.packet.pop(run) for run in runs if run in member.packet])

    # --- death --------------------------------------------------------------------------------

    def _on_death(
        self, member: Member, end: Callable[[Job], Finished | Lost], *, certain: bool
    ) -> list[Event]:
        """Return the events for a dead worker's jobs: `end` for a started one; requeue the others.

        All jobs are lost unless it is `certain` that the worker starts no more of them.
        """
        events, begun, waiting = member.post_mortem()
        if certain:
            events += [end(job) for job in begun]
            if begun:
                self._queue.put_back(waiting)
            else:  # one job may kill its workers, for example by params that fail to unpickle
                given_up = self._queue.move(waiting)
                events += [Lost(job.run, "its workers died before it began") for job in given_up]
        else:
            events += [Lost(job.run, "its worker cannot be reached") for job in begun + waiting]
        return events + self._drop(member)

    def _end_overdue(self) -> None:
        """Kill the workers of jobs that exceed their time limit."""
        import ray

        now = time.monotonic()
        overdue: list[tuple[Member, Job, Any]] = []
        for member in self._members:
            job = next(iter(member.packet.values()), None)
            if job is not None and job.timeout is not None and now - member.since >= job.timeout:
                overdue.append((member, job, member.ask_for_arrest(job.run, after=job.timeout)))
        if overdue:  # wait for all together: each hung worker takes the full timeout
            asked = [ref for _, _, ref in overdue]
            ray.wait(asked, num_returns=len(asked), timeout=ANSWER)
        for member, job, ref in overdue:
            self._kill(member, job.run, ref, _overdue, timeout=0.0)

    def _end_silent(self) -> None:
        """Kill workers that are frozen or whose node does not answer."""
        assert self._guard is not None
        now = time.monotonic()
        if now < self._guard_due:
            return
        self._guard_due = now + PATIENCE
        for member, why in self._guard.look(self._members, now):
            member.kill(hung=True)
            lost = functools.partial(_lost, why=why)
            self._early += self._on_death(member, lost, certain=member.is_dead())

    def _kill(
        self,
        member: Member,
        run: str,
        asked: Any,
        end: Callable[[Job], Finished | Lost],
        timeout: float = ANSWER,
    ) -> None:
        """Kill the worker of a job if its answer to the `asked` cancellation confirms the job.

        A worker that answers has sent all results of the other jobs of its batch. One that does
        not answer is blocked by the job that it runs, which may be a different one.
        """
        arrest = member.arrest(asked, timeout)
        if arrest.found is Found.WAITING:
            del member.packet[run]
            self._early.append(Lost(run, "taken back before it began"))
        if arrest.found is not Found.RUNNING:
            return
        self._early += member.polled(timeout=ANSWER if arrest.answered else 0.0)
        self._early += member.noted(arrest.events)
        member.kill(hung=not arrest.answered)
        certain = arrest.answered or member.is_dead()
        self._early += self._on_death(member, end, certain=certain)

    def _drop(self, member: Member) -> list[Event]:
        """Remove a worker from the pool; `events` replaces it."""
        was_ready = member.ready
        member.kill()
        member.journal.remove()
        self._members.remove(member)
        return [Resized(self.capacity)] if was_ready else []


def _overdue(job: Job) -> Finished:
    return Finished(job.run, timed_out(job))


def _lost(job: Job, why: str) -> Lost:
    return Lost(job.run, why)


def _ends() -> tuple[type[Exception], ...]:
    """Return the Ray errors that mean that a worker has stopped running jobs."""
    from ray import exceptions

    return exceptions.ActorDiedError, exceptions.OutOfMemoryError, exceptions.RayTaskError
