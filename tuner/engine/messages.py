"""Inputs and outputs of the state machine: events and commands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from tuner.backends.protocol import Event as BackendEvent
from tuner.records import (
    CheckpointEnd,
    CheckpointPart,
    Job,
    Outcome,
    Params,
    Report,
    Run,
    Trial,
    Upload,
)

# --- events --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Opened:
    """The backend is ready: jobs that run at once now, and when all workers are ready."""

    capacity: int
    size: int


@dataclass(frozen=True, slots=True)
class Suggested:
    """The optimizer's answer to an `Ask`."""

    points: Sequence[Params]


@dataclass(frozen=True, slots=True)
class Tick:
    """All current events have been handled: check deadlines and fill free workers."""


@dataclass(frozen=True, slots=True)
class AskRequested:
    """The user asks for `n` trials in a manual loop, regardless of the capacity."""

    n: int


@dataclass(frozen=True, slots=True)
class Interrupted:
    """End now: running trials are abandoned and stay open, so that a later call runs them again."""

    reason: str


@dataclass(frozen=True, slots=True)
class StopRequested:
    """Start no more trials; running ones continue to their end."""

    reason: str


Event: TypeAlias = (
    Opened | Suggested | Tick | AskRequested | Interrupted | StopRequested | BackendEvent
)


# --- commands ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask the optimizer for `n` points."""

    n: int


@dataclass(frozen=True, slots=True)
class Launch:
    """Record the attempt, then submit the job.

    If the job waits in a queue, `queued` is the trial to record instead: the attempt is recorded
    once a worker begins it.
    """

    job: Job
    run: Run
    queued: Trial | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """Write the new state of a trial or a run."""

    trial: Trial | None = None
    run: Run | None = None


@dataclass(frozen=True, slots=True)
class RecordReport:
    """Write a report of a run."""

    run: str
    report: Report


@dataclass(frozen=True, slots=True)
class SaveArtifact:
    """Store an artifact of a run."""

    run: str
    upload: Upload


@dataclass(frozen=True, slots=True)
class SaveCheckpoint:
    """Store a part of a checkpoint; `CheckpointEnd` completes it."""

    trial: int
    run: str
    piece: CheckpointPart | CheckpointEnd


@dataclass(frozen=True, slots=True)
class Tell:
    """Tell the outcome of a trial to the optimizer and the callbacks, once."""

    trial: Trial
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Stop:
    """Ask a job to end soon, or kill it."""

    run: str
    kill: bool = False


@dataclass(frozen=True, slots=True)
class DropStale:
    """Drop an outcome that arrived for a run that is not active."""

    run: str
    outcome: Outcome


class End(StrEnum):
    """The loop of the study ended, for this reason."""

    BUDGET = "finished"
    TIMEOUT = "timeout"
    STOPPED = "stopped"
    INTERRUPTED = "interrupted"
    ALL_FAILED = "all failed"
    EXHAUSTED = "every point was tried"


Command: TypeAlias = (
    Ask
    | Launch
    | Record
    | RecordReport
    | SaveArtifact
    | SaveCheckpoint
    | Tell
    | Stop
    | DropStale
    | End
)
