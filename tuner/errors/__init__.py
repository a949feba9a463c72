"""Every exception that `tuner` raises on purpose, one type per cause.

::

    TunerError
    ├── SpaceError              an invalid search space (ValueError)
    │   └── InvalidParams       params outside their space; names path, value and allowed values
    ├── ArgumentError           a wrong argument of a public call (ValueError)
    │   ├── UnknownOptimizer    no optimizer of that name; suggests similar names
    │   ├── ObjectiveError      an objective that cannot be called or shipped
    │   ├── SignatureError      data that does not match the signature of a model
    │   └── QueryError          a query that cannot be parsed or names an unknown field
    ├── BackendError            trials cannot be run
    │   └── ResourcesError      the cluster can never satisfy the request
    ├── StudyError              a study that cannot continue
    │   ├── StudyNotFound       no study of that name in this store (LookupError)
    │   ├── StudyExists         a study of that name exists already
    │   │   └── StudyJustCreated another process created it while this call started
    │   ├── StudyMismatch       the same name, but another space, direction or seed
    │   ├── StudyBusy           another driver holds it; names its process and host
    │   ├── StudyTakenOver      another driver has taken it from this one
    │   ├── NoCompletedTrial    asked for the best trial before one has completed (LookupError)
    │   │   └── NoFeasibleTrial every completed trial breaks an outcome constraint
    │   ├── SeveralGoals        asked for the best trial of a study with several goals
    │   ├── TrialFinished       told an outcome twice
    │   └── AllTrialsFailed     the first trials of a call all failed for the same reason
    ├── StoreError              the record of runs cannot be read or written
    │   ├── StoreCorrupt        the file is not a tuner store, or is damaged
    │   ├── StoreReadOnly       the store cannot be written
    │   ├── StoreRefused        values that the store cannot hold, such as a number of 65 bits
    │   ├── StoreUnavailable    temporarily not writable: unreachable, locked, or disk full
    │   └── StoreVersion        the store's schema is newer or older than this code
    ├── RegistryError           a model that cannot be registered or found
    │   ├── ModelNotFound       no such name, version or alias (LookupError)
    │   ├── ModelInUse          the champion, which is only deleted on demand
    │   ├── PromotionRefused    the rules of a model do not give a version the alias
    │   ├── UntrustedModel      loading would need code that was not allowed
    │   └── ChecksumMismatch    an artifact differs from its recorded checksum
    │       └── ArtifactMissing its files are not where this process looks for them
    ├── TrialStopped            leaves an objective, whose trial ends as stopped
    ├── ExportError             a table or file that cannot be exported
    ├── ForeignRecordError      records of another tool that cannot be read
    └── MissingExtra            an optional dependency is not installed (ImportError)

A message names the value, the place and the remedy. Credentials in it are hidden.

A call that goes on without something it was given warns with `TunerWarning`.
"""

from __future__ import annotations

from typing import Any

from tuner.errors.credentials import hide


class TunerError(Exception):
    """Base class of all exceptions of `tuner`; credentials in messages are hidden."""

    def __init__(self, *args: object) -> None:
        super().__init__(*(hide(arg) if isinstance(arg, str) else arg for arg in args))


class SpaceError(TunerError, ValueError):
    """An invalid search space; the message names the path and the remedy."""


class InvalidParams(SpaceError):
    """Params that are not a point of their space."""


class ArgumentError(TunerError, ValueError):
    """A wrong argument of a public call."""


class UnknownOptimizer(ArgumentError):
    """No optimizer has that name."""


class ObjectiveError(ArgumentError):
    """An objective that cannot be called, or cannot be shipped to a worker."""


class SignatureError(ArgumentError):
    """Data that does not match the signature of a model.

    Attributes
    ----------
    column : str
        Name of the column, empty if the data has no columns or the error is not about one.
    row : int or None
        Index of the first row with the error, from 0.
    value : str
        Representation of the refused value, empty if a column is missing or unknown.
    allowed : str
        The allowed values in words.
    """

    def __init__(
        self,
        message: str,
        *,
        column: str = "",
        row: int | None = None,
        value: str = "",
        allowed: str = "",
    ) -> None:
        super().__init__(message)
        self.column, self.row, self.value, self.allowed = column, row, value, allowed


