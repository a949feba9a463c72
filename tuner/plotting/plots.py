"""`Plots`: every plot of a study, each one method."""

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
    """Draws a study's records; ``study.plot`` is one.

    Every method draws what is recorded when it is called, on the axes `ax` or on those of a new
    figure, and returns the axes. `save` is a file to write the figure to: ``"plot.png"``,
    ``".pdf"``, ``".svg"``, ... A plot with nothing to show says so. Where a study has several
    goals, its first one is drawn.

    Parameters
    ----------
    space
        The space that the trials are points of.
    goals
        The goals of the study.
    trials
        Returns the trials, by number.
    runs
        Returns the runs; None if there are none to show.
    reports
        Returns ``(run uid, report)`` by run and step; None if there are none to show.

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
        """Draw each trial's value over its number, and the best so far."""
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
            Paths in the order to draw; None takes all that vary, up to twelve: the most important.
        ax, save
            See `Plots`.

        Raises
        ------
        ArgumentError
            If a path is no parameter's.
        """
        from tuner.plotting.parallel_coordinates import parallel_coordinates

        return parallel_coordinates(
            self._space, self._goals[0], self._trials(), params, ax=ax, save=save
        )

    def importances(
        self, method: str | None = None, *, ax: Axes | None = None, save: Path | None = None
    ) -> Axes:
        """Draw how much each parameter matters for the value, as Optuna evaluates it.

        Parameters
        ----------
        method
            ``"fanova"`` or ``"ped-anova"``; see `tuner.plotting.importance_scores`. None takes the
            first, unless a choice has more than ten options.
        ax, save
            See `Plots`.

        Raises
        ------
        ArgumentError
            If there is no such method, or it is not for this space.
        """
        from tuner.plotting.importances import importances

        return importances(self._space, self._goals[0], self._trials(), method, ax=ax, save=save)

    def slice(
        self, param: str | None = None, *, ax: Axes | None = None, save: Path | None = None
    ) -> Axes:
        """Draw each trial's value over one parameter; None takes the most important one.

        Raises
        ------
        ArgumentError
            If the path is no parameter's.
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
        """Draw the value over two parameters; None takes the most important ones.

        Raises
        ------
        ArgumentError
            If a path is no parameter's, or both are the same.
        """
        from tuner.plotting.contours import contours

        return contours(self._space, self._goals[0], self._trials(), x, y, ax=ax, save=save)

    def learning_curves(
        self, metric: str | None = None, *, ax: Axes | None = None, save: Path | None = None
    ) -> Axes:
        """Draw what the trials reported over their steps.

        Parameters
        ----------
        metric
            A reported metric; None takes the goal's.
        ax, save
            See `Plots`.

        Raises
        ------
        ArgumentError
            If the trials reported, but not this metric.
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
        """Draw which worker ran which trial when."""
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
        """Draw the trials by two goals, and the front of those that no other beats.

        Parameters
        ----------
        x, y
            The metrics of the goals, None for the first two.

        Raises
        ------
        ArgumentError
            If one is no goal.
        """
        from tuner.plotting.pareto_front import pareto_front

        return pareto_front(self._goals, self._trials(), x, y, ax=ax, save=save)
