"""The queue of jobs for Ray workers, and the size of the batches."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Sequence

from tuner.records import Job

PACKET = 1.0
"""Seconds of work in one batch; a worker idles for milliseconds between two batches."""

LARGEST = 64
"""Maximum number of jobs in a batch."""

MOVES = 3
"""Number of times a worker may die before any job of its batch starts, until a job is lost."""


class JobQueue:
    """Returns jobs in batches of about `PACKET` seconds, estimated from recent durations."""

    def __init__(self) -> None:
        self._jobs: deque[Job] = deque()
        self._moves: Counter[str] = Counter()
        self._pace = PACKET  # one job at a time until a duration is known

    def __len__(self) -> int:
        return len(self._jobs)

    def __contains__(self, run: str) -> bool:
        return any(job.run == run for job in self._jobs)

    def add(self, job: Job) -> None:
        """Append a job."""
        self._jobs.append(job)

    def put_back(self, jobs: Sequence[Job]) -> None:
        """Put jobs at the front, in their order."""
        self._jobs.extendleft(reversed(jobs))

    def move(self, jobs: Iterable[Job]) -> list[Job]:
        """Requeue a batch whose worker died before any job started; return abandoned jobs."""
        jobs = list(jobs)
        self._moves.update(job.run for job in jobs)
        self.put_back([job for job in jobs if self._moves[job.run] <= MOVES])
        return [job for job in jobs if self._moves[job.run] > MOVES]

    def remove(self, run: str) -> bool:
        """Remove a job; return whether it was queued."""
        before = len(self._jobs)
        self._jobs = deque(job for job in self._jobs if job.run != run)
        return len(self._jobs) < before

    def learn(self, pace: float) -> None:
        """Update the estimate with the seconds per job of a batch."""
        self._pace = 0.5 * self._pace + 0.5 * pace

    def next_packet(self, share: int) -> list[Job]:
        """Return up to `share` jobs, at least one; a job that may have killed a worker runs alone.

        The cause of an earlier failure must not delay other jobs.
        """
        size = max(1, min(share, LARGEST, int(PACKET / max(self._pace, 1e-6))))
        packet = [self._jobs.popleft()]
        while self._jobs and len(packet) < size and not self._is_suspect(packet[0]):
            if self._is_suspect(self._jobs[0]):
                break
            packet.append(self._jobs.popleft())
        return packet

    def _is_suspect(self, job: Job) -> bool:
        return job.attempt > 1 or job.run in self._moves

    def clear(self) -> None:
        """Drop all jobs."""
        self._jobs.clear()
        self._moves.clear()