class QueryError(ArgumentError):
    """A query that cannot be parsed or names an unknown field.

    Attributes
    ----------
    query : str
        The text.
    position : int
        Index of the character at which the error occurs, from 0.
    problem : str
        The error at that position, and the expected text.
    """

    def __init__(self, query: str, position: int, problem: str) -> None:
        self.query, self.position, self.problem = query, position, problem
        super().__init__(query, position, problem)

    def __str__(self) -> str:
        begin = max(0, self.position - 60)
        shown = "".join(
            c if c.isprintable() else " " for c in self.query[begin : self.position + 40]
        )
        return f"query: {self.problem}\n  {shown}\n  {' ' * (self.position - begin)}^"


class BackendError(TunerError, RuntimeError):
    """Trials cannot be run on this backend."""


class ResourcesError(BackendError):
    """A resource request that the machine or cluster can never satisfy."""


class StudyError(TunerError, RuntimeError):
    """A study that cannot continue."""


class StudyNotFound(StudyError, LookupError):
    """No study of that name is in this store."""


class StudyExists(StudyError):
    """A study of that name is in this store already."""


class StudyJustCreated(StudyExists):
    """Another process created a study of that name while this call prepared to create it."""


class StudyMismatch(StudyError):
    """A study of that name has another space, direction or seed."""


class StudyBusy(StudyError):
    """Another driver holds the study; the message names its process and host."""


class StudyTakenOver(StudyError):
    """Another driver has taken the study from this one, whose writes are refused since."""


class NoCompletedTrial(StudyError, LookupError):
    """The best trial was requested before any trial completed."""


class NoFeasibleTrial(NoCompletedTrial):
    """The best trial was requested, and every completed trial violates a constraint."""


class SeveralGoals(StudyError):
    """The best trial of a study with several goals was requested."""


class TrialFinished(StudyError):
    """A trial was told an outcome after it had one."""


class AllTrialsFailed(StudyError):
    """The first trials of a call all failed for the same reason."""


class StoreError(TunerError, RuntimeError):
    """The record of runs cannot be read or written."""


class StoreCorrupt(StoreError):
    """The file is not a tuner store, or is damaged."""


class StoreReadOnly(StoreError):
    """The store cannot be written."""


class StoreRefused(StoreError):
    """Values that the store cannot hold: too large, too long, or of an unknown type."""


class StoreUnavailable(StoreError):
    """The store is temporarily not writable: unreachable, locked, or its disk is full."""


class StoreVersion(StoreError):
    """The store's schema does not match this version of the code."""


class RegistryError(TunerError, RuntimeError):
    """A model that cannot be registered or found."""


class ModelNotFound(RegistryError, LookupError):
    """No model of that name, version or alias is registered."""


class ModelInUse(RegistryError):
    """The champion of a model is to be deleted, and the call does not force it."""


class PromotionRefused(RegistryError):
    """The rules of a model do not give an alias to a version, and the call does not force it.

    Attributes
    ----------
    decision : tuner.registry.decisions.Decision or None
        The decision of the rules; its `reasons` are the conditions that the version does not meet.
    """

    def __init__(self, message: str, decision: Any = None) -> None:
        super().__init__(message)
        self.decision = decision


class UntrustedModel(RegistryError):
    """Loading the model would need types or code that were not allowed.

    Attributes
    ----------
    importable : bool
        Whether the types and the code are here, so that the model loads if they are allowed.
    """

    def __init__(self, *args: object, importable: bool = True) -> None:
        super().__init__(*args)
        self.importable = importable


class ChecksumMismatch(RegistryError):
    """A stored artifact differs from its recorded checksum."""


class ArtifactMissing(ChecksumMismatch):
    """An artifact's files are not in the artifact folder of this process, or are gone."""


class TrialStopped(TunerError):
    """Leaves an objective from any depth: the trial ends as stopped, with its last report.

    `LiveTrial.stop` raises it; an objective may raise it, too.
    """


class ExportError(TunerError, ValueError):
    """A table or file that cannot be exported."""


class ForeignRecordError(TunerError, ValueError):
    """Records of another tool that cannot be read."""


class MissingExtra(TunerError, ImportError):
    """An optional dependency is not installed; the message names the extra."""


class TunerWarning(UserWarning):
    """A call does less than it was asked to; the message names the omitted part and the reason."""


class ControlException(BaseException):
    """Raised in a job that must not go on, by the backend that runs it; never leaves that backend.

    It is neither an outcome of the job nor an error: work lets it pass, and the backend handles it.
    """


NOT_OUTCOMES = (ControlException, KeyboardInterrupt)
"""The exceptions that pass through a trial. Every other one that an objective raises fails it."""
