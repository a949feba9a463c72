"""The `Scheduler` protocol: continue, stop or pause a trial."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol, runtime_checkable

from tuner.records import Goal, Outcome, Report, Trial


class Decision(StrEnum):
    """The decision about a trial after a report."""

    CONTINUE = "continue"
    STOP = "stop"
    PAUSE = "pause"
    """End the run and free its worker; the trial may continue later from its checkpoint."""


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


@runtime_checkable
class PausingScheduler(Scheduler, Protocol):
    """A scheduler that pauses trials, and decides which of them continue.

    A trial that it pauses ends its run at the next `should_stop`, without an outcome. Its worker
    takes another trial. The trial continues as its next attempt, on any worker, from its last
    checkpoint, so its steps go on where the checkpoint was made.

    A trial without a checkpoint cannot continue. It is stopped instead, so `on_finish` is called
    for it; a scheduler learns from this call that the objective saves no checkpoints.

    If an attempt is lost with its worker, the next one reports steps again that followed its
    checkpoint.
    """

    def resume(self, paused: Sequence[Trial], n: int, new: int) -> Sequence[int]:
        """Return the numbers of paused trials that continue now.

        Parameters
        ----------
        paused
            The paused trials, by number.
        n
            The number of free workers, at least 1; at most so many trials may continue.
        new
            The number of new trials that the budget allows. The remaining workers get new trials.
            If neither a trial runs nor continues and `new` is 0, the search ends, and the paused
            trials are stopped.
        """
