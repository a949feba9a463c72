"""Slice plot: the value over one parameter."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tuner.plotting.importance_scores import most_important
from tuner.plotting.measure import Measure, ValueAxis, mark_failed, scatter
from tuner.plotting.names import shorten
from tuner.plotting.parameter_axis import ParameterAxis, Points
from tuner.plotting.repeated import RepeatedTrials
from tuner.plotting.style import (
    BEST,
    GRAY,
    SMALL,
    axes_or_new,
    dot_color,
    legend_above,
    save_figure,
    say,
    tidy,
)
from tuner.records import State, Trial
from tuner.search_spaces import Space

if TYPE_CHECKING:
    from matplotlib.axes import Axes

JITTER = 0.24
"""Half the width of the jitter of the trials of one option."""


def slices(
    space: Space,
    measure: Measure,
    trials: Sequence[Trial],
    param: str | None = None,
    repeated: RepeatedTrials | None = None,
    *,
    ax: Axes | None = None,
    save: str | os.PathLike[str] | None = None,
) -> Axes:
    """Draw the value of each trial over one parameter.

    Completed trials are dots, infeasible trials hollow squares, stopped trials circles, and failed
    trials crosses in a lane beyond the worse end. Trials in which the parameter is inactive are
    omitted; the label states how many are shown. Trials that ran several times have the mean of
    their values with a 95 % interval, and the winner has a ring; see `RepeatedTrials`.
    """
    points = Points.of(space, trials)
    if param is None:
        ranked = most_important(space, measure, trials)
        param = ranked[0] if ranked else space.columns[0].path
    axis = points.axis(param)
    ax = axes_or_new(ax)
    tidy(ax, "Slice")
    x = points.positions(param)
    active = ~np.isnan(x)
    if not axis.numeric:
        x = _spread(x, trials)
    axis.apply(ax, "x")
    kinds = np.array([_kind(measure, t) for t in trials], dtype="<U10")
    kinds[~active] = ""
    failed = kinds == "failed"
    shown = (kinds != "") & ~failed
    if shown.any():
        size = float(np.clip(2_500 / len(trials), 6, 24))
        hollow = {"facecolors": "none", "edgecolors": GRAY, "linewidths": min(1.0, size / 20)}
        looks: dict[str, dict[str, Any]] = {
            "completed": {"color": dot_color(ax), "alpha": 0.6, "linewidths": 0},
            "infeasible": {"marker": "s", **hollow},
            "stopped": hollow,
        }
        y = np.full(len(trials), np.nan)
        y[shown] = measure.values(t for t, is_shown in zip(trials, shown, strict=True) if is_shown)
        primary = kinds == "completed"
        others = [*y[shown & ~primary], *(repeated.ends if repeated else ())]
        values = ValueAxis.of(measure, y[primary], others)
        for kind, look in looks.items():
            of_kind = kinds == kind
            scatter(
                ax, values, x[of_kind], y[of_kind], kind, s=size, lane=bool(failed.any()), **look
            )
        _medians(ax, axis, points.positions(param)[primary], y[primary])
        _mark_best(ax, measure, points, x)
        values.apply(ax, lane=bool(failed.any()))
        if repeated is not None:
            places = {t.number: float(at) for t, at in zip(points.trials, x, strict=True)}
            repeated.draw(ax, values, places)
    else:
        ax.set_yticks([])
        ax.set_ylabel(measure.label)
        say(ax, "no completed trial has this parameter yet" if len(trials) else _NOTHING)
    mark_failed(ax, measure, x[failed].tolist())
    _note_inactive(ax, axis, active)
    legend_above(ax)
    save_figure(ax, save)
    return ax


_NOTHING = "no completed trial yet"


def _kind(measure: Measure, trial: Trial) -> str:
    """Return the legend entry of a trial; empty if the plot does not show it."""
    if trial.state is State.FAILED:
        return "failed"
    if trial.state not in (State.COMPLETED, State.STOPPED) or measure.value(trial) is None:
        return ""
    if trial.state is State.COMPLETED and not trial.feasible:
        return "infeasible"
    return str(trial.state)


def _spread(x: NDArray[np.float64], trials: Sequence[Trial]) -> NDArray[np.float64]:
    """Jitter the trials of each option sideways, deterministically by trial number."""
    # Multiples of the golden ratio fill an interval evenly, without randomness.
    part = np.array([t.number * 0.6180339887498949 % 1 for t in trials], float)
    return np.asarray(x + (2 * part - 1) * JITTER)


def _medians(
    ax: Axes, axis: ParameterAxis, options: NDArray[np.float64], values: NDArray[np.float64]
) -> None:
    """Mark the median of the completed trials of each option."""
    if axis.numeric:
        return
    label = "median"
    for option in np.unique(options).tolist():
        here = values[options == option]
        if len(here) >= 3:
            ax.hlines(
                float(np.median(here)), option - 0.33, option + 0.33, color=GRAY, linewidth=1.8,
                label=label, zorder=3,
            )  # fmt: skip
            label = "_nolegend_"


def _mark_best(ax: Axes, measure: Measure, points: Points, x: NDArray[np.float64]) -> None:
    best = measure.best(points.trials)
    if best is None:
        return
    at, value = x[points.trials.index(best)], measure.value(best)
    if not np.isnan(at) and value is not None:
        ax.plot(
            at, value, "*", color=BEST, markersize=12, markeredgecolor="white",
            markeredgewidth=0.6, linestyle="none", label=f"best, trial {best.number}", zorder=4,
        )  # fmt: skip


def _note_inactive(ax: Axes, axis: ParameterAxis, active: NDArray[np.bool_]) -> None:
    if axis.column.parents and len(active):
        condition = axis.column.parents[-1]
        where = f"{shorten(condition.path, 24)} {shorten(condition.text, 26)}"
        label = f"{ax.get_xlabel()}\nwhere {where}"
        ax.set_xlabel(f"{label}: {active.sum()} of {len(active)} trials")
        ax.xaxis.label.set_fontsize(SMALL + 1)
