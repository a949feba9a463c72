"""The `Store` protocol: the record of studies, trials and runs."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeAlias, runtime_checkable

from tuner.records import (
    Artifact,
    Code,
    Direction,
    Environment,
    Report,
    Run,
    State,
    StudyInfo,
    Trial,
    Upload,
)
from tuner.tracking.lease import Holder, Lease


@dataclass(slots=True)
class Batch:
    """Writes for one study that are committed together, or not at all.

    The same trial or run may appear more than once: the last one wins, but a finished trial or
    run never changes again.
    """

    trials: list[Trial] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)
    reports: list[tuple[str, Report]] = field(default_factory=list)
    artifacts: list[Artifact] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.trials or self.runs or self.reports or self.artifacts)


Place: TypeAlias = tuple[State, int]
"""The state of an open trial, and the number of its attempts."""


@dataclass(frozen=True, slots=True)
class Changes:
    """Trials that are new or have changed since a reader last looked.

    Attributes
    ----------
    epoch
        The study's epoch, to be named the next time. None while a driver holds the study, or may
        still write as its lease was never given back: then trials change and the epoch does not.
    trials
        By number.
    """

    epoch: int | None
    trials: list[Trial]


@runtime_checkable
class Store(Protocol):
    """Short, typed, idempotent writes, in batches; reads that stream.

    The contract is checked by ``tests/conformance/stores.py``. Writing the same batch twice
    leaves the same store. Each method may be called from any thread of the process.

    Raises
    ------
    StoreError
        Every method, when the record cannot be read or written; see its subclasses.
    """

    url: str
    """The SQLAlchemy URL that opens this store again."""

    artifact_root: Path
    """The folder that holds the artifacts."""

    def create_study(self, info: StudyInfo) -> StudyInfo:
        """Record a study, or return the one that has its name already."""

    def update_study(self, info: StudyInfo) -> None:
        """Replace what may change about a study: its optimizer, data fingerprint and tags."""

    def find_study(self, name: str) -> StudyInfo | None:
        """Return the study of that name, None if there is none."""

    def studies(self) -> Iterator[StudyInfo]:
        """Yield every study, oldest first."""

    def take_study(self, info: StudyInfo, holder: Holder, seconds: float) -> Lease:
        """Record a study if it is not there, and make `holder` the one who writes it.

        Raises
        ------
        StudyBusy
            If another driver holds it.
        StudyExists
            If another study has got its name meanwhile.
        """

    def release_study(self, lease: Lease) -> None:
        """Give a study back, unless another driver has it by now."""

    def study_epoch(self, study: str) -> int:
        """Return how often the study was taken; see `write_at`."""

    def write(self, study: str, batch: Batch, lease: Lease | None = None) -> None:
        """Commit `batch` for the study with that uid, in one transaction.

        With a lease, only while it is still held, and it lasts from now on again; an empty batch
        does that alone.

        Raises
        ------
        StudyTakenOver
            If another driver holds the study: nothing is written.
        """

    def write_at(
        self,
        study: str,
        batch: Batch,
        epoch: int,
        holder: Holder,
        expected: Mapping[int, Place | None] | None = None,
    ) -> int:
        """Commit `batch` if nobody has taken the study since `epoch`, and return the next epoch.

        For who writes now and then and holds no lease between. With `expected`, others may have
        written if they left these trials, by number, as they are expected to be; None stands for
        a trial that is not there.

        Raises
        ------
        StudyTakenOver
            If another has written since: look again at what is there.
        StudyBusy
            If a driver holds the study.
        """

    def changes(
        self, study: str, epoch: int | None, after: int, known: Mapping[int, Place]
    ) -> Changes:
        """Return the trials that a reader does not know yet; it reads no others.

        Parameters
        ----------
        study
            Its uid.
        epoch
            The epoch of the last answer; if it still is that, nothing has changed. None looks.
        after
            The highest number that the reader knows.
        known
            The open trials that it knows, by number. Finished ones never change.
        """

    def write_on(
        self,
        study: str,
        after: int,
        known: Mapping[int, Place],
        holder: Holder,
        decide: Callable[[Changes], Batch],
    ) -> int:
        """Read the `changes`, and commit what `decide` makes of them, in one transaction.

        Nobody else writes the study meanwhile, so it cannot be refused; return the next epoch.

        Raises
        ------
        StudyBusy
            If a driver holds the study.
        """

    def turn(self, study: str) -> AbstractContextManager[None]:
        """Wait for our turn to ask for trials of a study: first come, first served.

        A courtesy that spares those who ask the work of doing it again. Nobody waits for a process
        that has died or does not go on, so what is written must still be checked.
        """

    def compact(self, study: str, runs: Sequence[str] | None = None) -> int:
        """Pack the reports of runs that have ended, all if None; return how many metrics' values.

        Readers see no difference.
        """

    def trials(self, study: str, states: Sequence[State] | None = None) -> Iterator[Trial]:
        """Yield the trials of a study by number, only those in `states` if given."""

    def best_trials(self, study: str, direction: Direction) -> Generator[Trial, None, None]:
        """Yield the completed trials of a study that have a value, by their first one, best first.

        Of equals the earliest first.
        """

    def runs(self, study: str, trial: int | Sequence[int] | None = None) -> Iterator[Run]:
        """Yield the runs of a study, or of one or several trials of it, by trial and attempt."""

    def reports(
        self, study: str, trial: int | Sequence[int] | None = None
    ) -> Iterator[tuple[str, Report]]:
        """Yield ``(run uid, report)`` by run and step."""

    def artifacts(self, study: str, run: str | None = None) -> Iterator[Artifact]:
        """Yield the artifacts of a study, or of one run of it."""

    def put_artifact(self, run: str, upload: Upload) -> Artifact:
        """Write an upload's files, checksum them, and return what to record."""

    def read_artifact(self, artifact: Artifact) -> dict[str, bytes]:
        """Return an artifact's files by their relative paths, once their checksum is verified.

        Raises
        ------
        ChecksumMismatch
            If they are not byte for byte what was recorded.
        """

    def put_code(self, code: Code) -> str:
        """Record `code` once and return its key."""

    def get_code(self, key: str) -> Code:
        """Return the code with that key."""

    def put_environment(self, environment: Environment) -> str:
        """Record `environment` once and return its key."""

    def get_environment(self, key: str) -> Environment:
        """Return the environment with that key."""

    def close(self) -> None:
        """Release the connections; the store can be opened again by its URL."""
