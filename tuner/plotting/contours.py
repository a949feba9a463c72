"""Contour plot: the value over two parameters."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tuner.errors import ArgumentError
from tuner.optimizers import ranking
from tuner.plotting.importance_scores import most_important
from tuner.plotting.parameter_axis import ParameterAxis, Points
from tuner.plotting.style import (
    BEST,
    GRAY,
    axes_or_new,
    crowd_alpha,
    legend_above,
    ramp,
    save_figure,
    say,
    say_instead,
    tidy,
)
from tuner.plotting.value_axis import ValueAxis
from tuner.records import Direction, Goal, State, Trial
from tuner.search_spaces import Space

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FEWEST = 15
"""Minimum number of trials for a surface; with fewer, only the trials are drawn."""

GRID = 160
"""Number of grid points of the surface along each axis."""

LEVELS = 12
"""Number of color levels."""

NEAR = -0.5 * 1.5**2
"""Log of the kernel sum at the edge of the surface: a single trial at a distance of 1.5 widths."""

BANDWIDTH = 0.12
"""Kernel width as a fraction of an axis, for up to 30 trials; it shrinks with more trials."""


def contours(
    space: Space,
    goal: Goal,
    trials: Sequence[Trial],
    x: str | None = None,
    y: str | None = None,
    *,
    ax: Axes | None = None,
    save: str | os.PathLike[str] | None = None,
) -> Axes:
    """Draw the trials over two parameters, on a surface smoothed from their values.

    Better values have stronger colors. Regions far from any trial have no color, because a surface
    there would be extrapolated. Trials in which one of the parameters is inactive are omitted.
    """
    points = Points.of(space, trials)
    x, y = _chosen(points, space, goal, trials, x, y)
    ax = axes_or_new(ax, 7.0, 4.8)
    if y is None:
        tidy(ax, "Contour")
        say_instead(ax, "needs two parameters that vary in the same trials")
        save_figure(ax, save)
        return ax
    across, up = points.axis(x), points.axis(y)
    tidy(ax, "Contour", grid="none")
    across.apply(ax, "x")
    up.apply(ax, "y")
    done = np.array([t.state is State.COMPLETED and bool(t.values) for t in trials], bool)
    shown = done & points.active(x, y)
    px, py = _apart(points.positions(x), points.positions(y), (across, up))
    if shown.any():
        drawn = [t for t, s in zip(trials, shown, strict=True) if s]
        is_best = ranking.best(goal, drawn) == ranking.best(goal, trials)
        label = "best" if is_best else "best of these"
        values = np.array([t.values[0] for t in drawn])
        _draw(ax, goal, (across, up), px[shown], py[shown], values, label)
    else:
        say(ax, "no completed trial has both parameters yet")
    failed = points.active(x, y) & np.array([t.state is State.FAILED for t in trials], bool)
    if failed.any():
        ax.plot(
            px[failed], py[failed], "x", color=GRAY, markersize=5, label="failed", zorder=1.5,
            alpha=crowd_alpha(int(failed.sum())),
        )  # fmt: skip
    legend_above(ax)
    save_figure(ax, save)
    return ax


def _draw(
    ax: Axes,
    goal: Goal,
    axes: tuple[ParameterAxis, ParameterAxis],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    values: NDArray[np.float64],
    label: str,
) -> None:
    axis = ValueAxis.of(goal, values)
    levels = axis.fraction(values)
    across, up = axes
    best_low = goal.direction is Direction.MINIMIZE
    colors = ramp(ax, best_low=best_low)
    if len(values) >= FEWEST and across.numeric and up.numeric:
        grid_x, grid_y, level, weight = _surface(across, up, x, y, levels)
        steps = np.linspace(0, 1, LEVELS + 1)
        filled = ax.contourf(grid_x, grid_y, level, steps, cmap=colors, zorder=0)
        # Prevents hairlines between the levels in PDF and SVG viewers.
        filled.set_edgecolor("face")
        # Clipped along a contour line, because masked points would give a jagged edge.
        near = ax.contourf(grid_x, grid_y, weight, [NEAR, max(NEAR, float(weight.max())) + 1])
        filled.set_clip_path(near.get_paths()[0], ax.transData)
        near.remove()
    size = float(np.clip(4_000 / len(values), 6, 34))
    dots = ax.scatter(
        x, y, c=levels, cmap=colors, vmin=0, vmax=1, s=size, edgecolors="white", linewidths=0.5,
        zorder=2, label="completed",
    )  # fmt: skip
    best = int(np.argmin(goal.direction.sign * values))
    ax.plot(
        x[best], y[best], "*", color=BEST, markersize=14, markeredgecolor="white",
        markeredgewidth=0.8, linestyle="none", label=label, zorder=4,
    )  # fmt: skip
    _color_bar(ax, axis, dots)


def _color_bar(ax: Axes, axis: ValueAxis, dots: object) -> None:
    figure = ax.get_figure()
    assert figure is not None
    bar = figure.colorbar(dots, ax=ax, pad=0.02, fraction=0.05)  # type: ignore[arg-type]
    ticks = axis.ticks()
    bar.set_ticks([at for at, _ in ticks], labels=[label for _, label in ticks])
    bar.ax.tick_params(labelsize=8, color=GRAY)
    bar.set_label(axis.label, fontsize=9)
    bar.outline.set_visible(False)


def _surface(
    across: ParameterAxis,
    up: ParameterAxis,
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    levels: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return (x, y, level, log weight) on a grid.

    The level is the kernel-weighted mean of the trials (Nadaraya-Watson). The weight is the sum of
    the kernels; it measures the proximity of trials.
    """
    grid = np.linspace(0, 1, GRID)
    width = BANDWIDTH * (30 / max(30, len(levels))) ** (1 / 6)
    # The two-dimensional Gaussian kernel is separable, so two small matrices give the whole grid.
    kx = np.exp(-0.5 * ((grid[:, None] - across.fraction(x)) / width) ** 2)
    ky = np.exp(-0.5 * ((grid[:, None] - up.fraction(y)) / width) ** 2)
    weight = np.maximum(ky @ kx.T, 1e-300)
    level = (ky * levels) @ kx.T / weight
    return across.at_fraction(grid), up.at_fraction(grid), level, np.log(weight)


