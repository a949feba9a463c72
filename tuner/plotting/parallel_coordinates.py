"""Parallel coordinates: each completed trial is a line through its parameters to its value."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tuner.plotting.importance_scores import most_important
from tuner.plotting.measure import Measure, ValueAxis, round_ticks, thinned_ticks
from tuner.plotting.names import path_names
from tuner.plotting.parameter_axis import ParameterAxis, Points
from tuner.plotting.style import (
    BEST,
    GRAY,
    SMALL,
    axes_or_new,
    legend_above,
    ramp,
    save_figure,
    say_instead,
    tidy,
)
from tuner.records import Trial
from tuner.search_spaces import Int, Space

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_AXES = 20
"""Maximum number of axes, unless `params` names them."""

MOST_LINES = 2_000
"""Maximum number of lines: half for the best trials, half for every n-th of the others."""

NOT_ACTIVE = -0.14
"""Height of the lane below the axes for inactive parameters."""


def parallel_coordinates(
    space: Space,
    measure: Measure,
    trials: Sequence[Trial],
    params: Sequence[str] | None = None,
    *,
    ax: Axes | None = None,
    save: str | os.PathLike[str] | None = None,
) -> Axes:
    """Draw each completed trial as a line; better trials are stronger and on top, the best orange.

    At an inactive parameter, the line passes through a lane below the axes. Infeasible trials are
    dashed and below the others. A note states the number of omitted parameters and trials.
    """
    done = measure.completed(trials)
    done.sort(key=lambda t: (t.feasible, -measure.sign * measure.values([t])[0]))
    best = measure.best(done)
    if best is not None:
        done.remove(best)
        done.append(best)
    drawn = _thinned(done)
    points = Points.of(space, drawn)
    axes, left_out = _chosen(points, space, measure, trials, params)
    ax = axes_or_new(ax, float(np.clip(0.85 * (len(axes) + 1) + 1.5, 6.0, 18.0)), 4.6)
    tidy(ax, "Parallel coordinates", grid="none")
    if not drawn or not axes:
        say_instead(ax, "no completed trial yet" if axes else "no parameter varies")
        save_figure(ax, save)
        return ax
    feasible = np.array([t.feasible for t in drawn])
    values = measure.values(drawn)
    value_axis = ValueAxis.of(measure, values[feasible], values[~feasible])
    heights = [axis.fraction(points.positions(axis.path)) for axis in axes]
    heights = [_spread(axis, h) for axis, h in zip(axes, heights, strict=True)]
    lines = np.column_stack([*heights, value_axis.fraction(values)])
    _draw_lines(ax, measure, lines, feasible, best)
    _draw_axes(ax, axes, value_axis, lane=bool(np.isnan(heights).any()))
    notes = []
    if left_out:
        notes.append(f"{left_out} less important parameters are omitted")
    if len(drawn) < len(done):
        notes.append(f"{len(drawn):,} of {len(done):,} completed trials")
    ax.set_xlabel("; ".join(notes))
    legend_above(ax)
    save_figure(ax, save)
    return ax


def _chosen(
    points: Points,
    space: Space,
    measure: Measure,
    trials: Sequence[Trial],
    params: Sequence[str] | None,
) -> tuple[list[ParameterAxis], int]:
    """Return the axes to draw, and the number of omitted ones.

    The axes are in the order of the space if `params` is None.
    """
    if params is not None:
        return [points.axis(path) for path in params], 0
    varying = [axis for axis in points.axes.values() if axis.varies]
    if len(varying) <= MOST_AXES:
        return varying, 0
    kept = set(most_important(space, measure, trials)[:MOST_AXES])
    return [axis for axis in varying if axis.path in kept], len(varying) - MOST_AXES


def _thinned(done: list[Trial]) -> list[Trial]:
    """Return at most `MOST_LINES` of the trials, which are sorted from worst to best."""
    if len(done) <= MOST_LINES:
        return done
    half = MOST_LINES // 2
    others = done[:-half]
    keep = np.linspace(0, len(others) - 1, half).round().astype(int)
    return [others[i] for i in keep] + done[-half:]


def _spread(axis: ParameterAxis, heights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Spread lines at the same option over part of its height, so that they do not overlap."""
    if axis.numeric:
        return heights
    # The last line, the best trial, passes through the center of the option.
    part = np.arange(len(heights))[::-1] * 0.6180339887498949 % 1
    part = np.where(part > 0.5, part - 1, part)
    return np.asarray(heights + part * 0.5 / len(axis.options))


