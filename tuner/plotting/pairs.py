"""Trials over two parameters: the contour plot and the rank plot."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tuner.errors import ArgumentError
from tuner.plotting.importance_scores import most_important
from tuner.plotting.measure import Measure, ValueAxis
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
from tuner.records import State, Trial
from tuner.search_spaces import Space

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, slots=True)
class Pair:
    """The trials in which two parameters are active, over these parameters.

    `feasible` holds the completed, feasible trials, at the positions `x` and `y`. `infeasible` and
    `failed` hold positions, shape (n, 2).
    """

    measure: Measure
    across: ParameterAxis
    up: ParameterAxis
    feasible: list[Trial]
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    infeasible: NDArray[np.float64]
    failed: NDArray[np.float64]
    best_label: str

    @classmethod
    def of(cls, points: Points, measure: Measure, trials: Sequence[Trial], x: str, y: str) -> Pair:
        """Return the trials over the parameters at the paths `x` and `y`."""
        across, up = points.axis(x), points.axis(y)
        at = np.column_stack(_apart(points.positions(x), points.positions(y), (across, up)))
        active = points.active(x, y)
        states = np.array([t.state for t in trials], dtype=object)
        known = np.array([measure.value(t) is not None for t in trials], bool)
        kept = np.array([t.feasible for t in trials], bool)
        done = active & (states == State.COMPLETED) & known
        feasible = done & kept
        drawn = [t for t, is_drawn in zip(trials, feasible, strict=True) if is_drawn]
        best_of_all = measure.best(trials)
        return cls(
            measure,
            across,
            up,
            drawn,
            at[feasible, 0],
            at[feasible, 1],
            at[done & ~kept],
            at[active & (states == State.FAILED)],
            "best" if best_of_all is None or best_of_all in drawn else "best of these",
        )

    @property
    def values(self) -> NDArray[np.float64]:
        """The values of the feasible trials."""
        return self.measure.values(self.feasible)

    def draw(self, ax: Axes, levels: NDArray[np.float64]) -> Any:
        """Draw the trials, colored by `levels` from 0 to 1, and return the colored dots."""
        dots = ax.scatter(
            self.x, self.y, c=levels, cmap=self.colors(ax), vmin=0, vmax=1, s=self._size,
            edgecolors="white", linewidths=0.5, zorder=2, label="completed",
        )  # fmt: skip
        self.draw_others(ax)
        best = self.measure.best(self.feasible)
        if best is not None:
            at = self.feasible.index(best)
            ax.plot(
                self.x[at], self.y[at], "*", color=BEST, markersize=14, markeredgecolor="white",
                markeredgewidth=0.8, linestyle="none", label=self.best_label, zorder=4,
            )  # fmt: skip
        return dots

    def draw_others(self, ax: Axes, *, or_say: bool = False) -> None:
        """Draw the infeasible and failed trials, or say that no trial is completed."""
        if len(self.infeasible):
            ax.scatter(
                self.infeasible[:, 0], self.infeasible[:, 1], marker="s", s=min(self._size, 20),
                facecolors="none", edgecolors=GRAY, linewidths=0.8, label="infeasible", zorder=1.6,
            )  # fmt: skip
        if len(self.failed):
            ax.plot(
                *self.failed.T, "x", color=GRAY, markersize=5, label="failed", zorder=1.5,
                alpha=crowd_alpha(len(self.failed)),
            )  # fmt: skip
        if or_say and not len(self.infeasible):
            say(ax, "no completed trial has both parameters yet")

    @property
    def _size(self) -> float:
        return float(np.clip(4_000 / max(1, len(self.feasible)), 6, 34))

    def colors(self, ax: Axes) -> Any:
        """Return the color map of the levels, on which better values are stronger."""
        return ramp(ax, best_low=self.measure.worse_up)


def pair_plot(
    title: str,
    draw: Callable[[Axes, Pair], None],
    space: Space,
    measure: Measure,
    trials: Sequence[Trial],
    x: str | None,
    y: str | None,
    *,
    grid: str = "both",
    ax: Axes | None,
    save: str | os.PathLike[str] | None,
) -> Axes:
    """Draw a plot over two parameters: `draw` adds the feasible trials, of which there are some.

    Raises
    ------
    ArgumentError
        If a path is unknown, or both are equal.
    """
    points = Points.of(space, trials)
    x, y = chosen_pair(title.lower(), points, space, measure, trials, x, y)
    ax = axes_or_new(ax, 7.0, 4.8)
    if y is None:
        tidy(ax, title)
        say_instead(ax, "needs two parameters that vary in the same trials")
    else:
        pair = Pair.of(points, measure, trials, x, y)
        tidy(ax, title, grid=grid)
        pair.across.apply(ax, "x")
        pair.up.apply(ax, "y")
        if pair.feasible:
            draw(ax, pair)
        else:
            pair.draw_others(ax, or_say=True)
        legend_above(ax)
    save_figure(ax, save)
    return ax


def color_bar(ax: Axes, dots: Any, label: str, ticks: Sequence[tuple[float, str]]) -> None:
    """Draw the color bar of `dots`, with ticks as pairs of level and text."""
    figure = ax.get_figure()
    assert figure is not None
    bar = figure.colorbar(dots, ax=ax, pad=0.02, fraction=0.05)
    bar.set_ticks([at for at, _ in ticks], labels=[text for _, text in ticks])
    bar.ax.tick_params(labelsize=8, color=GRAY)
    bar.set_label(label, fontsize=9)
    bar.outline.set_visible(False)


def chosen_pair(
    what: str,
    points: Points,
    space: Space,
    measure: Measure,
    trials: Sequence[Trial],
    x: str | None,
    y: str | None,
) -> tuple[str, str | None]:
    """Return the parameters to draw; None is replaced by the most important suitable parameter.

    The second one is None if no parameter suits the first one. `what` names the plot in errors.

    Raises
    ------
    ArgumentError
        If a path is unknown, or both are equal.
    """
    for path in (x, y):
        if path is not None:
            points.axis(path)
    if x is not None and x == y:
        raise ArgumentError(f"{what}: x and y are both {x!r}; write two parameters")
    if x is not None and y is not None:
        return x, y
    ranked = most_important(space, measure, trials)
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


def _first_number(points: Points, ranked: Sequence[str]) -> str | None:
    """Return the most important numeric parameter that can be combined with another, or any."""
    numbers = [p for p in ranked if points.axes[p].numeric]
    for path in numbers:
        if any(p != path and _together(points, path, p) for p in numbers):
            return path
    return ranked[0] if ranked else None


def _together(points: Points, a: str, b: str) -> bool:
    """Return whether two parameters can be active together, neither a parent of the other."""
    first, second = points.axes[a].column.parents, points.axes[b].column.parents
    if a in (c.path for c in second) or b in (c.path for c in first):
        return False
    return all(c.allows(other) for c in first for other in second if c.path == other.path)


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
    measure: Measure,
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
    Infeasible trials are hollow squares and do not count for the surface.
    """
    return pair_plot(
        "Contour", _draw_contour, space, measure, trials, x, y, grid="none", ax=ax, save=save
    )


