"""The hypervolume that the Pareto front dominates, over the number of trials."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tuner.errors import ArgumentError
from tuner.optimizers import ranking
from tuner.plotting.comparison import Curve, draw_curves, legend_names, number_axis
from tuner.plotting.names import shorten
from tuner.plotting.style import axes_or_new, legend_above, number_text, save_figure, say, tidy
from tuner.records import Goal, State, Trial

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def hypervolume_history(
    goals: Sequence[Goal],
    studies: Sequence[tuple[str, Sequence[Trial]]],
    reference: Sequence[float] | None = None,
    *,
    ax: Axes | None = None,
    save: str | os.PathLike[str] | None = None,
) -> Axes:
    """Draw the hypervolume of the front of the trials up to each number, for each study.

    The hypervolume is the one of `Study.hypervolume`. All studies share the reference point.

    Parameters
    ----------
    goals
        The goals, by which the values of all studies are ordered.
    studies
        Pairs of name and trials.
    reference
        One value per goal; trials that are worse contribute nothing. None takes the worst value of
        each goal among the completed trials of all studies.
    ax, save
        See `tuner.plotting.Plots`.

    Raises
    ------
    ArgumentError
        If `reference` does not have one finite number per goal.
    """
    corner = None if reference is None else _checked(goals, reference)
    completed = [
        (name, [t for t in trials if t.state is State.COMPLETED and len(t.values) == len(goals)])
        for name, trials in studies
    ]
    losses = ranking.losses(goals, [t for _, done in completed for t in done])
    if corner is None and len(losses):
        corner = losses.max(axis=0)
    ax = axes_or_new(ax)
    tidy(ax, "Hypervolume")
    ax.set_xlabel("trial")
    ax.set_ylabel("hypervolume (maximize)")
    curves = []
    names = legend_names([name for name, _ in studies])
    for name, (_, trials), (_, done) in zip(names, studies, completed, strict=True):
        feasible = sorted((t for t in done if t.feasible), key=lambda t: t.number)
        if not feasible or corner is None:
            curves.append(Curve(f"{name}: no feasible trial"))
            continue
        volumes = running_hypervolume(ranking.losses(goals, feasible), corner)
        x = [*(t.number for t in feasible), max(t.number for t in trials)]
        curves.append(Curve(name, np.array(x, float), np.array([*volumes, volumes[-1]])))
    draw_curves(ax, curves)
    if any(len(curve.x) for curve in curves):
        assert corner is not None
        at = [goal.direction.sign * value for goal, value in zip(goals, corner, strict=True)]
        parts = [
            f"{shorten(goal.metric, 24)} = {number_text(float(value))}"
            for goal, value in zip(goals, at, strict=True)
        ]
        ax.set_xlabel(f"trial\nreference point: {', '.join(parts)}")
        ax.ticklabel_format(axis="y", useOffset=False)
        if len(curves) > 1:
            legend_above(ax)
    else:
        ax.set_yticks([])
        say(ax, "no feasible completed trial yet")
    number_axis(ax, max((t.number for _, trials in studies for t in trials), default=1))
    save_figure(ax, save)
    return ax


def running_hypervolume(losses: NDArray[np.float64], reference: NDArray[np.float64]) -> list[float]:
    """Return the hypervolume of the first 1, 2, ... rows within the reference point.

    >>> running_hypervolume(np.array([[1.0, 2.0], [2.0, 2.0], [2.0, 1.0]]), np.array([3.0, 3.0]))
    [2.0, 2.0, 3.0]
    """
    from tuner.optimizers.pareto import hypervolume

    front = np.empty((0, losses.shape[1]))
    volumes: list[float] = []
    for row in losses:
        if (front <= row).all(axis=1).any():
            volumes.append(volumes[-1])
            continue
        front = np.vstack([front[~(row <= front).all(axis=1)], row])
        volumes.append(hypervolume(front, reference))
    return volumes


def _checked(goals: Sequence[Goal], reference: Sequence[float]) -> NDArray[np.float64]:
    corner = np.array(reference, float)
    if corner.shape != (len(goals),) or not np.isfinite(corner).all():
        raise ArgumentError(
            f"reference={list(reference)!r}: pass {len(goals)} finite numbers, one for each of "
            f"{', '.join(repr(goal.metric) for goal in goals)}"
        )
    return corner * [goal.direction.sign for goal in goals]


def with_one_goal(
    goals: Sequence[Goal], studies: Sequence[tuple[str, Sequence[Trial]]], index: int
) -> tuple[tuple[Goal, ...], list[tuple[str, Sequence[Trial]]]]:
    """Return one of the goals, and the trials as if the studies had this goal only."""
    return (goals[index],), [
        (name, [dataclasses.replace(t, values=t.values[index : index + 1]) for t in trials])
        for name, trials in studies
    ]
