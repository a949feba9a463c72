"""Learning curves: the reported values of the trials over their steps."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tuner.errors import ArgumentError
from tuner.plotting.measure import Measure, ValueAxis
from tuner.plotting.names import shorten
from tuner.plotting.style import (
    BEST,
    GRAY,
    LIGHT,
    SMALL,
    axes_or_new,
    legend_above,
    save_figure,
    say_instead,
    tidy,
)
from tuner.records import Report, Run, State, Trial
from tuner.records.attempts import reports_by_trial

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_CURVES = 1_000
"""Maximum number of curves; of more, every n-th curve and the best one are drawn."""

_LOOKS: dict[str, dict[str, Any]] = {
    "completed": {"color": LIGHT, "linestyle": "-"},
    "stopped": {"color": GRAY, "linestyle": "--"},
    "failed": {"color": GRAY, "linestyle": ":"},
    "running": {"color": LIGHT, "linestyle": "-."},
}


def learning_curves(
    measure: Measure,
    trials: Sequence[Trial],
    runs: Sequence[Run],
    reports: Sequence[tuple[str, Report]],
    *,
    ax: Axes | None = None,
    save: str | os.PathLike[str] | None = None,
) -> Axes:
    """Draw one line per trial: the reports of a metric over its attempts; the best is orange.

    The line of a stopped trial is dashed and ends in a circle. The line of a failed trial is dotted
    and ends in a cross.
    """
    name = measure.name
    curves = _curves(name, runs, reports)
    recorded = any(name in trial.metrics for trial in trials)
    known = sorted({key for _, report in reports for key in report.metrics})
    if measure.shown is None and name not in known and not recorded and reports:
        raise ArgumentError(
            f"learning curves: no trial reported {name!r}; "
            f"write one of {', '.join(map(repr, known))}"
        )
    ax = axes_or_new(ax)
    tidy(ax, "Learning curves")
    if not curves:
        say_instead(
            ax, f"no trial has reported {shorten(name, 40)!r}: call trial.report(value, step)"
        )
        save_figure(ax, save)
        return ax
    states = {t.number: t.state for t in trials}
    cut = (State.STOPPED, State.FAILED)
    axis = ValueAxis.of(
        measure,
        _values([line for number, line in curves.items() if states.get(number) not in cut]),
        _values([line for number, line in curves.items() if states.get(number) in cut]),
    )
    best = measure.best([t for t in trials if t.number in curves])
    shown = _thinned(list(curves), keep=best)
    for state, look in _LOOKS.items():
        lines = [curves[n] for n in shown if states.get(n, State.RUNNING).value == state]
        _draw(ax, axis, state, lines, look)
    if best is not None:
        line = curves[best.number]
        ax.plot(
            line[:, 0], axis.clip(line[:, 1]), color=BEST, linewidth=2.0, zorder=4,
            marker="o" if len(line) == 1 else None, label=f"best, trial {best.number}",
        )  # fmt: skip
    _apply(ax, axis, curves)
    if len(shown) < len(curves):
        note = f"{len(shown):,} of {len(curves):,} curves"
        ax.text(0.995, 0.01, note, transform=ax.transAxes, ha="right", color=GRAY, fontsize=SMALL)
    legend_above(ax)
    save_figure(ax, save)
    return ax


def _curves(
    metric: str, runs: Sequence[Run], reports: Sequence[tuple[str, Report]]
) -> dict[int, NDArray[np.float64]]:
    """Return the (step, value) rows of each trial over all its attempts; finite values only."""
    of_metric = ((uid, report) for uid, report in reports if metric in report.metrics)
    curves: dict[int, NDArray[np.float64]] = {}
    for trial, points in sorted(reports_by_trial(runs, of_metric).items()):
        line = np.array([(report.step, report.metrics[metric]) for report in points], float)
        line = line[np.isfinite(line[:, 1])]
        if len(line):
            curves[trial] = line
    return curves


def _values(lines: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    return np.concatenate([np.empty(0), *(line[:, 1] for line in lines)])


def _thinned(numbers: list[int], keep: Trial | None) -> list[int]:
    every = -(-len(numbers) // MOST_CURVES)
    return [n for i, n in enumerate(numbers) if i % every == 0 or (keep and n == keep.number)]


def _draw(
    ax: Axes,
    axis: ValueAxis,
    label: str,
    lines: Sequence[NDArray[np.float64]],
    look: dict[str, Any],
) -> None:
    from matplotlib.collections import LineCollection

    if not lines:
        return
    clipped = [np.column_stack([line[:, 0], axis.clip(line[:, 1])]) for line in lines]
    width = float(np.clip(8 / np.sqrt(len(lines)), 0.4, 1.2))
    alpha = float(np.clip(8 / np.sqrt(len(lines)), 0.25, 0.9))
    collection = LineCollection(
        clipped,
        colors=look["color"],
        linestyles=look["linestyle"],
        linewidths=width,
        alpha=alpha,
        label=label,
        zorder=2,
    )
    ax.add_collection(collection)
    ends = np.array([line[-1] for line in clipped])
    single = np.array([len(line) == 1 for line in clipped])
    if label == "stopped":
        size = float(np.clip(1_500 / len(lines), 4, 18))
        ax.scatter(
            ends[:, 0],
            ends[:, 1],
            s=size,
            facecolors="none",
            edgecolors=GRAY,
            linewidths=0.8,
            zorder=3,
        )
    elif label == "failed":
        ax.plot(ends[:, 0], ends[:, 1], "x", color=GRAY, markersize=5, zorder=3)
    elif single.any():  # a line with one point is invisible
        ax.scatter(ends[single, 0], ends[single, 1], s=10, color=look["color"], zorder=2)


def _apply(ax: Axes, axis: ValueAxis, curves: dict[int, NDArray[np.float64]]) -> None:
    from matplotlib.ticker import MaxNLocator

    axis.apply(ax)
    ax.set_xlabel("step")
    first = min(line[0, 0] for line in curves.values())
    last = max(line[-1, 0] for line in curves.values())
    pad = max(0.02 * (last - first), 0.02 if last > first else 0.5)
    ax.set_xlim(first - pad, last + pad)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