def _draw_lines(
    ax: Axes,
    measure: Measure,
    heights: NDArray[np.float64],
    feasible: NDArray[np.bool_],
    best: Trial | None,
) -> None:
    """Draw one line per row of `heights`; its last column is the level of the value."""
    from matplotlib.collections import LineCollection

    levels = heights[:, -1]
    goodness = 1 - levels if measure.worse_up else levels
    lines = np.empty((*heights.shape, 2))
    lines[:, :, 0] = np.arange(heights.shape[1])
    lines[:, :, 1] = np.where(np.isnan(heights), NOT_ACTIVE, heights)
    n = len(lines)
    base = min(0.9, 8 / np.sqrt(n), 160 / n)
    others = feasible.copy()
    others[-1] &= best is None
    if not feasible.all():
        ax.add_collection(
            LineCollection(
                list(lines[~feasible]),
                colors=GRAY,
                linestyles="--",
                alpha=min(0.5, base),
                linewidths=0.8,
                label="infeasible",
                zorder=0.9,
            )
        )
    if others.any():
        ax.add_collection(
            LineCollection(
                list(lines[others]),
                colors=ramp(ax, best_low=measure.worse_up)(levels[others]),
                alpha=np.clip(base * (0.35 + 0.9 * goodness[others] ** 2), 0, 1),
                linewidths=1.0,
                zorder=1,
            )
        )
    if best is not None:
        ax.plot(
            lines[-1, :, 0], lines[-1, :, 1], color=BEST, linewidth=2.0, zorder=4,
            label=f"best, trial {best.number}",
        )  # fmt: skip


def _draw_axes(
    ax: Axes, axes: Sequence[ParameterAxis], value_axis: ValueAxis, *, lane: bool
) -> None:
    last = len(axes)
    ax.set_xlim(-0.35, last + 0.35)
    ax.set_ylim(NOT_ACTIVE - 0.08 if lane else -0.05, 1.05)
    ax.spines[["left", "bottom"]].set_visible(False)
    ax.set_yticks([])
    ax.vlines(range(last + 1), 0, 1, color=GRAY, linewidth=0.9, zorder=2)
    for at, axis in enumerate(axes):
        for height, label in axis_ticks(axis):
            _tick(ax, at, height, label)
    for height, label in value_axis.ticks():
        _tick(ax, last, height, label)
    if lane:
        ax.axhline(NOT_ACTIVE, color=GRAY, linewidth=0.6, linestyle=":", zorder=0)
        ax.text(-0.3, NOT_ACTIVE - 0.015, "not active", fontsize=SMALL - 1, color=GRAY, va="top")
    names = path_names([axis.path for axis in axes], 18)
    tilted = max(map(len, names)) > 11
    value_name = value_axis.measure.label
    if not tilted:
        value_name = value_name.replace(" (", "\n(")
    ax.set_xticks(range(last + 1), [*names, value_name])
    ax.tick_params(axis="x", length=0, labelsize=SMALL)
    if tilted:
        ax.tick_params(axis="x", rotation=25)
        for text in ax.get_xticklabels():
            text.set(ha="right", rotation_mode="anchor")


def _tick(ax: Axes, at: float, height: float, label: str) -> None:
    ax.text(
        at + 0.04, height, label, fontsize=SMALL - 1.5, va="center", zorder=5,
        bbox={"boxstyle": "round,pad=0.1", "facecolor": ax.get_facecolor(), "edgecolor": "none",
              "alpha": 0.7},
    )  # fmt: skip


def axis_ticks(axis: ParameterAxis) -> list[tuple[float, str]]:
    """Return (height from 0 to 1, label) of the ticks of an axis.

    >>> from tuner.search_spaces import Column, Float
    >>> axis_ticks(ParameterAxis(Column("lr", Float(0.01, 1.0, log=True))))
    [(0.0, '0.01'), (0.5, '0.1'), (1.0, '1')]
    """
    if not axis.numeric:
        n = len(axis.options)
        labels = axis.labels(at_most=14, width=11)
        return [((k + 0.5) / n, label) for k, label in enumerate(labels) if label]
    ticks = round_ticks(*axis.limits, log=axis.log)
    if isinstance(axis.column.domain, Int):
        ticks = np.unique(ticks.round())
    return thinned_ticks(axis.fraction(ticks), ticks)
