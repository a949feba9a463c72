"""Contour plot: the value over two parameters."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tuner.plotting.measure import Measure
from tuner.plotting.pairs import Pair, color_bar, pair_plot
from tuner.plotting.parameter_axis import ParameterAxis
from tuner.plotting.value_axis import ValueAxis
from tuner.records import Trial
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
    return pair_plot("Contour", _draw, space, measure, trials, x, y, grid="none", ax=ax, save=save)


def _draw(ax: Axes, pair: Pair) -> None:
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