def _draw_contour(ax: Axes, pair: Pair) -> None:
    axis = ValueAxis.of(pair.measure, pair.values)
    levels = axis.fraction(pair.values)
    if len(levels) >= FEWEST and pair.across.numeric and pair.up.numeric:
        _fill(ax, pair, levels)
    color_bar(ax, pair.draw(ax, levels), pair.measure.label, axis.ticks())


def _fill(ax: Axes, pair: Pair, levels: NDArray[np.float64]) -> None:
    grid_x, grid_y, level, weight = _surface(pair.across, pair.up, pair.x, pair.y, levels)
    steps = np.linspace(0, 1, LEVELS + 1)
    filled = ax.contourf(grid_x, grid_y, level, steps, cmap=pair.colors(ax), zorder=0)
    # Prevents hairlines between the levels in PDF and SVG viewers.
    filled.set_edgecolor("face")
    # Clipped along a contour line, because masked points would give a jagged edge.
    near = ax.contourf(grid_x, grid_y, weight, [NEAR, max(NEAR, float(weight.max())) + 1])
    filled.set_clip_path(near.get_paths()[0], ax.transData)
    near.remove()


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


def rank(
    space: Space,
    measure: Measure,
    trials: Sequence[Trial],
    x: str | None = None,
    y: str | None = None,
    *,
    ax: Axes | None = None,
    save: str | os.PathLike[str] | None = None,
) -> Axes:
    """Draw the trials over two parameters, colored by the rank of their value.

    Ranks show the order of the trials even if few values are far from the others. Equal values
    have equal ranks. The ranks are those among the feasible trials with both parameters.
    """
    return pair_plot("Rank", _draw_rank, space, measure, trials, x, y, ax=ax, save=save)


def _draw_rank(ax: Axes, pair: Pair) -> None:
    measure = pair.measure
    ends = ["best", "worst"] if measure.worse_up else ["worst", "best"]
    low, high = ends if measure.direction is not None else ("lowest", "highest")
    ticks = [(0.0, low), (0.25, "25 %"), (0.5, "50 %"), (0.75, "75 %"), (1.0, high)]
    color_bar(ax, pair.draw(ax, rank_levels(pair.values)), f"rank by {measure.label}", ticks)


def rank_levels(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the ranks of the values, from 0 (lowest) to 1; equal values share their mean rank.

    >>> rank_levels(np.array([3.0, 1.0, 1e9, 1.0])).round(2).tolist()
    [0.67, 0.17, 1.0, 0.17]
    """
    if len(values) < 2:
        return np.full(len(values), 0.5)
    from scipy.stats import rankdata

    ranks: NDArray[np.float64] = rankdata(values)
    return (ranks - 1) / (len(values) - 1)
