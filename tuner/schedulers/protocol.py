"""The `Scheduler` protocol: continue or stop a trial."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol, runtime_checkable

from tuner.records import Goal, Outcome, Report, Trial


class Decision(StrEnum):
    """The decision about a trial after a report."""

    CONTINUE = "continue"
    STOP = "stop"


@runtime_checkable
class Scheduler(Protocol):
    """Decides after each report whether a trial continues.

    Like an optimizer, a scheduler is created with its own options and bound to a study by `reset`.
    Its state can be rebuilt from the reports and outcomes. `tuner.testing.SchedulerConformance`
    tests the contract.
    """

    def reset(self, goals: Sequence[Goal]) -> None:
        """Start a study with an empty history."""

    def on_report(self, trial: Trial, report: Report) -> Decision:
        """Decide about `trial` after `report`; steps arrive in ascending order."""

    def on_finish(self, trial: Trial, outcome: Outcome) -> None:
        """Record the end of `trial`; no further reports follow."""
