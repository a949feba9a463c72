"""The Pareto front: the values of one goal over the values of another."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tuner.errors import ArgumentError
from tuner.optimizers import ranking
from tuner.plotting.style import (
    BEST,
    GRAY,
    MAIN,
    axes_or_new,
    dot_color,
    legend_above,
    save_figure,
    say,
    tidy,
)
from tuner.plotting.value_axis import completed, goal_label
from tuner.records import Goal, Trial

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def pareto_front(
    goals: Sequence[Goal],
    trials: Sequence[Trial],
    x: str | None = None,
    y: str | None = None,
    *,
    ax: Axes | None = None,
    save: str | os.PathLike[str] | None = None,
) -> Axes:
    """Draw the completed trials by two goals, and highlight the nondominated trials.

    The front is computed for all goals; with more than two goals, the plot shows its projection.
    With two goals, steps connect the front and bound the dominated region. Infeasible trials are
    hollow.

    Raises
    ------
    ArgumentError
        If `x` or `y` is not a goal.
    """
    names = [goal.metric for goal in goals]
    for name in (x, y):
        if name is not None and name not in names:
            raise ArgumentError(f"pareto_front: {name!r} must be a goal: one of {', '.join(names)}")
    ax = axes_or_new(ax)
    tidy(ax, "Pareto front")
    done = completed(trials)
    if len(goals) < 2:
        ax.set_xticks([])
        ax.set_yticks([])
        say(ax, "a study with one goal has a best trial, not a front")
        save_figure(ax, save)
        return ax
    across = names.index(x) if x is not None else int(y == names[0])
    up = names.index(y) if y is not None else next(k for k in range(len(goals)) if k != across)
    ax.set_xlabel(goal_label(goals[across]))
    ax.set_ylabel(goal_label(goals[up]))
    if not done:
        say(ax, "no completed trial yet")
    values = np.array([t.values for t in done], dtype=float).reshape(len(done), len(goals))
    feasible = np.array([t.feasible for t in done], dtype=bool)
    on_front = {trial.number for trial in ranking.front(goals, done)}
    front = np.array([t.number in on_front for t in done], dtype=bool)
    size = float(np.clip(2_000 / max(len(done), 1), 8, 30))
    rest = feasible & ~front
    for which, label, look in (
        (~feasible, "infeasible", {"facecolors": "none", "edgecolors": GRAY}),
        (rest, "completed", {"color": dot_color(ax), "linewidths": 0}),
        (front, "on the front", {"color": BEST, "linewidths": 0}),
    ):
        if which.any():
            points = values[which]
            ax.scatter(
                points[:, across], points[:, up], s=size, label=label, zorder=3, **look
            )  # fmt: skip
    if len(goals) == 2 and front.any():
        order = np.argsort(values[front, across] * goals[across].direction.sign, kind="stable")
        steps = values[front][order]
        ax.step(
            steps[:, across], steps[:, up], where="post", color=MAIN, linewidth=1.2, zorder=2
        )  # fmt: skip
    legend_above(ax)
    save_figure(ax, save)
    return ax
