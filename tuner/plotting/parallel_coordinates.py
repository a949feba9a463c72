"""Parallel coordinates: each completed trial is a line through its parameters to its value."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tuner.plotting.importance_scores import most_important
from tuner.plotting.parameter_axis import ParameterAxis, Points
from tuner.plotting.style import (
    BEST,
    GRAY,
    SMALL,
    axes_or_new,
    ramp,
    save_figure,
    say_instead,
    shorten,
    tidy,
)
from tuner.plotting.value_axis import ValueAxis, completed, round_ticks, thinned_ticks
from tuner.records import Direction, Goal, Trial
from tuner.search_spaces import Int, Space

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_AXES = 12
"""Maximum number of axes, unless `params` names them."""

MOST_LINES = 2_000
"""Maximum number of lines: half for the best trials, half for every n-th of the others."""

NOT_ACTIVE = -0.14
"""Height of the lane below the axes for inactive parameters."""


def parallel_coordinates(
    space: Space,
    goal: Goal,
    trials: Sequence[Trial],
    params: Sequence[str] | None = None,
    *,
    ax: Axes | None = None,
    save: str | os.PathLike[str] | None = None,
) -> Axes:
    """Draw each completed trial as a line; better trials are stronger and on top, the best orange.

    At an inactive parameter, the line passes through a lane below the axes.
    """
    done = completed(trials)
    done.sort(key=lambda t: -goal.direction.sign * t.values[0])
    drawn = _thinned(done)
    points = Points.of(space, drawn)
    axes = _chosen(points, space, goal, trials, params)
    ax = axes_or_new(ax, float(np.clip(0.95 * (len(axes) + 1) + 1.5, 6.0, 14.0)), 4.4)
    tidy(ax, "Parallel coordinates", grid="none")
    if not drawn or not axes:
        say_instead(ax, "no completed trial yet" if axes else "no parameter varies")
        save_figure(ax, save)
        return ax
    values = np.array([t.values[0] for t in drawn])
    value_axis = ValueAxis.of(goal, [t.values[0] for t in done])
    heights = [axis.fraction(points.positions(axis.path)) for axis in axes]
    heights = [_spread(axis, h) for axis, h in zip(axes, heights, strict=True)]
    levels = value_axis.fraction(values)
    _draw_lines(ax, goal, np.column_stack([*heights, levels]), levels)
    _draw_axes(ax, axes, value_axis, lane=bool(np.isnan(heights).any()))
    if len(drawn) < len(done):
        ax.text(
            1, 1.02, f"{len(drawn):,} of {len(done):,} completed trials", ha="right", va="bottom",
            transform=ax.transAxes, fontsize=SMALL, color=GRAY,
        )  # fmt: skip
    save_figure(ax, save)
    return ax


def _chosen(
    points: Points,
    space: Space,
    goal: Goal,
    trials: Sequence[Trial],
    params: Sequence[str] | None,
) -> list[ParameterAxis]:
    """Return the axes to draw; in the order of the space if `params` is None."""
    if params is not None:
        return [points.axis(path) for path in params]
    varying = [axis for axis in points.axes.values() if axis.varies]
    if len(varying) > MOST_AXES:
        kept = set(most_important(space, goal, trials)[:MOST_AXES])
        varying = [axis for axis in varying if axis.path in kept]
    return varying


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
    ax: Axes, goal: Goal, heights: NDArray[np.float64], levels: NDArray[np.float64]
) -> None:
    from matplotlib.collections import LineCollection

    best_low = goal.direction is Direction.MINIMIZE
    goodness = 1 - levels if best_low else levels
    lines = np.empty((*heights.shape, 2))
    lines[:, :, 0] = np.arange(heights.shape[1])
    lines[:, :, 1] = np.where(np.isnan(heights), NOT_ACTIVE, heights)
    n = len(lines)
    base = min(0.9, 8 / np.sqrt(n), 160 / n)
    if n > 1:
        ax.add_collection(
            LineCollection(
                list(lines[:-1]),
                colors=ramp(ax, best_low=best_low)(levels[:-1]),
                alpha=np.clip(base * (0.35 + 0.9 * goodness[:-1] ** 2), 0, 1),
                linewidths=1.0,
                zorder=1,
            )
        )
    ax.plot(lines[-1, :, 0], lines[-1, :, 1], color=BEST, linewidth=2.0, zorder=4, label="best")


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
    names = [shorten(axis.path, 18) for axis in axes]
    tilted = max(map(len, names)) > 11 and last > 4
    value_name = value_axis.label if tilted else value_axis.label.replace(" (", "\n(")
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
