"""`Plots`: the plots of a study, one method each."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol, TypeAlias

from tuner.errors import ArgumentError
from tuner.plotting.measure import Measure, Selector, goal_index, measure_of
from tuner.records import Goal, Report, Run, Trial
from tuner.search_spaces import Space

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from tuner.plotting.repeated import RepeatedTrials

Path: TypeAlias = str | os.PathLike[str]


class HasPlots(Protocol):
    """A study, or anything else with plots."""

    @property
    def plot(self) -> Plots:
        """The plots."""


class Plots:
    """Draws the records of a study; the type of ``study.plot``.

    Each method reads the current records, draws on the axes `ax` or on a new figure, and returns
    the axes. `save` is the file for the figure: ``"plot.png"``, ``".pdf"``, ``".svg"``, ... An
    empty plot contains a message.

    Every method takes `goal`, the index or name of a goal; None selects the first goal. `metric`
    is the name of any recorded metric, to be shown instead; a metric that is not a goal has no
    better values, and the marked trial is the best by `goal`. Some methods take `compare`, further
    studies to draw on the same axes.

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
    name
        The name of the study, for legends.
    repeats
        Returns the runs that repeat trials; None for a study without repeats.
    winner
        Returns the number of the winner, None if there is none; called if there are repeats.

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
        name: str = "this study",
        repeats: Callable[[], Sequence[Run]] | None = None,
        winner: Callable[[], int | None] | None = None,
    ) -> None:
        self._space = space
        self._goals = tuple(goals)
        self._trials = trials
        self._runs = runs or (lambda: ())
        self._reports = reports or (lambda: ())
        self._name = name
        self._repeats = repeats or (lambda: ())
        self._winner = winner or (lambda: None)

    def with_winner(self, number: int | None) -> Plots:
        """Return the same plots for a caller who knows the winner, which is costly to find."""
        known = copy.copy(self)
        known._winner = lambda: number
        return known

    @property
    def plot(self) -> Plots:
        """These plots, so that `compare` takes them in place of a study."""
        return self

    def history(
        self,
        *,
        goal: Selector | None = None,
        metric: Selector | None = None,
        compare: Sequence[HasPlots] | HasPlots = (),
        ax: Axes | None = None,
        save: Path | None = None,
    ) -> Axes:
        """Draw the value of each trial over its number, and the best so far.

        Trials that ran several times, such as by `Study.confirm`, also have the mean of their
        values with a 95 % interval, and the winner has a ring. The interval is that of Student's t
        distribution, with the deviation of a value pooled over all these trials.

        Parameters
        ----------
        goal, metric, ax, save
            See `Plots`.
        compare
            Further studies; of several, only the best value so far is drawn.
        """
        from tuner.plotting.curves import histories, history

        studies = self._measured(compare, goal, metric)
        if len(studies) > 1:
            return histories(studies, ax=ax, save=save)
        measure, trials = studies[0][1:]
        return history(measure, trials, self._repeated(measure, trials), ax=ax, save=save)

    def parallel_coordinates(
        self,
        params: Sequence[str] | None = None,
        *,
        goal: Selector | None = None,
        metric: Selector | None = None,
        ax: Axes | None = None,
        save: Path | None = None,
    ) -> Axes:
        """Draw each completed trial as a line through its parameters to its value.

        Parameters
        ----------
        params
            Paths in the order to draw. None draws the varying parameters; of more than twenty, the
            most important, and a note states how many are omitted.
        goal, metric, ax, save
            See `Plots`.

        Raises
        ------
        ArgumentError
            If a path is unknown.
        """
        from tuner.plotting.parallel_coordinates import parallel_coordinates

        return parallel_coordinates(
            self._space, *self._chosen(goal, metric), params, ax=ax, save=save
        )

    def importances(
        self,
        method: str | None = None,
        *,
        goal: Selector | None = None,
        metric: Selector | None = None,
        ax: Axes | None = None,
        save: Path | None = None,
    ) -> Axes:
        """Draw the importance of each parameter, and the share that is left unexplained.

        Parameters
        ----------
        method
            ``"fanova"`` or ``"ped-anova"``; see `tuner.plotting.importance_scores`. None selects
            ``"fanova"``.
        goal, metric, ax, save
            See `Plots`.

        Raises
        ------
        ArgumentError
            If the method is unknown.
        """
        from tuner.plotting.importances import importances

        return importances(self._space, *self._chosen(goal, metric), method, ax=ax, save=save)

    def slice(
        self,
        param: str | None = None,
        *,
        goal: Selector | None = None,
        metric: Selector | None = None,
        ax: Axes | None = None,
        save: Path | None = None,
    ) -> Axes:
        """Draw the value of each trial over one parameter; None selects the most important one.

        Trials that ran several times are drawn as in `history`.

        Raises
        ------
        ArgumentError
            If the path is unknown.
        """
        from tuner.plotting.slices import slices

        measure, trials = self._chosen(goal, metric)
        repeated = self._repeated(measure, trials)
        return slices(self._space, measure, trials, param, repeated, ax=ax, save=save)

    def contour(
        self,
        x: str | None = None,
        y: str | None = None,
        *,
        goal: Selector | None = None,
        metric: Selector | None = None,
        ax: Axes | None = None,
        save: Path | None = None,
    ) -> Axes:
        """Draw the value over two parameters; None selects the most important ones.

        Raises
        ------
        ArgumentError
            If a path is unknown, or both paths are equal.
        """
        from tuner.plotting.pairs import contours

        return contours(self._space, *self._chosen(goal, metric), x, y, ax=ax, save=save)

    def rank(
        self,
        x: str | None = None,
        y: str | None = None,
        *,
        goal: Selector | None = None,
        metric: Selector | None = None,
        ax: Axes | None = None,
        save: Path | None = None,
    ) -> Axes:
        """Draw the rank of each trial over two parameters; None selects the most important ones.

        Raises
        ------
        ArgumentError
            If a path is unknown, or both paths are equal.
        """
        from tuner.plotting.pairs import rank

        return rank(self._space, *self._chosen(goal, metric), x, y, ax=ax, save=save)

    def edf(
        self,
        *,
        goal: Selector | None = None,
        metric: Selector | None = None,
        compare: Sequence[HasPlots] | HasPlots = (),
        ax: Axes | None = None,
        save: Path | None = None,
    ) -> Axes:
        """Draw the empirical distribution of the values: the share of trials up to each value."""
        from tuner.plotting.curves import edf

        return edf(self._measured(compare, goal, metric), ax=ax, save=save)

    def learning_curves(
        self,
        metric: Selector | None = None,
        *,
        goal: Selector | None = None,
        ax: Axes | None = None,
        save: Path | None = None,
    ) -> Axes:
        """Draw the reported values of the trials over their steps.

        Parameters
        ----------
        metric
            A reported metric; None selects the metric of the goal.
        goal, ax, save
            See `Plots`.

        Raises
        ------
        ArgumentError
            If the trials reported other metrics, but not this one.
        """
        from tuner.plotting.learning_curves import learning_curves

        trials = self._trials()
        if metric is None or isinstance(metric, int) or metric in self._names:
            measure = measure_of(self._goals, trials, goal, metric)
        else:
            index = 0 if goal is None else goal_index(self._goals, goal)
            measure = Measure(metric, None, self._goals[index], index, None)
        return learning_curves(measure, trials, self._runs(), self._reports(), ax=ax, save=save)

    def timeline(
        self,
        *,
        goal: Selector | None = None,
        metric: Selector | None = None,
        ax: Axes | None = None,
        save: Path | None = None,
    ) -> Axes:
        """Draw the runs of each worker over time; the best run, by the goal, is orange."""
        from tuner.plotting.timeline import timeline

        return timeline(*self._chosen(goal, metric), self._runs(), ax=ax, save=save)

    def pareto_front(
        self,
        x: Selector | None = None,
        y: Selector | None = None,
        *,
        goal: Selector | None = None,
        metric: Selector | None = None,
        compare: Sequence[HasPlots] | HasPlots = (),
        ax: Axes | None = None,
        save: Path | None = None,
    ) -> Axes:
        """Draw the trials by two goals, and highlight the nondominated trials.

        Parameters
        ----------
        x, y
            Two goals, by index or name; None selects the first two.
        goal, metric
            The goal or metric that is shown as the color of the front. None selects the first goal
            that is not on an axis, if there is one.
        compare
            Further studies with the same goals; of several, only the fronts are drawn.
        ax, save
            See `Plots`.

        Raises
        ------
        ArgumentError
            If `x`, `y` or `goal` is not a goal, the metric is unknown, or a study has other goals.
        """
        from tuner.plotting.pareto_front import pareto_front

        studies = self._of_same_goals(compare)
        color = None
        if goal is not None or metric is not None:
            color = measure_of(self._goals, studies[0][1], goal, metric)
        return pareto_front(self._goals, studies, x, y, color, ax=ax, save=save)

    def hypervolume(
        self,
        reference: Sequence[float] | None = None,
        *,
        goal: Selector | None = None,
        metric: Selector | None = None,
        compare: Sequence[HasPlots] | HasPlots = (),
        ax: Axes | None = None,
        save: Path | None = None,
    ) -> Axes:
        """Draw the hypervolume that the Pareto front dominates, over the number of trials.

        Parameters
        ----------
        reference
            One value per goal; trials that are worse contribute nothing. None takes the worst
            value of each goal among the completed trials.
        goal, metric
            One goal, whose front is its best value. None takes all goals.
        compare
            Further studies with the same goals.
        ax, save
            See `Plots`.

        Raises
        ------
        ArgumentError
            If `reference` does not have one finite number per goal, or a study has other goals.
        """
        from tuner.plotting.pareto_front import hypervolume_history, with_one_goal

        goals, studies = self._goals, self._of_same_goals(compare)
        if goal is None and metric is not None:
            goal = goal_index(goals, metric, "metric")
        if goal is not None:
            goals, studies = with_one_goal(goals, studies, goal_index(goals, goal))
        return hypervolume_history(goals, studies, reference, ax=ax, save=save)

    @property
    def _names(self) -> list[str]:
        return [goal.metric for goal in self._goals]

    def _chosen(
        self, goal: Selector | None, metric: Selector | None
    ) -> tuple[Measure, Sequence[Trial]]:
        """Return the measure of the arguments, and the trials."""
        trials = self._trials()
        return measure_of(self._goals, trials, goal, metric), trials

    def _repeated(self, measure: Measure, trials: Sequence[Trial]) -> RepeatedTrials | None:
        """Return the trials that ran several times, None if there are none."""
        from tuner.plotting.repeated import RepeatedTrials

        repeats = self._repeats()
        if not repeats:
            return None
        found = RepeatedTrials.of(measure, trials, repeats, self._winner())
        return found if len(found.numbers) else None

    def _measured(
        self,
        compare: Sequence[HasPlots] | HasPlots,
        goal: Selector | None,
        metric: Selector | None,
    ) -> list[tuple[str, Measure, Sequence[Trial]]]:
        """Return the name, measure and trials of this study and of further ones."""
        found = [(p._name, *p._chosen(goal, metric)) for p in self._and(compare)]
        first = found[0][1]
        for name, measure, _ in found[1:]:
            if measure.direction is not first.direction:
                raise ArgumentError(
                    f"plot: {measure.name!r} of study {name!r} has another direction than "
                    f"{first.name!r} of {self._name!r}; select metrics with goal= or metric="
                )
        return found

    def _of_same_goals(
        self, compare: Sequence[HasPlots] | HasPlots
    ) -> list[tuple[str, Sequence[Trial]]]:
        """Return the name and trials of this study and of further ones with the same goals."""
        plots = self._and(compare)
        for other in plots:
            if other._goals != self._goals:
                raise ArgumentError(
                    f"plot: study {other._name!r} has the goals {', '.join(other._names)}; "
                    f"compare studies with the same goals as {self._name!r}: "
                    f"{', '.join(self._names)}"
                )
        return [(p._name, p._trials()) for p in plots]

    def _and(self, compare: Sequence[HasPlots] | HasPlots) -> list[Plots]:
        """Return these plots and the other studies' plots."""
        plots = [self]
        for other in compare if isinstance(compare, Sequence) else (compare,):
            its = getattr(other, "plot", None)
            if not isinstance(its, Plots):
                raise ArgumentError(
                    f"plot: compare={other!r} is not a study; load it with tuner.load_study"
                )
            plots.append(its)
        return plots
