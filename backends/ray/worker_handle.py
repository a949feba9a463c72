"""The driver's handle of one Ray worker: its assigned jobs and its pending requests."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tuner.backends.os_processes import ProcessIdentity, kill_process
from tuner.backends.protocol import Event, Finished, Sent
from tuner.backends.ray.checkpoint_transfer import ship_folder
from tuner.backends.ray.journal import Journal
from tuner.backends.ray.worker import Cancellation, JobState, Prepared, WorkerActor
from tuner.backends.shipping import PickledWork
from tuner.records import Job

POLL_TIMEOUT = 1.0
"""Seconds that a worker waits for a message before it sends an empty answer."""

ANSWER_TIMEOUT = 1.0
"""Seconds within which a worker must answer whether it runs a job; otherwise it is hung."""


@dataclass(slots=True, eq=False)
class WorkerHandle:
    """A worker of the pool.

    Attributes
    ----------
    starting, running, polling, reclaiming
        Ray's references to pending answers.
    batch
        The unfinished jobs of its batch, in execution order.
    shared
        Whether it writes its journal; a worker on another machine cannot.
    process, node
        Its process, and Ray's id of its node; known once it is ready.
    is_local
        Whether it runs on the driver's node.
    start_round
        The round of starts in which it was started.
    job_started
        Start of the first unfinished job on the monotonic clock, to the driver's knowledge.
    """

    actor: Any
    journal: Journal
    starting: Any = None
    running: Any = None
    polling: Any = None
    reclaiming: Any = None
    batch: dict[str, Job] = field(default_factory=dict)
    shared: bool = False
    process: ProcessIdentity = field(default_factory=lambda: ProcessIdentity(0))
    node: str = ""
    is_local: bool = False
    start_round: int = 0
    job_started: float = 0.0
    _batch_runs: tuple[str, ...] = ()
    _n_received: int = 0
    _number: int = 0

    @property
    def ready(self) -> bool:
        """Whether it has loaded the work."""
        return self.starting is None

    @property
    def idle(self) -> bool:
        """Whether it can accept a batch."""
        return self.starting is None and self.running is None

    def pending_refs(self) -> list[Any]:
        """Return the references of pending answers."""
        refs = (self.starting, self.running, self.polling, self.reclaiming)
        return [ref for ref in refs if ref is not None]

    def send(self, batch: Sequence[Job]) -> None:
        """Send it jobs; errors of pickling propagate, and then nothing is sent."""
        # A worker that shares the driver's disk reads checkpoints directly.
        saved = {} if self.shared else {j.run: j.checkpoint for j in batch if j.checkpoint}
        checkpoints = {
            run: ship_folder(checkpoint.folder, checkpoint.size)
            for run, checkpoint in saved.items()
        }
        self.running = self.actor.run.remote(self._number + 1, batch, checkpoints)
        self._number += 1
        self._n_received = 0
        self._batch_runs = tuple(job.run for job in batch)
        self.batch = {job.run: job for job in batch}
        self.job_started = time.monotonic()

    def poll(self) -> None:
        """Request the messages of the running jobs."""
        self.polling = self._call_concurrently("poll", POLL_TIMEOUT)

    def reclaim(self) -> None:
        """Ask it to return the jobs that it has not started."""
        self.reclaiming = self._call_concurrently("reclaim")

    def request_stop(self, run: str) -> None:
        """Signal a job to end."""
        self._call_concurrently("request_stop", run)

    def request_cancel(self, run: str, after: float = 0.0) -> Any:
        """Ask whether it has run a job for more than `after` seconds; if so, it halts."""
        return self._call_concurrently("cancel", run, self._number, after)

    def cancel(self, request: Any, timeout: float = ANSWER_TIMEOUT) -> Cancellation:
        """Return the answer to `request_cancel`; without an answer, assume that it runs the job.

        Such a worker is dead, frozen, or in native code that blocks all other threads.
        """
        import ray

        try:
            answer: Cancellation = ray.get(request, timeout=timeout)
        except (ray.exceptions.RayError, TimeoutError):
            return Cancellation(JobState.RUNNING, answered=False)
        return answer

    def take_poll(self, timeout: float | None = None) -> list[Event]:
        """Return the answer of the poll, if any; a dead or hung worker's answer is lost."""
        import ray

        polling, self.polling = self.polling, None
        if polling is None:
            return []
        try:
            return self.accept(ray.get(polling, timeout=timeout))
        except (ray.exceptions.RayError, TimeoutError):
            return []

    def accept(self, events: Sequence[Event]) -> list[Event]:
        """Return the events that concern jobs of the batch, and remove finished jobs."""
        self._n_received += len(events)
        kept: list[Event] = []
        for event in events:
            if isinstance(event, Sent | Finished) and event.run in self.batch:
                kept.append(event)
                if isinstance(event, Finished):
                    del self.batch[event.run]
                    self.job_started = time.monotonic()
        return kept

    def release(self) -> list[Job]:
        """Return the unfinished jobs of a completed batch, and become idle."""
        jobs = list(self.batch.values())
        self.batch = {}
        self.running = self.reclaiming = None
        return jobs

    def post_mortem(self) -> tuple[list[Event], list[Job], list[Job]]:
        """Return the undelivered events, the started jobs and the other jobs of a dead worker.

        Call this once the worker starts no more jobs. Without a journal, all jobs count as
        started: none may run twice under one token.
        """
        if not self.shared:
            return [], list(self.batch.values()), []
        begun, events = self.journal.read(self._number)
        unheard = self.accept(events[self._n_received :])
        runs = set(self._batch_runs[:begun])
        jobs = self.batch.values()
        return unheard, [j for j in jobs if j.run in runs], [j for j in jobs if j.run not in runs]

    def kill(self, *, hung: bool = False) -> None:
        """Kill the worker's process.

        Ray waits some seconds before it kills a `hung` worker, which could meanwhile wake up and
        start jobs that others have been given. So the process is killed directly where possible.
        """
        import ray

        if hung and self.is_local:
            kill_process(self.process)
        if ray.is_initialized():
            ray.kill(self.actor)

    def leave(self) -> Any:
        """Let the worker exit by itself, for a cluster that has lost its head."""
        return self._call_concurrently("leave")

    def is_dead(self) -> bool:
        """Whether it is certain, within a second, that its process has ended."""
        import ray

        try:
            ray.get(self.running, timeout=ANSWER_TIMEOUT)
        except ray.exceptions.ActorDiedError:
            return True
        except (ray.exceptions.RayError, TimeoutError):
            return False
        return False

    def _call_concurrently(self, method: str, *args: Any) -> Any:
        """Call a method that can answer while jobs run."""
        return getattr(self.actor, method).options(concurrency_group="io").remote(*args)


