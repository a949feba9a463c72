"""Rank plot: the trials over two parameters, colored by their rank."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tuner.plotting.measure import Measure
from tuner.plotting.pairs import Pair, color_bar, pair_plot
from tuner.records import Trial
from tuner.search_spaces import Space

if TYPE_CHECKING:
    from matplotlib.axes import Axes


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
    return pair_plot("Rank", _draw, space, measure, trials, x, y, ax=ax, save=save)


def _draw(ax: Axes, pair: Pair) -> None:
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
