"""The records: everything that crosses a process, a socket or the store is one of these.

All are frozen dataclasses with slots. `Record.to_json` gives plain JSON values, `from_json`
builds the record again: ``R.from_json(r.to_json()) == r`` for every record here. Times are
seconds since the epoch (UTC), durations are seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeAlias

from tuner.records.estimate import ValueEstimate as ValueEstimate
from tuner.records.failure import NOT_SAVED as NOT_SAVED
from tuner.records.failure import Failure as Failure
from tuner.records.json_form import Params as Params
from tuner.records.json_form import Record as Record
from tuner.records.json_form import decode_params as decode_params
from tuner.records.json_form import encode_params as encode_params
from tuner.signatures import Signature


class State(StrEnum):
    """State of a trial or a run."""

    WAITING = "waiting"
    RUNNING = "running"
    COMPLETED = "completed"
    STOPPED = "stopped"
    FAILED = "failed"

    @property
    def finished(self) -> bool:
        """Whether the outcome is final."""
        return self in (State.COMPLETED, State.STOPPED, State.FAILED)


class Direction(StrEnum):
    """Direction in which a metric is optimized."""

    MINIMIZE = "minimize"
    MAXIMIZE = "maximize"

    @property
    def sign(self) -> int:
        """The factor that turns the metric into a loss: 1 to minimize, -1 to maximize."""
        return 1 if self is Direction.MINIMIZE else -1

    def better(self, a: float, b: float) -> bool:
        """Whether `a` is strictly better than `b`."""
        return self.sign * a < self.sign * b


@dataclass(frozen=True, slots=True)
class Goal(Record):
    """One metric to be optimized."""

    metric: str = "value"
    direction: Direction = Direction.MINIMIZE

    def __str__(self) -> str:
        return f"{self.direction} {self.metric}"


@dataclass(frozen=True, slots=True)
class OutcomeConstraint(Record):
    """A constraint that a trial's metric must satisfy for the trial to be feasible.

    `operator` is ``"<="`` or ``">="``, `bound` finite.

    Examples
    --------
    >>> OutcomeConstraint("latency", "<=", 0.1).violation(0.25)
    0.15
    """

    metric: str
    operator: str
    bound: float

    def violation(self, value: float) -> float:
        """Return how far `value` is on the wrong side of the bound; 0 or less if it is not."""
        return value - self.bound if self.operator == "<=" else self.bound - value

    def __str__(self) -> str:
        return f"{self.metric} {self.operator} {self.bound!r}"


SYSTEM = "system/"
"""Prefix of the names of system metrics: CPU, memory and GPU use of a run."""


@dataclass(frozen=True, slots=True)
class Report(Record):
    """Metrics of a running trial at one step (epoch, iteration, fold, ...), counted from 0."""

    step: int
    metrics: dict[str, float]


@dataclass(frozen=True, slots=True)
class Outcome(Record):
    """Outcome of a run: `state` is COMPLETED, STOPPED or FAILED, `metrics` are final.

    `error` is the reason of a failure. In another state it names what the objective logged and was
    not saved, such as a model. `constraints` has a value for each outcome constraint: 0 or less if
    satisfied. `notes` are those that the objective set.
    """

    state: State
    metrics: dict[str, float] = field(default_factory=dict)
    error: Failure | None = None
    constraints: dict[str, float] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Trial(Record):
    """One point of a study.

    `number` counts from 0. `values` holds one value per goal of the study, in their order, once
    the trial has completed (for a stopped trial, the last reported ones; empty without reports).
    `seed` is the trial's own, derived from the study's. `attempts` counts the runs so far.
    `metrics` may hold NaN and infinities, `values` are finite. `error` is the reason of a failure;
    in another state it names what was not saved, such as a model. `notes` holds small JSON values
    about the trial, set by its objective or afterwards. `constraints` has a value for each outcome
    constraint: 0 or less if satisfied.
    """

    number: int
    params: Params
    state: State = State.WAITING
    values: tuple[float, ...] = ()
    metrics: dict[str, float] = field(default_factory=dict)
    error: Failure | None = None
    seed: int = 0
    attempts: int = 0
    started: float | None = None
    ended: float | None = None
    notes: dict[str, Any] = field(default_factory=dict)
    constraints: dict[str, float] = field(default_factory=dict)

    @property
    def feasible(self) -> bool:
        """Whether every outcome constraint is satisfied."""
        return all(value <= 0.0 for value in self.constraints.values())

    @property
    def eligible(self) -> bool:
        """Whether it can be a study's best: completed and feasible."""
        return self.state is State.COMPLETED and bool(self.values) and self.feasible

    @property
    def value(self) -> float | None:
        """The value of the first goal, or None."""
        return self.values[0] if self.values else None

    @property
    def duration(self) -> float | None:
        """Seconds from start to end, None if not ended."""
        return None if self.started is None or self.ended is None else self.ended - self.started


