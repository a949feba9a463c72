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

# --- what comes in --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Opened:
    """The backend is ready."""

    capacity: int


@dataclass(frozen=True, slots=True)
class Suggested:
    """The optimizer's answer to an `Ask`."""

    points: Sequence[Params]


@dataclass(frozen=True, slots=True)
class Tick:
    """All events of this moment have been handled: look at deadlines, fill free workers."""


@dataclass(frozen=True, slots=True)
class AskRequested:
    """Someone with a loop of their own wants `n` trials now, whatever the capacity."""

    n: int


@dataclass(frozen=True, slots=True)
class Interrupted:
    """End now: what runs is given up and stays open, so that a later call runs it again."""

    reason: str


@dataclass(frozen=True, slots=True)
class StopRequested:
    """Begin nothing more, let what runs come to its end."""

    reason: str


Event: TypeAlias = (
    Opened | Suggested | Tick | AskRequested | Interrupted | StopRequested | BackendEvent
)


# --- what goes out --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask the optimizer for `n` points."""

    n: int


@dataclass(frozen=True, slots=True)
class Launch:
    """Record the attempt, then submit the job."""

    job: Job
    run: Run


@dataclass(frozen=True, slots=True)
class Record:
    """Write what is new about a trial or a run."""

    trial: Trial | None = None
    run: Run | None = None


@dataclass(frozen=True, slots=True)
class RecordReport:
    """Write a report of a run."""

    run: str
    report: Report


@dataclass(frozen=True, slots=True)
class SaveArtifact:
    """Keep an artifact of a run."""

    run: str
    upload: Upload


@dataclass(frozen=True, slots=True)
class SaveCheckpoint:
    """Keep a piece of what a run saves to go on from, or all of it when that was the last."""

    trial: int
    run: str
    piece: CheckpointPart | CheckpointEnd


@dataclass(frozen=True, slots=True)
class Tell:
    """The trial has its outcome: tell the optimizer and whoever else listens, once."""

    trial: Trial
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Stop:
    """Ask a job to end soon, or end it."""

    run: str
    kill: bool = False


@dataclass(frozen=True, slots=True)
class DropStale:
    """The outcome of a run that is over, or was never begun, has come; it counts for nothing."""

    run: str
    outcome: Outcome


class End(StrEnum):
    """The study's loop is over; the value says why."""

    BUDGET = "finished"
    TIMEOUT = "timeout"
    STOPPED = "stopped"
    INTERRUPTED = "halted"
    ALL_FAILED = "all failed"


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
