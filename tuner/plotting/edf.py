"""Empirical distribution of the values: the share of trials up to each value."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tuner.plotting.comparison import Curve, draw_curves, legend_names
from tuner.plotting.measure import Measure
from tuner.plotting.style import axes_or_new, legend_above, save_figure, say_instead, tidy
from tuner.plotting.value_axis import ValueAxis
from tuner.records import Trial

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def edf(
    studies: Sequence[tuple[str, Measure, Sequence[Trial]]],
    *,
    ax: Axes | None = None,
    save: str | os.PathLike[str] | None = None,
) -> Axes:
    """Draw the empirical distribution function of each study: tuples of name, measure and trials.

    The curve of a better study is higher if the goal is minimized, and lower if it is maximized.
    Only completed, feasible trials have a share; the legend states how many of the trials these
    are, because a search of which many trials fail can have good values all the same.
    """
    ax = axes_or_new(ax)
    tidy(ax, "Empirical distribution of the values")
    measure = studies[0][1]
    found = []
    names = legend_names([name for name, *_ in studies])
    for name, (_, its, trials) in zip(names, studies, strict=True):
        values = np.sort(its.values(t for t in its.completed(trials) if t.feasible))
        found.append((f"{name}: " if len(studies) > 1 else "", values, len(trials)))
    everything = np.concatenate([values for _, values, _ in found])
    if not len(everything):
        say_instead(ax, "no feasible completed trial yet")
        save_figure(ax, save)
        return ax
    axis = ValueAxis.of(measure, everything)
    low, high = axis.limits(0.03)
    curves = []
    for name, values, n in found:
        share = np.arange(1, len(values) + 1) / max(1, len(values))
        x = np.concatenate([[low], values, [high]]) if len(values) else values
        y = np.concatenate([[0.0], share, share[-1:]])[: len(x)]
        curves.append(Curve(f"{name}{len(values)} of {n} trials", x, y))
    draw_curves(ax, curves)
    axis.apply(ax, "x", margin=0.03)
    ax.set_ylim(-0.03, 1.03)
    ax.set_ylabel("share of the trials with at most this value")
    legend_above(ax)
    save_figure(ax, save)
    return ax
