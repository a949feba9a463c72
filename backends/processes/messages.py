"""The messages between the driver and a worker process, in addition to the events of jobs."""

from __future__ import annotations

from dataclasses import dataclass

from tuner.backends.os_processes import ProcessIdentity


@dataclass(frozen=True, slots=True)
class LoadWork:
    """Load the work from the shared file; see `SharedFile` for the `parts`."""

    parts: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class RunJob:
    """Run a job, which is pickled: the worker reports params that it cannot load."""

    run: str
    job: bytes


@dataclass(frozen=True, slots=True)
class StopJob:
    """Ask a job to end soon."""

    run: str


@dataclass(frozen=True, slots=True)
class Loaded:
    """The worker is ready, unless there was a `problem` with the work."""

    process: ProcessIdentity
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Started:
    """The worker has taken the job that it was sent."""


@dataclass(frozen=True, slots=True)
class Leaving:
    """The worker starts no more jobs, not even one that it has been sent, for this reason."""

    reason: str
