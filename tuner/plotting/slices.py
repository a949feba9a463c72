"""Slice plot: the value over one parameter."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tuner.optimizers import ranking
from tuner.plotting.importance_scores import most_important
from tuner.plotting.parameter_axis import ParameterAxis, Points
from tuner.plotting.style import (
    BEST,
    GRAY,
    SMALL,
    axes_or_new,
    dot_color,
    legend_above,
    mark_failed,
    save_figure,
    say,
    shorten,
    tidy,
)
from tuner.plotting.value_axis import ValueAxis, goal_label
from tuner.records import Direction, Goal, State, Trial
from tuner.search_spaces import Space

if TYPE_CHECKING:
    from matplotlib.axes import Axes

JITTER = 0.24
"""Half the width of the jitter of the trials of one option."""


def slices(
    space: Space,
    goal: Goal,
    trials: Sequence[Trial],
    param: str | None = None,
    *,
    ax: Axes | None = None,
    save: str | os.PathLike[str] | None = None,
) -> Axes:
    """Draw the value of each trial over one parameter.

    Completed trials are dots, stopped trials circles, and failed trials crosses at the bottom.
    Trials in which the parameter is inactive are omitted; the label states how many are shown.
    """
    points = Points.of(space, trials)
    if param is None:
        ranked = most_important(space, goal, trials)
        param = ranked[0] if ranked else space.columns[0].path
    axis = points.axis(param)
    ax = axes_or_new(ax)
    tidy(ax, "Slice")
    x = points.positions(param)
    active = ~np.isnan(x)
    if not axis.numeric:
        x = _spread(x, trials)
    valued = [bool(t.values) and t.state is not State.FAILED for t in trials]
    shown = active & np.array(valued, bool)
    axis.apply(ax, "x")
    if shown.any():
        values = ValueAxis.of(goal, [t.values[0] for t, s in zip(trials, shown, strict=True) if s])
        size = float(np.clip(2_500 / len(trials), 6, 24))
        looks: dict[State, dict[str, Any]] = {
            State.COMPLETED: {"color": dot_color(ax), "alpha": 0.6, "linewidths": 0},
            State.STOPPED: {
                "facecolors": "none", "edgecolors": GRAY, "linewidths": min(1.0, size / 20),
            },
        }  # fmt: skip
        for state, look in looks.items():
            chosen = shown & np.array([t.state is state for t in trials])
            _scatter(ax, values, x, trials, chosen, str(state), s=size, **look)
        _medians(ax, axis, points, shown)
        _mark_best(ax, goal, points, x)
        values.apply(ax)
    else:
        ax.set_yticks([])
        ax.set_ylabel(goal_label(goal))
        say(ax, "no completed trial has this parameter yet" if len(trials) else _NOTHING)
    failed = active & np.array([t.state is State.FAILED for t in trials], bool)
    mark_failed(ax, x[failed].tolist())
    _note_inactive(ax, axis, active)
    legend_above(ax)
    save_figure(ax, save)
    return ax


_NOTHING = "no completed trial yet"


def _scatter(
    ax: Axes,
    values: ValueAxis,
    x: NDArray[np.float64],
    trials: Sequence[Trial],
    chosen: NDArray[np.bool_],
    label: str,
    **look: Any,
) -> None:
    y = np.array([t.values[0] for t, c in zip(trials, chosen, strict=True) if c])
    if not len(y):
        return
    at, off = x[chosen], values.off_scale(y)
    ax.scatter(at[~off], y[~off], label=label, zorder=2, **look)
    if off.any():
        up = values.direction is Direction.MINIMIZE
        ax.scatter(
            at[off], np.full(off.sum(), 0.985 if up else 0.015), marker="^" if up else "v",
            transform=ax.get_xaxis_transform(), label=f"{label}, off scale", zorder=2, **look,
        )  # fmt: skip


def _spread(x: NDArray[np.float64], trials: Sequence[Trial]) -> NDArray[np.float64]:
    """Jitter the trials of each option sideways, deterministically by trial number."""
    # Multiples of the golden ratio fill an interval evenly, without randomness.
    part = np.array([t.number * 0.6180339887498949 % 1 for t in trials], float)
    return np.asarray(x + (2 * part - 1) * JITTER)


def _medians(ax: Axes, axis: ParameterAxis, points: Points, shown: NDArray[np.bool_]) -> None:
    """Mark the median of the completed trials of each option."""
    if axis.numeric:
        return
    by_option: dict[float, list[float]] = {}
    for trial, at, is_shown in zip(
        points.trials, points.positions(axis.path).tolist(), shown, strict=True
    ):
        if is_shown and trial.state is State.COMPLETED:
            by_option.setdefault(at, []).append(trial.values[0])
    label = "median"
    for option, values in by_option.items():
        if len(values) >= 3:
            ax.hlines(
                float(np.median(values)), option - 0.33, option + 0.33, color=GRAY, linewidth=1.8,
                label=label, zorder=3,
            )  # fmt: skip
            label = "_nolegend_"


def _mark_best(ax: Axes, goal: Goal, points: Points, x: NDArray[np.float64]) -> None:
    best = ranking.best(goal, points.trials)
    if best is None:
        return
    at = x[points.trials.index(best)]
    if not np.isnan(at):
        ax.plot(
            at, best.values[0], "*", color=BEST, markersize=12, markeredgecolor="white",
            markeredgewidth=0.6, linestyle="none", label="best", zorder=4,
        )  # fmt: skip


def _note_inactive(ax: Axes, axis: ParameterAxis, active: NDArray[np.bool_]) -> None:
    if axis.column.parents and len(active):
        path, option = axis.column.parents[-1]
        label = f"{ax.get_xlabel()}\nwhere {shorten(path, 24)} = {shorten(option, 24)}"
        ax.set_xlabel(f"{label}: {active.sum()} of {len(active)} trials")
        ax.xaxis.label.set_fontsize(SMALL + 1)
