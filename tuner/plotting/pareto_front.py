"""The Pareto front of several goals, and the hypervolume that it dominates over the trials."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tuner.errors import ArgumentError
from tuner.optimizers import ranking
from tuner.plotting.curves import COLORS, Curve, draw_curves, legend_names, number_axis
from tuner.plotting.measure import Measure, Selector, ValueAxis, goal_index
from tuner.plotting.names import shorten
from tuner.plotting.pairs import color_bar
from tuner.plotting.style import (
    BEST,
    GRAY,
    MAIN,
    axes_or_new,
    dot_color,
    legend_above,
    number_text,
    ramp,
    save_figure,
    say,
    say_instead,
    tidy,
)
from tuner.records import Goal, State, Trial

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def pareto_front(
    goals: Sequence[Goal],
    studies: Sequence[tuple[str, Sequence[Trial]]],
    x: Selector | None = None,
    y: Selector | None = None,
    color: Measure | None = None,
    *,
    ax: Axes | None = None,
    save: str | os.PathLike[str] | None = None,
) -> Axes:
    """Draw the completed trials by two goals, and highlight the nondominated trials.

    The front is computed for all goals. With two goals, steps connect the front and bound the
    dominated region. With more, the color of a trial on the front shows a further goal, because a
    trial that looks dominated in two goals can be the best in the third. `color` is the goal or
    metric to show as color. Infeasible trials are hollow squares. Of several studies, only the
    fronts are drawn.

    Raises
    ------
    ArgumentError
        If `x` or `y` is not a goal, or both are the same goal.
    """
    picked = None if len(goals) < 2 else _picked(goals, x, y, color)
    ax = axes_or_new(ax)
    tidy(ax, "Pareto front" if len(goals) < 3 else f"Pareto front of {len(goals)} goals")
    if picked is None:
        for argument, name in (("x", x), ("y", y)):
            if name is not None:
                goal_index(goals, name, argument)
        say_instead(ax, "a study with one goal has a best trial, not a front")
        save_figure(ax, save)
        return ax
    across, up, color = picked
    points = [_Points.of(goals, name, trials) for name, trials in studies]
    axes = [_axis(goals, points, k) for k in (across, up)]
    axes[0].apply(ax, "x")
    axes[1].apply(ax, "y")
    if len(studies) > 1:
        _draw_fronts(ax, goals, points, across, up)
    else:
        _draw(ax, goals, points[0], (across, up, color), axes)
    if not any(len(p.values) for p in points):
        say(ax, "no completed trial yet")
    legend_above(ax)
    save_figure(ax, save)
    return ax


@dataclass(frozen=True, slots=True)
class _Points:
    """The values of the completed trials of a study, shape (n, g), and their kinds."""

    name: str
    trials: list[Trial]
    values: NDArray[np.float64]
    feasible: NDArray[np.bool_]
    front: NDArray[np.bool_]

    @classmethod
    def of(cls, goals: Sequence[Goal], name: str, trials: Sequence[Trial]) -> _Points:
        done = [t for t in trials if t.state is State.COMPLETED and len(t.values) == len(goals)]
        on_front = {trial.number for trial in ranking.front(goals, done)}
        return cls(
            name,
            done,
            np.array([t.values for t in done], float).reshape(len(done), len(goals)),
            np.array([t.feasible for t in done], bool),
            np.array([t.number in on_front for t in done], bool),
        )


def _picked(
    goals: Sequence[Goal], x: Selector | None, y: Selector | None, color: Measure | None
) -> tuple[int, int, Measure | None]:
    """Return the indices of the goals of the axes, and the measure of the color."""
    across = None if x is None else goal_index(goals, x, "x")
    up = None if y is None else goal_index(goals, y, "y")
    if across is not None and across == up:
        raise ArgumentError(f"pareto_front: x and y are both {x!r}; write two goals")
    free = [k for k in range(len(goals)) if k not in (across, up)]
    free.sort(key=lambda k: color is not None and k == color.shown)  # the color's goal last
    across = free.pop(0) if across is None else across
    up = free.pop(0) if up is None else up
    if color is None and free:
        color = Measure.of_goal(goals[free[0]], free[0])
    return across, up, color


def _axis(goals: Sequence[Goal], points: Sequence[_Points], k: int) -> ValueAxis:
    """Return the axis of a goal, which shows every trial on a front."""
    measure = Measure.of_goal(goals[k], k)
    feasible = np.concatenate([p.values[p.feasible, k] for p in points])
    others = np.concatenate([p.values[~p.feasible, k] for p in points])
    if not len(feasible) and not len(others):
        return ValueAxis(measure, False, 0.0, 1.0)
    axis = ValueAxis.of(measure, feasible, others)
    return axis.including(np.concatenate([p.values[p.front, k] for p in points]))


def _draw(
    ax: Axes,
    goals: Sequence[Goal],
    points: _Points,
    picked: tuple[int, int, Measure | None],
    axes: Sequence[ValueAxis],
) -> None:
    across, up, color = picked
    values, front = points.values, points.front
    size = float(np.clip(2_000 / max(len(values), 1), 8, 30))
    plain: dict[str, Any] = {"color": dot_color(ax), "linewidths": 0}
    bold: dict[str, Any] = {"color": BEST, "linewidths": 0, "zorder": 4}
    shown = _colors(color, points)
    if shown is not None:
        axis, levels = shown
        plain = {"color": GRAY, "linewidths": 0, "marker": "."}
        colors = ramp(ax, best_low=axis.measure.worse_up)
        bold = {"c": levels, "cmap": colors, "vmin": 0, "vmax": 1, "plotnonfinite": True}
        bold |= {"edgecolors": GRAY, "linewidths": 0.6, "zorder": 4}
    for which, label, look in (
        (~points.feasible, "infeasible", {"facecolors": "none", "edgecolors": GRAY, "marker": "s"}),
        (points.feasible & ~front, "completed", plain),
        (front, "on the front", bold | {"s": 1.6 * size}),
    ):
        if not which.any():
            continue
        x, y = (axis.clip(values[which, k]) for axis, k in zip(axes, (across, up), strict=True))
        off = axes[0].off_scale(values[which, across]) | axes[1].off_scale(values[which, up])
        look = {"s": size, "zorder": 3, **look}
        if which is front or not off.all():
            dots = ax.scatter(x[~off], y[~off], label=label, **look)
        if off.any():
            look = {**look, "marker": "X"}
            ax.scatter(x[off], y[off], label=f"{label}, off scale", **look)
        if which is front and shown is not None:
            color_bar(ax, dots, axis.measure.label, axis.ticks())
    if len(goals) == 2 and front.any():
        steps = _steps(goals, points, across)
        ax.step(
            steps[:, across], steps[:, up], where="post", color=MAIN, linewidth=1.2, zorder=2
        )  # fmt: skip


def _colors(color: Measure | None, points: _Points) -> tuple[ValueAxis, NDArray[np.float64]] | None:
    """Return the axis of the color, and its levels on the front; NaN where a value is missing."""
    front = [t for t, is_on in zip(points.trials, points.front, strict=True) if is_on]
    if color is None:
        return None
    values = color.values(front)
    known = np.isfinite(values)
    if not known.any():
        return None
    axis = ValueAxis.of(color, values[known])
    levels = np.full(len(front), np.nan)
    levels[known] = axis.fraction(values[known])
    return axis, levels


def _draw_fronts(
    ax: Axes, goals: Sequence[Goal], points: Sequence[_Points], across: int, up: int
) -> None:
    names = legend_names([p.name for p in points])
    for k, (name, its) in enumerate(zip(names, points, strict=True)):
        steps = _steps(goals, its, across)
        ax.step(
            steps[:, across], steps[:, up], where="post", color=COLORS[k % len(COLORS)],
            linewidth=1.2, marker="osD^vP"[k % 6], markersize=4.5, zorder=3,
            linestyle="-" if len(goals) == 2 else "none",
            label=name if len(steps) else f"{name}: no feasible trial",
        )  # fmt: skip


def _steps(goals: Sequence[Goal], points: _Points, across: int) -> NDArray[np.float64]:
    """Return the values of the front, by the goal on the x axis, best first."""
    front = points.values[points.front]
    order = np.argsort(front[:, across] * goals[across].direction.sign, kind="stable")
    return front[order]


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
