"""Records that a store and its callers exchange: batches of writes, and changes of trials."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from tuner.records import Artifact, Report, Run, State, Trial


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


TrialStatus: TypeAlias = tuple[State, int]
"""The state of an open trial, and the number of its attempts."""


@dataclass(frozen=True, slots=True)
class Changes:
    """Trials that are new or have changed since a reader's last call.

    Attributes
    ----------
    epoch
        The study's epoch, to be passed to `Store.write_if_epoch`. None while a driver holds it, or
        may still write because its lease was never released: then trials change and the epoch
        does not.
    trials
        By number.
    """

    epoch: int | None
    trials: list[Trial]
