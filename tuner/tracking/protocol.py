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

    The same trial or run may appear more than once: the last one wins, but a finished trial or run
    never changes again.
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
    """Trials that are new or have changed since a reader's last call.

    Attributes
    ----------
    epoch
        The study's epoch, to be passed to `Store.write_at`. None while a driver holds the study, or
        may still write because its lease was never released: then trials change and the epoch
        does not.
    trials
        By number.
    """

    epoch: int | None
    trials: list[Trial]


@runtime_checkable
class Store(Protocol):
    """Short, typed, idempotent writes, in batches; reads that stream.

    ``tests/conformance/stores.py`` checks this contract. Writing the same batch twice leaves the
    same store. Each method may be called from any thread of the process.

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
        """Record a study, or return the existing one of the same name."""

    def update_study(self, info: StudyInfo) -> None:
        """Replace the mutable parts of a study: its optimizer, data fingerprint and tags."""

    def find_study(self, name: str) -> StudyInfo | None:
        """Return the study of that name, None if it does not exist."""

    def studies(self) -> Iterator[StudyInfo]:
        """Yield every study, oldest first."""

    def take_study(self, info: StudyInfo, holder: Holder, seconds: float) -> Lease:
        """Record a study if it does not exist, and make `holder` its writer.

        Raises
        ------
        StudyBusy
            If another driver holds it.
        StudyExists
            If another study has taken its name in the meantime.
        """

    def release_study(self, lease: Lease) -> None:
        """Release a study, unless another driver holds it by now."""

    def study_epoch(self, study: str) -> int:
        """Return the number of times the study was taken; see `write_at`."""

    def write(self, study: str, batch: Batch, lease: Lease | None = None) -> None:
        """Commit `batch` for the study with that uid, in one transaction.

        With a lease, commit only if the lease is still held, and renew it. An empty batch only
        renews the lease.

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
        """Commit `batch` if the study has not been taken since `epoch`, and return the next epoch.

        For callers that write occasionally and hold no lease in between. With `expected`, other
        drivers may have written, as long as each trial of the batch, by number, is in the expected
        state; None stands for a trial that does not exist.

        Raises
        ------
        StudyTakenOver
            If another driver has written since: read the changes and try again.
        StudyBusy
            If a driver holds the study.
        """

    def changes(self, study: str, after: int, known: Mapping[int, Place]) -> Changes:
        """Return the trials that are new to a reader; no others are read.

        Parameters
        ----------
        study
            Its uid.
        after
            The highest trial number that the reader knows.
        known
            The open trials that the reader knows, by number. Finished trials never change.
        """

    def write_on(
        self,
        study: str,
        after: int,
        known: Mapping[int, Place],
        holder: Holder,
        decide: Callable[[Changes], Batch],
    ) -> int:
        """Read the `changes`, and commit the batch that `decide` returns, in one transaction.

        The study stays locked meanwhile, so the write cannot be refused. Return the next epoch.

        Raises
        ------
        StudyBusy
            If a driver holds the study.
        """

    def turn(self, study: str) -> AbstractContextManager[None]:
        """Wait for this process's turn to ask for trials of a study: first come, first served.

        This is a courtesy that spares processes repeated work. A process that has died or hangs is
        skipped, so writes must still be checked.
        """

    def compact(self, study: str, runs: Sequence[str] | None = None) -> int:
        """Pack the reports of ended runs, all if None; return the number of metric values packed.

        Readers see no difference.
        """

    def trials(self, study: str, states: Sequence[State] | None = None) -> Iterator[Trial]:
        """Yield the trials of a study by number, only those in `states` if given."""

    def best_trials(self, study: str, direction: Direction) -> Generator[Trial, None, None]:
        """Yield the completed trials of a study that have a value, best first by their first value.

        Ties are ordered by number, earliest first.
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
        """Write an upload's files, checksum them, and return the artifact's record."""

    def read_artifact(self, artifact: Artifact) -> dict[str, bytes]:
        """Return an artifact's files by their relative paths, after verifying their checksum.

        Raises
        ------
        ChecksumMismatch
            If the files differ from the recorded ones in any byte.
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
