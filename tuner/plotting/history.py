"""The optimization history: the value of each trial, and the best so far."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tuner.optimizers import ranking
from tuner.plotting.style import (
    BEST,
    GRAY,
    LIGHT,
    MAIN,
    SMALL,
    axes_or_new,
    legend_above,
    mark_failed,
    number_text,
    save_figure,
    say,
    tidy,
)
from tuner.plotting.value_axis import ValueAxis, completed, goal_label
from tuner.records import Direction, Goal, State, Trial

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def history(
    goal: Goal,
    trials: Sequence[Trial],
    *,
    ax: Axes | None = None,
    save: str | os.PathLike[str] | None = None,
) -> Axes:
    """Draw the value of each trial over its number, and the best so far as a step line.

    Completed trials are dots, infeasible trials hollow squares, stopped trials circles at their
    last value, and failed trials crosses at the bottom. Extreme values on the worse side are
    triangles at the edge. Only feasible trials count for the best so far.
    """
    ax = axes_or_new(ax)
    tidy(ax, "Optimization history")
    ax.set_xlabel("trial")
    done = completed(trials)
    stopped = [t for t in trials if t.state is State.STOPPED and t.values]
    failed = [t.number for t in trials if t.state is State.FAILED]
    feasible = [t for t in done if t.feasible]
    infeasible = [t for t in done if not t.feasible]

    if done or stopped:
        axis = ValueAxis.of(goal, [t.values[0] for t in (*done, *stopped)])
        size = float(np.clip(2_000 / len(trials), 6, 26))
        _scatter(ax, axis, feasible, "completed", s=size, color=LIGHT, linewidths=0)
        hollow: dict[str, Any] = {"facecolors": "none", "edgecolors": GRAY}
        hollow["linewidths"] = min(1.0, size / 20)
        _scatter(ax, axis, infeasible, "infeasible", marker="s", s=size, **hollow)
        _scatter(ax, axis, stopped, "stopped", s=size, **hollow)
        axis.apply(ax)
    else:
        ax.set_yticks([])
        ax.set_ylabel(goal_label(goal))
        say(ax, "no completed trial yet")
    if feasible:
        _best_so_far(ax, goal, feasible, last=max(t.number for t in trials))
    mark_failed(ax, failed)
    _number_axis(ax, trials)
    legend_above(ax)
    save_figure(ax, save)
    return ax


def best_so_far(direction: Direction, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the running best of the values.

    >>> best_so_far(Direction.MAXIMIZE, np.array([1.0, 0.5, 2.0]))
    array([1., 1., 2.])
    """
    running = np.minimum if direction is Direction.MINIMIZE else np.maximum
    return np.asarray(running.accumulate(values))


def _scatter(
    ax: Axes, axis: ValueAxis, trials: Sequence[Trial], label: str, marker: str = "o", **look: Any
) -> None:
    if not trials:
        return
    numbers = np.array([t.number for t in trials])
    values = np.array([t.values[0] for t in trials])
    off = axis.off_scale(values)
    ax.scatter(numbers[~off], values[~off], label=label, marker=marker, zorder=2, **look)
    if off.any():
        up = axis.direction is Direction.MINIMIZE
        ax.scatter(
            numbers[off], np.full(off.sum(), 0.985 if up else 0.015), marker="^" if up else "v",
            transform=ax.get_xaxis_transform(), zorder=2,
            label=f"{label}, off scale", **look,
        )  # fmt: skip


def _best_so_far(ax: Axes, goal: Goal, feasible: Sequence[Trial], last: int) -> None:
    numbers = [t.number for t in feasible]
    best_values = best_so_far(goal.direction, np.array([t.values[0] for t in feasible]))
    ax.step(
        [*numbers, last], [*best_values, best_values[-1]], where="post", color=MAIN, linewidth=1.6,
        label="best so far", zorder=3,
    )  # fmt: skip
    best = ranking.best(goal, feasible)
    assert best is not None
    ax.plot(
        best.number, best.values[0], "*", color=BEST, markersize=12, label="best", zorder=4,
        markeredgecolor="white", markeredgewidth=0.6, linestyle="none",
    )  # fmt: skip
    right = best.number > last / 2
    above = goal.direction is Direction.MINIMIZE
    ax.annotate(
        f"{number_text(best.values[0])}, trial {best.number}",
        (best.number, best.values[0]),
        xytext=(-8 if right else 8, 9 if above else -9),
        textcoords="offset points",
        ha="right" if right else "left",
        va="bottom" if above else "top",
        fontsize=SMALL,
        zorder=5,
        bbox={
            "boxstyle": "round,pad=0.15",
            "facecolor": ax.get_facecolor(),
            "edgecolor": "none",
            "alpha": 0.75,
        },
    )


def _number_axis(ax: Axes, trials: Sequence[Trial]) -> None:
    from matplotlib.ticker import MaxNLocator

    last = max((t.number for t in trials), default=1)
    pad = max(0.5, 0.02 * last)
    ax.set_xlim(-pad, last + pad)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
