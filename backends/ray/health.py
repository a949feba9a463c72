"""Detect hung workers that Ray still considers alive.

Ray detects the end of a process almost immediately, and the loss of a machine within 15 s to a
minute. It never detects a frozen worker. A busy worker answers a poll every second from a separate
thread, unless its objective blocks all other threads. This can be legitimate: native code inverts
a large matrix. So silence alone proves nothing; the state of the process distinguishes the cases.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from tuner.backends.os_processes import ProcessIdentity, ProcessState, state_of
from tuner.backends.pools import InspectionClock
from tuner.backends.ray.cluster import Cluster
from tuner.backends.ray.worker_handle import WorkerHandle
from tuner.backends.resources import fitting_workers
from tuner.errors import BackendError, ResourcesError

SILENCE = 10.0
"""Seconds without an answer to a poll before the process of a busy worker is inspected."""

FROZEN = 5.0
"""Seconds between the first inspection that finds a process frozen and the one that kills it."""

UNREACHABLE = 30.0
"""Seconds within which the node of a silent worker must report the worker's state."""


@dataclass(slots=True)
class _Silence:
    """The state of a worker since it left `poll` unanswered; times on the detector's clock."""

    poll: Any
    since: float
    question: Any = None
    asked: float = 0.0
    frozen: float | None = None


class HungWorkerDetector:
    """Watches the busy workers of a pool.

    Parameters
    ----------
    node
        Ray's id of the node that runs this process. A task inspects processes on other nodes.
    """

    def __init__(self, node: str) -> None:
        self._node = node
        self._silent: dict[WorkerHandle, _Silence] = {}
        self._clock = InspectionClock()

    def check(self, workers: Iterable[WorkerHandle], now: float) -> list[tuple[WorkerHandle, str]]:
        """Return the workers that are lost, and the reasons, at `now` (seconds)."""
        self._clock.advance(now)
        before, self._silent = self._silent, {}
        lost = []
        for worker in workers:
            if worker.polling is None:
                continue
            silence = before.get(worker)
            if silence is None or silence.poll is not worker.polling:
                silence = _Silence(worker.polling, self._clock.seconds)
            self._silent[worker] = silence
            if self._clock.seconds - silence.since > SILENCE and (
                why := self._verdict(worker, silence)
            ):
                lost.append((worker, why))
        return lost

    def _verdict(self, worker: WorkerHandle, silence: _Silence) -> str:
        """Return why a silent worker is lost, empty if it is not lost or this is unknown."""
        state = self._inspect(worker, silence)
        if state is None:
            unheard = (
                silence.question is not None and self._clock.seconds - silence.asked > UNREACHABLE
            )
            return f"neither it nor its node has answered for {UNREACHABLE:g} s" if unheard else ""
        if state is ProcessState.GONE:
            return "its process is gone"
        if state is ProcessState.ALIVE:
            silence.frozen = None
            return ""
        if silence.frozen is None:
            silence.frozen = self._clock.seconds
        if self._clock.seconds - silence.frozen < FROZEN:
            return ""
        return "its process was frozen, as by SIGSTOP, and has been ended"

    def _inspect(self, worker: WorkerHandle, silence: _Silence) -> ProcessState | None:
        """Return the state of a worker's process, None until its node reports it."""
        import ray

        if worker.node == self._node:
            return state_of(worker.process)
        if silence.question is None:
            silence.question = _ask(worker.node, worker.process)
            silence.asked = self._clock.seconds
        ready, _ = ray.wait([silence.question], timeout=0)
        if not ready:
            return None
        try:
            state: ProcessState = ray.get(silence.question)
        except ray.exceptions.RayError:
            return None  # Ray will report the loss of the node, or the timeout expires
        silence.question = None
        return state


def _ask(node: str, process: ProcessIdentity) -> Any:
    """Ask a node for the state of one of its processes, without reserving resources."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    there = NodeAffinitySchedulingStrategy(node, soft=False)
    task = ray.remote(num_cpus=0, max_retries=0)(state_of)
    return task.options(scheduling_strategy=there).remote(process)


_CAUSE = re.compile(r"Worker exit type: (\S+) Worker exit detail: (.*?)(?= Some common causes|$)")


def reason(error: Exception) -> str:
    """Return the reason why a worker was lost, given Ray's error."""
    cause = getattr(error, "cause", None)
    if isinstance(cause, BaseException):
        return f"its worker was ended by {type(cause).__name__}: {cause}".rstrip(": ")
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if found := _CAUSE.search(" ".join(lines)):
        return f"its worker process died ({found[1]}): {found[2]}"
    return lines[0] if lines else type(error).__name__


HEAD_CHECK_INTERVAL = 3.0
"""Seconds between checks."""

HEAD_LOST = 30.0
"""Seconds that the head may be silent; after 60 s Ray itself ends this whole process."""


class ClusterMonitor:
    """The state of the cluster of a study.

    Parameters
    ----------
    cluster
        The cluster.
    workers
        Requested number of workers; None for as many as fit on the current nodes.
    needs
        Resources of each worker, under Ray's names.

    Attributes
    ----------
    size
        Current target number of workers.
    head_lost
        Whether the head of the cluster is lost.

    Raises
    ------
    ResourcesError
        If the workers do not fit.
    """

    def __init__(
        self, cluster: Cluster, workers: int | None, needs: Mapping[str, float], now: float
    ) -> None:
        self._cluster = cluster
        self._workers = workers
        self._needs = needs
        self._due = now + HEAD_CHECK_INTERVAL
        self._unheard = 0.0
        self.head_lost = False
        self.size = fitting_workers(workers, needs, cluster.nodes())

    def check(self, now: float) -> None:
        """Check the cluster at `now` (seconds) if a check is due.

        Raises
        ------
        BackendError
            If the head has been silent for too long.
        """
        if now < self._due:
            return
        self._due = now + HEAD_CHECK_INTERVAL
        if not self._cluster.head_answers():
            # Count checks, not time: this process may itself have been suspended.
            self._unheard += HEAD_CHECK_INTERVAL
            if self._unheard > HEAD_LOST:
                self.head_lost = True
                raise BackendError(
                    f"the head of the Ray cluster at {self._cluster.head} has not answered for "
                    f"{HEAD_LOST:g} s; finished trials are recorded; when the "
                    f"cluster is back, repeat the call to continue the study"
                )
            return
        self._unheard = 0.0
        if self._workers is None:
            # If no node can host a worker, missing workers wait for a new node.
            with suppress(ResourcesError):
                self.size = fitting_workers(None, self._needs, self._cluster.nodes())
