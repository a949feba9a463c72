"""Jobs that wait for a Ray worker, and how many of them go to one at once."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Sequence

from tuner.records import Job

PACKET = 1.0
"""Seconds of work that go to a worker at once: between two packets it idles for milliseconds."""

LARGEST = 64
"""Jobs in a packet, at most."""

MOVES = 3
"""How often a job's worker may die before any job of its packet has begun, until it is lost."""


class JobQueue:
    """Hands jobs out in packets of about `PACKET` seconds, going by how long the last ones took."""

    def __init__(self) -> None:
        self._jobs: deque[Job] = deque()
        self._moves: Counter[str] = Counter()
        self._pace = PACKET  # until more is known, one at a time

    def __len__(self) -> int:
        return len(self._jobs)

    def __contains__(self, run: str) -> bool:
        return any(job.run == run for job in self._jobs)

    def add(self, job: Job) -> None:
        """Put a job at the end."""
        self._jobs.append(job)

    def put_back(self, jobs: Sequence[Job]) -> None:
        """Put jobs at the front, in their order."""
        self._jobs.extendleft(reversed(jobs))

    def move(self, jobs: Iterable[Job]) -> list[Job]:
        """Put back a packet whose worker died before any of it began; return what is given up."""
        jobs = list(jobs)
        self._moves.update(job.run for job in jobs)
        self.put_back([job for job in jobs if self._moves[job.run] <= MOVES])
        return [job for job in jobs if self._moves[job.run] > MOVES]

    def remove(self, run: str) -> bool:
        """Take a job out; return whether it was there."""
        before = len(self._jobs)
        self._jobs = deque(job for job in self._jobs if job.run != run)
        return len(self._jobs) < before

    def learn(self, pace: float) -> None:
        """Take in how many seconds the jobs of a packet took each."""
        self._pace = 0.5 * self._pace + 0.5 * pace

    def next_packet(self, share: int) -> list[Job]:
        """Take out up to `share` jobs, at least one; one that may have killed a worker goes alone.

        Whatever made the attempt before fail must not hold up others.
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
        """Forget all jobs."""
        self._jobs.clear()
        self._moves.clear()
