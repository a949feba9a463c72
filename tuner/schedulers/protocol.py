"""The `Scheduler` protocol: go on or stop."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol, runtime_checkable

from tuner.records import Goal, Outcome, Report, Trial


class Decision(StrEnum):
    """What becomes of a trial after a report."""

    CONTINUE = "continue"
    STOP = "stop"


@runtime_checkable
class Scheduler(Protocol):
    """Decides after each report whether a trial goes on.

    Like an optimizer, a scheduler is made with its own options, bound to a study by `reset`, and
    rebuilds its state from what it is told.
    """

    def reset(self, goals: Sequence[Goal]) -> None:
        """Begin a study with an empty history."""

    def on_report(self, trial: Trial, report: Report) -> Decision:
        """Return what becomes of `trial` after `report`; steps come in rising order."""

    def on_finish(self, trial: Trial, outcome: Outcome) -> None:
        """Take in that `trial` has ended and will report no more."""
