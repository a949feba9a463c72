"""`StudyRecord`: the part of a study that a report reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from tuner.records import Goal, Report, Run, StudyInfo, Trial
from tuner.search_spaces import Space

if TYPE_CHECKING:
    from tuner.plotting import Plots
    from tuner.tracking.store import Store


class StudyRecord(Protocol):
    """A recorded study, as `tuner.Study` provides it."""

    store: Store

    @property
    def info(self) -> StudyInfo:
        """The study's record."""

    @property
    def name(self) -> str:
        """The name of the study."""

    @property
    def space(self) -> Space:
        """The search space."""

    @property
    def goals(self) -> tuple[Goal, ...]:
        """The goals."""

    @property
    def trials(self) -> list[Trial]:
        """All trials, by number."""

    @property
    def best_trials(self) -> list[Trial]:
        """The trials with the best value, or the Pareto front."""

    @property
    def plot(self) -> Plots:
        """The plots."""

    def runs(self, trial: int | None = None) -> list[Run]:
        """Return the runs."""

    def reports(self, trial: int | None = None) -> list[tuple[str, Report]]:
        """Return ``(run uid, report)`` by run and step."""

    def to_rows(self) -> list[dict[str, Any]]:
        """Return one flat dict per trial."""
