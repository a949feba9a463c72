"""The `Backend` protocol: where trials run.

A backend is a transport. It carries jobs to workers and their messages back; it knows nothing of
the store, the optimizer or the study, and never decides whether something is tried again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias, runtime_checkable

from tuner.records import Job, Message, Outcome


class Channel(Protocol):
    """What a job has of the outside world while it runs in a worker."""

    worker: str
    """Name of the worker, unique within the study's backend."""

    def send(self, message: Message) -> None:
        """Send one message to the driver; order is kept, delivery may be batched."""

    def stop_requested(self) -> bool:
        """Whether the driver has asked this job to end soon."""


Work: TypeAlias = Callable[[Job, Channel], Outcome]
"""Runs one job in a worker. It raises nothing but `tuner.errors.NOT_OUTCOMES`."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A running job sent a message."""

    run: str
    message: Message


@dataclass(frozen=True, slots=True)
class Finished:
    """A job ended by itself; every message it sent has been delivered before."""

    run: str
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Lost:
    """A job's worker is gone, and its outcome with it; `reason` says what is known."""

    run: str
    reason: str


@dataclass(frozen=True, slots=True)
class Resized:
    """The backend can now run `capacity` jobs at once."""

    capacity: int


Event: TypeAlias = Sent | Finished | Lost | Resized


@runtime_checkable
class Backend(Protocol):
    """Runs jobs on workers and says what came of them.

    The contract, checked by ``tests/conformance/backends.py``: each submitted job gives exactly
    one `Finished` or `Lost`; its messages come before it, in order; a killed job is `Lost`; one
    worker's death touches no other job; after `close` no process or thread is left.
    """

    def start(
        self,
        work: Work,
        *,
        workers: int | None = None,
        resources: Mapping[str, float] | None = None,
        deliver: Callable[[Event], None] | None = None,
    ) -> None:
        """Get ready to run jobs.

        Parameters
        ----------
        work
            What runs a job; shipped to every worker once.
        workers
            How many jobs at once; None takes what the machine or cluster has.
        resources
            What each job needs, such as ``{"cpu": 0.5, "gpu": 1}``; None means one CPU.
        deliver
            A backend that runs jobs on the thread that calls `events` cannot return events while
            a job runs: it passes each `Sent` to `deliver` at once instead. Others ignore it.

        Raises
        ------
        ResourcesError
            If `workers` or `resources` can never be satisfied: what was asked, what is there.
        ObjectiveError
            If `work` cannot be shipped to, or loaded by, a worker.
        BackendError
            If the workers cannot be started.
        """

    @property
    def capacity(self) -> int:
        """How many jobs run at once; more may be submitted and wait their turn."""

    def submit(self, job: Job) -> None:
        """Queue a job; `events` tells what becomes of it."""

    def events(self, timeout: float | None) -> Sequence[Event]:
        """Wait up to `timeout` seconds (None: as long as it takes) and return what happened."""

    def stop(self, run: str, *, kill: bool = False) -> None:
        """Ask a job to end soon, or with `kill` end it now; an unknown `run` is ignored.

        A job that had not begun when it was killed is `Lost` as well.
        """

    def close(self) -> None:
        """End all workers and whatever was started; jobs that still run give no more events."""
