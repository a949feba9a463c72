"""Run trials on a pool of long-lived Ray actors, reused from trial to trial."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from tuner.backends.pools import StartRounds
from tuner.backends.protocol import Event, Resized, Work
from tuner.backends.ray.batching import JobDispatcher
from tuner.backends.ray.cluster import Cluster, connect, ray_is_running, will_be_local
from tuner.backends.ray.health import ClusterMonitor, HungWorkerDetector, reason
from tuner.backends.ray.runtime_env import as_runtime_env, check_with_ray, uploaded
from tuner.backends.ray.worker_handle import (
    ANSWER_TIMEOUT,
    POLL_TIMEOUT,
    WorkerHandle,
    finish_start,
    worker_factory,
)
from tuner.backends.resources import as_needs, fitting_workers, local_nodes
from tuner.backends.shipping import cannot_be_loaded, pickle_work
from tuner.errors import BackendError
from tuner.records import Job


class RayBackend:
    """A pool of Ray actors, each of which runs one trial at a time.

    The backend uses the cluster that this process is connected to; else the cluster at `address`
    or in the environment variable ``RAY_ADDRESS``; else it starts one on this machine, with all
    cores, and shuts it down at the end. The objective is shipped to each worker once.

    Trials that take milliseconds are sent in batches (see `JobDispatcher`). If a worker dies, only
    the trial that it ran is lost.

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
        self._make_worker: Callable[[], WorkerHandle] | None = None
        self._workers: list[WorkerHandle] = []
        self._jobs = JobDispatcher(self._workers, self._drop)
        self._monitor: ClusterMonitor | None = None
        self._detector: HungWorkerDetector | None = None
        self._detection_due = 0.0
        self._events: list[Event] = []
        self._rounds = StartRounds(0.0)

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
        shipped = pickle_work(work)
        if will_be_local(self._address) and not ray_is_running():
            # Reject impossible requests before waiting for a local Ray to start.
            fitting_workers(workers, needs, local_nodes())
        if self._runtime_env:
            check_with_ray(self._runtime_env)
        self._cluster = connect(self._address, self._runtime_env, shared=shipped.size)
        try:
            self._monitor = ClusterMonitor(self._cluster, workers, needs, time.monotonic())
            self._detector = HungWorkerDetector(self._cluster.own_node())
            self._folder = Path(tempfile.mkdtemp(prefix="tuner-"))
            # On an existing cluster, each worker gets the runtime environment separately.
            own = {} if self._cluster.own else uploaded(self._runtime_env, self._folder)
            self._make_worker = worker_factory(needs, shipped, self._folder, own)
            self._await_first()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Stop all workers, and Ray if it was started here."""
        if self._monitor is not None and self._monitor.head_lost:
            self._dismiss()
        for worker in self._workers:
            worker.kill()
        self._workers.clear()
        self._events.clear()
        self._monitor = self._detector = None
        self._jobs.clear()
        self._make_worker = None
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None
        if self._cluster is not None:
            self._cluster.leave()
            self._cluster = None

    def _dismiss(self) -> None:
        """Let the workers exit by themselves: without a head, Ray does not end them soon."""
        import ray

        leaving = [worker.leave() for worker in self._workers if worker.ready]
        if leaving:
            ray.wait(leaving, num_returns=len(leaving), timeout=ANSWER_TIMEOUT)

    # --- the protocol -------------------------------------------------------------------------

    @property
    def capacity(self) -> int:
        """Number of ready workers."""
        return sum(worker.ready for worker in self._workers)

    @property
    def size(self) -> int:
        """Number of workers that the pool keeps; it follows the nodes of the cluster."""
        return 0 if self._monitor is None else self._monitor.size

    def submit(self, job: Job) -> None:
        """Queue a job."""
        if self._make_worker is None:
            raise BackendError("RayBackend: submit before start; call start first")
        self._jobs.submit(job)

    def events(self, timeout: float | None) -> Sequence[Event]:
        """Wait up to `timeout` seconds and return what happened."""
        if self._make_worker is None:
            raise BackendError("RayBackend: events before start; call start first")
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            self._adjust_size()
            self._events += self._jobs.dispatch()
            self._events += self._collect(self._wait(0.0))
            self._check_readiness()
            self._events += self._jobs.kill_overdue()
            self._kill_hung()
            left = POLL_TIMEOUT if deadline is None else max(0.0, deadline - time.monotonic())
            if not self._events and left > 0:
                self._events += self._collect(self._wait(min(left, self._jobs.poll())))
            if self._events or left == 0:
                events, self._events = self._events, []
                self._jobs.forget_ended(events)
                return events

    def stop(self, run: str, *, kill: bool = False) -> None:
        """Ask a job to end soon, or kill its worker; see `Backend.stop`."""
        self._events += self._jobs.stop(run, kill=kill)

    # --- workers ------------------------------------------------------------------------------

    def _await_first(self) -> None:
        """Wait until one worker is ready; the others may become ready later."""
        self._rounds = StartRounds(time.monotonic())
        while not self.capacity:
            self._adjust_size()
            self._collect(self._wait(0.5))
            self._check_readiness()

    def _adjust_size(self) -> None:
        """Start missing workers; abandon those that did not fit on any node."""
        assert self._make_worker is not None
        assert self._monitor is not None
        now = time.monotonic()
        self._monitor.check(now)
        while len(self._workers) < self._monitor.size and self._rounds.may_start(now):
            worker = self._make_worker()
            worker.start_round = self._rounds.current
            self._workers.append(worker)
        for worker in [m for m in self._workers if not m.ready][: self._surplus()]:
            self._drop(worker)

    def _surplus(self) -> int:
        assert self._monitor is not None
        return max(0, len(self._workers) - self._monitor.size)

    def _check_readiness(self) -> None:
        """Raise an error if the pool has had no worker for too long."""
        self._rounds.check(
            self.capacity,
            time.monotonic(),
            "the cluster's resources are taken by others or its nodes are gone; wait for them, or "
            "ask for less",
        )

    def _wait(self, timeout: float) -> list[Any]:
        """Return the answers that arrive within `timeout` seconds."""
        import ray

        refs = [ref for worker in self._workers for ref in worker.pending_refs()]
        if not refs:
            time.sleep(min(timeout, 0.05))
            return []
        ready, others = ray.wait(refs, num_returns=1, timeout=timeout)
        if ready and others:
            more, _ = ray.wait(others, num_returns=len(others), timeout=0)
            ready += more
        return list(ready)

    def _collect(self, ready: Sequence[Any]) -> list[Event]:
        """Return the events that follow from the answers of workers."""
        events: list[Event] = []
        answered = set(ready)
        for worker in list(self._workers):
            if worker.starting in answered:
                events += self._on_started(worker)
            else:
                events += self._jobs.collect(worker, answered)
        return events

    def _on_started(self, worker: WorkerHandle) -> list[Event]:
        import ray

        try:
            answer = finish_start(worker)
        except ray.exceptions.RayError as error:
            self._drop(worker)
            self._rounds.on_stillborn(
                worker.start_round, self.capacity, reason(error), time.monotonic()
            )
            return []
        if answer.problem:
            raise cannot_be_loaded(answer.problem)
        self._rounds.on_ready()
        return [Resized(self.capacity)]

    def _kill_hung(self) -> None:
        """Kill workers that are frozen or whose node does not answer."""
        assert self._detector is not None
        now = time.monotonic()
        if now < self._detection_due:
            return
        self._detection_due = now + POLL_TIMEOUT
        for worker, why in self._detector.check(self._workers, now):
            self._events += self._jobs.kill_hung(worker, why)

    def _drop(self, worker: WorkerHandle) -> list[Event]:
        """Remove a worker from the pool; `events` replaces it."""
        was_ready = worker.ready
        worker.kill()
        worker.journal.remove()
        self._workers.remove(worker)
        return [Resized(self.capacity)] if was_ready else []