REPLAY = "replay"
"""Name of the worker of a replay, which is the process that asked for it."""


class RunPurpose(StrEnum):
    """The reason for a run of a trial.

    An attempt gives the trial its outcome. A replay runs a finished trial again with its own seed,
    to compare the metrics. A repeat runs it under a fresh seed, to measure the noise of its value.
    """

    ATTEMPT = "attempt"
    REPLAY = "replay"
    REPEAT = "repeat"


@dataclass(frozen=True, slots=True)
class Run(Record):
    """One execution of a trial, tracked.

    `uid` is a UUIDv7 in hex, unique everywhere; it is also the token that an outcome must carry.
    `attempt` counts the runs of the trial from 1. `seed` is that of a repeat; None stands for the
    seed of the trial. `environment` and `code` are the keys of the
    recorded `Environment` and `Code`.
    """

    uid: str
    trial: int
    attempt: int = 1
    state: State = State.RUNNING
    metrics: dict[str, float] = field(default_factory=dict)
    error: Failure | None = None
    worker: str = ""
    host: str = ""
    pid: int | None = None
    started: float | None = None
    ended: float | None = None
    output: str = ""
    environment: str = ""
    code: str = ""
    purpose: RunPurpose = RunPurpose.ATTEMPT
    seed: int | None = None

    @property
    def duration(self) -> float | None:
        """Seconds from start to end, None if not ended."""
        return None if self.started is None or self.ended is None else self.ended - self.started

    @property
    def is_attempt(self) -> bool:
        """Whether this run counts for the outcome of its trial."""
        return self.purpose is RunPurpose.ATTEMPT

    @property
    def title(self) -> str:
        """The number of the run, and its purpose unless it is an attempt: ``"2 (repeat)"``."""
        return f"{self.attempt}" if self.is_attempt else f"{self.attempt} ({self.purpose})"

    @property
    def is_replay(self) -> bool:
        """Whether this is a replay of a finished trial."""
        return self.purpose is RunPurpose.REPLAY


@dataclass(frozen=True, slots=True)
class Checkpoint(Record):
    """A checkpoint of an earlier attempt, in a `folder` that the reader can reach.

    `sha256` covers every file's relative path and content; `size` is their sum in bytes.
    """

    folder: str
    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class Job(Record):
    """A unit of work for a backend: one attempt of a trial under the token `run`.

    `timeout` is how many seconds the attempt may take, None for no limit. `checkpoint` is what to
    go on from: a folder on the driver's machine, which the backend brings to the worker's.
    """

    run: str
    trial: Trial
    attempt: int = 1
    timeout: float | None = None
    checkpoint: Checkpoint | None = None


@dataclass(frozen=True, slots=True)
class Begun(Record):
    """Start of a job on a worker."""

    worker: str
    host: str
    pid: int
    time: float


@dataclass(frozen=True, slots=True)
class Output(Record):
    """The captured output of a run, capped; `time` is when the run ended."""

    text: str
    time: float