def worker_factory(
    needs: Mapping[str, float],
    work: PickledWork,
    folder: Path,
    runtime_env: Mapping[str, Any] | None = None,
) -> Callable[[], WorkerHandle]:
    """Return a function that starts a worker; put the work into Ray's object store once.

    Parameters
    ----------
    needs
        Resources of each worker, under Ray's names.
    work
        The pickled work; workers map its large arrays from the object store of their node.
    folder
        Folder of the journals.
    runtime_env
        The runtime environment beyond the one that all workers of this process share.
    """
    import numpy as np
    import ray

    custom = {name: amount for name, amount in needs.items() if name not in _OPTIONS}
    options: dict[str, Any] = {
        _OPTIONS[name]: amount for name, amount in needs.items() if name in _OPTIONS
    }
    if runtime_env:
        options["runtime_env"] = dict(runtime_env)
    # Retries are decided elsewhere, never by Ray.
    actor = ray.remote(concurrency_groups={"io": 4}, max_restarts=0, max_task_retries=0)(
        WorkerActor
    )
    arrays = [np.frombuffer(buffer, np.uint8) for buffer in work.buffers]
    shipped, node = ray.put((work.data, arrays)), ray.get_runtime_context().get_node_id()
    names = (f"ray-{number}" for number in itertools.count())

    def make() -> WorkerHandle:
        name = next(names)
        journal = Journal(folder / name)
        handle = actor.options(**options, resources=custom or None, max_restarts=0).remote(name)
        return WorkerHandle(
            handle, journal, starting=handle.prepare.remote(shipped, journal.path, node)
        )

    return make


_OPTIONS = {"CPU": "num_cpus", "GPU": "num_gpus", "memory": "memory"}


def finish_start(worker: WorkerHandle) -> Prepared:
    """Return the answer of a worker that has started; raise Ray's error if it died."""
    import ray

    answer: Prepared = ray.get(worker.starting)
    worker.starting = None
    worker.shared = answer.shared
    worker.process, worker.node = answer.process, answer.node
    worker.is_local = answer.node == ray.get_runtime_context().get_node_id()
    return answer