def _apart(
    x: NDArray[np.float64], y: NDArray[np.float64], axes: tuple[ParameterAxis, ParameterAxis]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Jitter dots along axes with options, so that dots at the same options do not overlap."""
    index = np.arange(len(x))
    part_x, part_y = index * 0.7548776662466927 % 1, index * 0.5698402909980532 % 1
    across, up = axes
    return (
        x if across.numeric else x + (2 * part_x - 1) * 0.3,
        y if up.numeric else y + (2 * part_y - 1) * 0.3,
    )


def _chosen(
    points: Points,
    space: Space,
    goal: Goal,
    trials: Sequence[Trial],
    x: str | None,
    y: str | None,
) -> tuple[str, str | None]:
    """Return the parameters to draw; None is replaced by the most important suitable parameter."""
    for path in (x, y):
        if path is not None:
            points.axis(path)
    if x is not None and x == y:
        raise ArgumentError(f"contour: x and y are both {x!r}; write two parameters")
    if x is not None and y is not None:
        return x, y
    ranked = most_important(space, goal, trials)
    given = x or y
    first = given or _first_number(points, ranked)
    if first is None:
        return space.columns[0].path, None
    others = [p for p in ranked if p != first and _together(points, first, p)]
    numbers = [p for p in others if points.axes[p].numeric]
    second = next(iter(numbers or others), None)
    if given is not None and given == y:
        return (second, y) if second is not None else (y, None)
    return first, second


def _first_number(points: Points, ranked: Sequence[str]) -> str | None:
    """Return the most important numeric parameter that can be combined with another, or any."""
    numbers = [p for p in ranked if points.axes[p].numeric]
    for path in numbers:
        if any(p != path and _together(points, path, p) for p in numbers):
            return path
    return ranked[0] if ranked else None


def _together(points: Points, a: str, b: str) -> bool:
    """Return whether two parameters can be active together, neither a parent of the other."""
    pa, pb = dict(points.axes[a].column.parents), dict(points.axes[b].column.parents)
    return a not in pb and b not in pa and all(pb.get(path, o) == o for path, o in pa.items())
