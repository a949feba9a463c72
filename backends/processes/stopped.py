"""Detect worker processes that a signal has stopped, as by ``kill -STOP``."""

from __future__ import annotations

from collections.abc import Iterable

from tuner.backends.os_processes import ProcessState, state_of
from tuner.backends.processes.worker_handle import WorkerHandle

STOPPED = 10.0
"""Seconds that a busy worker may be stopped."""

STEP = 2.0
"""Maximum seconds counted between two checks: this process may itself have been stopped."""


class StoppedWorkerDetector:
    """Watches the busy workers of a pool."""

    def __init__(self) -> None:
        self._since: dict[WorkerHandle, float] = {}
        self._clock = 0.0
        self._last: float | None = None

    def check(self, workers: Iterable[WorkerHandle], now: float) -> list[WorkerHandle]:
        """Return the workers that have been stopped for too long at `now` (seconds)."""
        if self._last is not None:
            self._clock += min(now - self._last, STEP)
        self._last = now
        self._since = {
            worker: self._since.get(worker, self._clock)
            for worker in workers
            if worker.job is not None and state_of(worker.identity) is ProcessState.FROZEN
        }
        return [worker for worker, since in self._since.items() if self._clock - since > STOPPED]
