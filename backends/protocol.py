"""The `Backend` protocol: run trials on workers.

A backend is a transport. It carries jobs to workers and messages back. It does not know the store,
the optimizer or the study, and never decides about retries.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias, runtime_checkable

from tuner.records import Failure, Job, Message, Outcome, State


class Channel(Protocol):
    """The connection of a running job to the driver."""

    worker: str
    """Name of the worker, unique within the study's backend."""

    def send(self, message: Message) -> None:
        """Send one message to the driver; order is preserved, delivery may be batched."""

    def stop_requested(self) -> bool:
        """Whether the driver has asked this job to end soon."""


Work: TypeAlias = Callable[[Job, Channel], Outcome]
"""Runs one job in a worker. It raises only `tuner.errors.NOT_OUTCOMES`."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A running job sent a message."""

    run: str
    message: Message


@dataclass(frozen=True, slots=True)
class Finished:
    """A job ended by itself; all its messages have been delivered before this event."""

    run: str
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Lost:
    """A job's worker died and the outcome is lost; `reason` describes the known cause."""

    run: str
    reason: str


@dataclass(frozen=True, slots=True)
class Resized:
    """The backend can now run `capacity` jobs at once."""

    capacity: int


Event: TypeAlias = Sent | Finished | Lost | Resized


@runtime_checkable
class Backend(Protocol):
    """Runs jobs on workers and reports their events.

    `tuner.testing.BackendConformance` tests the contract: each submitted job yields exactly one
    `Finished` or `Lost`; its messages arrive before that, in order; a killed job is `Lost`; the
    death of a worker affects no other job; after `close`, no process or thread remains.
    """

    def start(
        self,
        work: Work,
        *,
        workers: int | None = None,
        resources: Mapping[str, float] | None = None,
        deliver: Callable[[Event], None] | None = None,
    ) -> None:
        """Prepare to run jobs.

        Parameters
        ----------
        work
            The callable that runs a job; shipped to every worker once.
        workers
            Number of concurrent jobs; None uses the whole machine or cluster.
        resources
            Resources of each job, such as ``{"cpu": 0.5, "gpu": 1}``; None means one CPU.
        deliver
            A backend that runs jobs on the thread that calls `events` cannot return events while
            a job runs: it passes each `Sent` to `deliver` immediately instead. Others ignore it.

        Raises
        ------
        ResourcesError
            If `workers` or `resources` can never be satisfied; the message names both amounts.
        ObjectiveError
            If `work` cannot be shipped to, or loaded by, a worker.
        BackendError
            If the workers cannot be started.
        """

    @property
    def capacity(self) -> int:
        """Number of jobs that run at once now; further submitted jobs are queued."""

    @property
    def size(self) -> int:
        """Number of jobs that run at once when all workers are ready; known after `start`."""

    def submit(self, job: Job) -> None:
        """Queue a job; `events` reports its progress and end."""

    def events(self, timeout: float | None) -> Sequence[Event]:
        """Wait up to `timeout` seconds (None: no limit) and return the new events."""

    def stop(self, run: str, *, kill: bool = False) -> None:
        """Ask a job to end soon, or with `kill` end it now; an unknown `run` is ignored.

        A job that is killed before it starts is `Lost` as well.
        """

    def close(self) -> None:
        """End all workers and everything else that was started; running jobs yield no events."""


def taken_back(run: str) -> Lost:
    """Return the end of a job that was killed before it began."""
    return Lost(run, "taken back before it began")


def timed_out(job: Job) -> Finished:
    """Return the end of a job that exceeded its time limit."""
    return Finished(job.run, Outcome(State.FAILED, error=overdue(job.timeout)))


def overdue(timeout: float | None) -> Failure:
    """Return the failure of a run that exceeded its time limit, in seconds."""
    limit = "it may" if timeout is None else f"trial_timeout={timeout:g} s"
    return Failure("Timeout", f"ran longer than {limit}")
