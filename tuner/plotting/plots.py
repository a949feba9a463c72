"""`Plots`: the plots of a study, one method each."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeAlias

from tuner.records import Goal, Report, Run, Trial
from tuner.search_spaces import Space

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Path: TypeAlias = str | os.PathLike[str]

KINDS = (
    "history",
    "parallel_coordinates",
    "importances",
    "slice",
    "contour",
    "learning_curves",
    "timeline",
    "pareto_front",
)
"""The names of the plots, as methods and on the command line."""


class Plots:
    """Draws the records of a study; the type of ``study.plot``.

    Each method reads the current records, draws on the axes `ax` or on a new figure, and returns
    the axes. `save` is the file for the figure: ``"plot.png"``, ``".pdf"``, ``".svg"``, ... An
    empty plot contains a message. In a study with several goals, the plots show the first goal.

    Parameters
    ----------
    space
        The space of the trials.
    goals
        The goals of the study.
    trials
        Returns the trials, by number.
    runs
        Returns the runs; None for a study without runs.
    reports
        Returns ``(run uid, report)`` by run and step; None for a study without reports.

    Examples
    --------
    >>> from tuner.records import State, Trial
    >>> from tuner.search_spaces import Float
    >>> trials = [Trial(i, {"x": i / 4}, State.COMPLETED, (i / 4,)) for i in range(4)]
    >>> plots = Plots(Space({"x": Float(0, 1)}), [Goal()], lambda: trials)
    >>> plots.history().get_ylabel()
    'value (minimize)'
    """

    def __init__(
        self,
        space: Space,
        goals: Sequence[Goal],
        trials: Callable[[], Sequence[Trial]],
        runs: Callable[[], Sequence[Run]] | None = None,
        reports: Callable[[], Sequence[tuple[str, Report]]] | None = None,
    ) -> None:
        self._space = space
        self._goals = tuple(goals)
        self._trials = trials
        self._runs = runs or (lambda: ())
        self._reports = reports or (lambda: ())

    def history(self, *, ax: Axes | None = None, save: Path | None = None) -> Axes:
        """Draw the value of each trial over its number, and the best so far."""
        from tuner.plotting.history import history

        return history(self._goals[0], self._trials(), ax=ax, save=save)

    def parallel_coordinates(
        self,
        params: Sequence[str] | None = None,
        *,
        ax: Axes | None = None,
        save: Path | None = None,
    ) -> Axes:
        """Draw each completed trial as a line through its parameters to its value.

        Parameters
        ----------
        params
            Paths in the order to draw. None draws the varying parameters; of more than twelve, the
            most important.
        ax, save
            See `Plots`.

        Raises
        ------
        ArgumentError
            If a path is unknown.
        """
        from tuner.plotting.parallel_coordinates import parallel_coordinates

        return parallel_coordinates(
            self._space, self._goals[0], self._trials(), params, ax=ax, save=save
        )

    def importances(
        self, method: str | None = None, *, ax: Axes | None = None, save: Path | None = None
    ) -> Axes:
        """Draw the importance of each parameter, computed by Optuna.

        Parameters
        ----------
        method
            ``"fanova"`` or ``"ped-anova"``; see `tuner.plotting.importance_scores`. None selects
            ``"fanova"``, or ``"ped-anova"`` if a choice has more than ten options.
        ax, save
            See `Plots`.

        Raises
        ------
        ArgumentError
            If the method is unknown or does not support this space.
        """
        from tuner.plotting.importances import importances

        return importances(self._space, self._goals[0], self._trials(), method, ax=ax, save=save)

    def slice(
        self, param: str | None = None, *, ax: Axes | None = None, save: Path | None = None
    ) -> Axes:
        """Draw the value of each trial over one parameter; None selects the most important one.

        Raises
        ------
        ArgumentError
            If the path is unknown.
        """
        from tuner.plotting.slices import slices

        return slices(self._space, self._goals[0], self._trials(), param, ax=ax, save=save)

    def contour(
        self,
        x: str | None = None,
        y: str | None = None,
        *,
        ax: Axes | None = None,
        save: Path | None = None,
    ) -> Axes:
        """Draw the value over two parameters; None selects the most important ones.

        Raises
        ------
        ArgumentError
            If a path is unknown, or both paths are equal.
        """
        from tuner.plotting.contours import contours

        return contours(self._space, self._goals[0], self._trials(), x, y, ax=ax, save=save)

    def learning_curves(
        self, metric: str | None = None, *, ax: Axes | None = None, save: Path | None = None
    ) -> Axes:
        """Draw the reported values of the trials over their steps.

        Parameters
        ----------
        metric
            A reported metric; None selects the metric of the goal.
        ax, save
            See `Plots`.

        Raises
        ------
        ArgumentError
            If the trials reported other metrics, but not this one.
        """
        from tuner.plotting.learning_curves import learning_curves

        return learning_curves(
            self._goals[0],
            self._trials(),
            self._runs(),
            self._reports(),
            metric,
            ax=ax,
            save=save,
        )

    def timeline(self, *, ax: Axes | None = None, save: Path | None = None) -> Axes:
        """Draw the runs of each worker over time."""
        from tuner.plotting.timeline import timeline

        return timeline(self._goals[0], self._trials(), self._runs(), ax=ax, save=save)

    def pareto_front(
        self,
        x: str | None = None,
        y: str | None = None,
        *,
        ax: Axes | None = None,
        save: Path | None = None,
    ) -> Axes:
        """Draw the trials by two goals, and highlight the nondominated trials.

        Parameters
        ----------
        x, y
            The metrics of two goals; None selects the first two.

        Raises
        ------
        ArgumentError
            If `x` or `y` is not a goal.
        """
        from tuner.plotting.pareto_front import pareto_front

        return pareto_front(self._goals, self._trials(), x, y, ax=ax, save=save)