@dataclass(frozen=True, slots=True)
class Upload(Record):
    """An artifact on its way from a worker to the store: relative paths and their bytes.

    `kind` is ``"file"`` or ``"model"``. `format` names the `ModelFormat` of a model; `signature` is
    None or its signature.
    """

    name: str
    files: dict[str, bytes]
    kind: str = "file"
    format: str = ""
    signature: Signature | None = None


@dataclass(frozen=True, slots=True)
class CheckpointPart(Record):
    """A part of a checkpoint on its way to the driver: the next bytes of the file at `path`.

    `number` counts the checkpoints of the run.
    """

    number: int
    path: str
    data: bytes


@dataclass(frozen=True, slots=True)
class CheckpointEnd(Record):
    """A run has sent all parts of its checkpoint of that `number`; see `Checkpoint`."""

    number: int
    sha256: str
    size: int


Message: TypeAlias = Begun | Report | Output | Upload | CheckpointPart | CheckpointEnd
"""Messages of a worker during a job."""


@dataclass(frozen=True, slots=True)
class Artifact(Record):
    """A file or model that a run kept.

    `path` is relative to the artifact folder of the store. `sha256` covers every file's relative
    path and content; `size` is their sum in bytes. `signature` is the signature that the model was
    logged with.
    """

    name: str
    run: str
    path: str
    sha256: str
    size: int
    kind: str = "file"
    format: str = ""
    signature: Signature | None = None


@dataclass(frozen=True, slots=True)
class Code(Record):
    """The code of a run: git commit, the diff of a dirty tree, the objective and its hash."""

    commit: str = ""
    diff: str = ""
    objective: str = ""
    source: str = ""
    source_sha256: str = ""


@dataclass(frozen=True, slots=True)
class Environment(Record):
    """Python, platform and the versions of the installed packages."""

    python: str
    platform: str
    packages: dict[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        found = f"{len(self.packages)} packages"
        return f"Environment({self.python!r}, {self.platform!r}, {found})"


@dataclass(frozen=True, slots=True)
class StudyInfo(Record):
    """The properties of a study, most of them set when it is created.

    `space` is the space as JSON values. `optimizer` describes the optimizer and the reason for its
    choice. `data` is the fingerprint of the data, empty without data. `uid` is a UUIDv7 in hex.
    `constraints` apply to metrics; the objective may report further ones. `warm_start_trials` are
    trials of other studies that the optimizer learned from, numbered up to -1. `user` is the
    creator, empty if unknown. `notes` are small JSON values. `archived` and `deleted` are the times
    at which it was, in seconds since the epoch, None if it is not. Of a deleted study, only the
    trials of registered model versions remain.
    """

    uid: str
    name: str
    space: dict[str, Any]
    fingerprint: str
    goals: tuple[Goal, ...]
    seed: int
    created: float
    optimizer: dict[str, Any] = field(default_factory=dict)
    data: str = ""
    tags: dict[str, str] = field(default_factory=dict)
    constraints: tuple[OutcomeConstraint, ...] = ()
    warm_start_trials: tuple[Trial, ...] = ()
    user: str = ""
    notes: dict[str, Any] = field(default_factory=dict)
    archived: float | None = None
    deleted: float | None = None

    @property
    def goal(self) -> Goal:
        """The first goal."""
        return self.goals[0]


@dataclass(frozen=True, slots=True)
class ModelVersion(Record):
    """A registered model version with its lineage.

    `version` counts from 1 within `name`. `artifact` is None for a version that holds the best
    configuration only. `aliases` are the aliases that point here at the time of reading. `note`
    says why the rules did not give an alias to the version when it was registered. `estimate` is
    the estimate of the true value of the trial, None if there is none. `signature` is that of the
    model, None if it was registered without an example.
    """

    name: str
    version: int
    study: str
    trial: int
    run: str
    params: Params
    goal: Goal
    value: float
    created: float
    artifact: Artifact | None = None
    code: str = ""
    environment: str = ""
    data: str = ""
    aliases: tuple[str, ...] = ()
    note: str = ""
    estimate: ValueEstimate | None = None
    tags: dict[str, str] = field(default_factory=dict)
    description: str = ""
    signature: Signature | None = None
