"""Curves of one or several studies: the optimization history and the distribution of values."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tuner.plotting.measure import Measure, ValueAxis, mark_failed, scatter
from tuner.plotting.names import distinct
from tuner.plotting.repeated import RepeatedTrials
from tuner.plotting.style import (
    BEST,
    GRAY,
    LIGHT,
    MAIN,
    axes_or_new,
    legend_above,
    number_text,
    save_figure,
    say,
    say_instead,
    tidy,
)
from tuner.records import Direction, State, Trial

if TYPE_CHECKING:
    from matplotlib.axes import Axes


COLORS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9")
"""Colors of the studies, distinguishable with any type of color blindness (Okabe & Ito 2008, "Color
universal design"). Further studies repeat them with another line style."""

STYLES = ("-", "--", ":", "-.")

_Array = NDArray[np.float64]


def _empty() -> _Array:
    return np.empty(0)


@dataclass(frozen=True, slots=True)
class Curve:
    """A step line of one study; empty if the study has nothing to show."""

    name: str
    x: _Array = field(default_factory=_empty)
    y: _Array = field(default_factory=_empty)

    def clipped(self, axis: ValueAxis) -> Curve:
        """Return the curve, clipped to the limits of an axis."""
        return dataclasses.replace(self, y=axis.clip(self.y))


def legend_names(names: Sequence[str]) -> list[str]:
    """Return short, distinct names of studies; studies of the same name are numbered.

    >>> legend_names(["digits", "digits", "iris"])
    ['digits', 'digits (2)', 'iris']
    """
    found: list[str] = []
    for k, name in enumerate(names):
        earlier = names[:k].count(name)
        found.append(f"{name} ({earlier + 1})" if earlier else name)
    return distinct(found, 28)


def draw_curves(ax: Axes, curves: Sequence[Curve]) -> None:
    """Draw the curves as steps, each with its own color and line style, and a legend entry."""
    for k, curve in enumerate(curves):
        ax.step(
            curve.x, curve.y, where="post", label=curve.name, linewidth=1.7, zorder=3,
            color=COLORS[k % len(COLORS)],
            marker="o" if len(set(curve.x.tolist())) == 1 else "",
            linestyle=STYLES[k // len(COLORS) % len(STYLES)],
        )  # fmt: skip


def number_axis(ax: Axes, last: int) -> None:
    """Set the x axis to the numbers of the trials, from 0 to `last`."""
    from matplotlib.ticker import MaxNLocator

    pad = max(0.5, 0.02 * last)
    ax.set_xlim(-pad, last + pad)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    ax.tick_params(axis="x", color=GRAY)


def history(
    measure: Measure,
    trials: Sequence[Trial],
    repeated: RepeatedTrials | None = None,
    *,
    ax: Axes | None = None,
    save: str | os.PathLike[str] | None = None,
) -> Axes:
    """Draw the value of each trial over its number, and the best so far as a step line.

    Completed trials are dots, infeasible trials hollow squares, stopped trials circles at their
    last value, and failed trials crosses in a lane beyond the worse end. Values off the scale are
    triangles at the edge. Only feasible trials count for the best so far. A metric without a
    direction has no best so far; the star marks the trial that is the best by the goal. Trials that
    ran several times have the mean of their values with a 95 % interval, and the winner has a ring;
    see `RepeatedTrials`.
    """
    ax = axes_or_new(ax)
    tidy(ax, "Optimization history")
    ax.set_xlabel("trial")
    done = measure.completed(trials)
    feasible = [t for t in done if t.feasible]
    infeasible = [t for t in done if not t.feasible]
    stopped = measure.known(trials, State.STOPPED)
    failed = [t.number for t in trials if t.state is State.FAILED]
    if done or stopped:
        axis = ValueAxis.of(
            measure,
            measure.values(feasible),
            [*measure.values([*infeasible, *stopped]), *(repeated.ends if repeated else ())],
        )
        size = float(np.clip(2_000 / len(trials), 6, 26))
        hollow: dict[str, Any] = {"facecolors": "none", "edgecolors": GRAY}
        hollow["linewidths"] = min(1.0, size / 20)
        groups: tuple[tuple[list[Trial], str, dict[str, Any]], ...] = (
            (feasible, "completed", {"color": LIGHT, "linewidths": 0}),
            (infeasible, "infeasible", {"marker": "s", **hollow}),
            (stopped, "stopped", hollow),
        )
        for group, label, look in groups:
            numbers = np.array([t.number for t in group], float)
            scatter(
                ax, axis, numbers, measure.values(group), label, s=size, lane=bool(failed), **look
            )
        axis.apply(ax, lane=bool(failed))
        if repeated is not None:
            repeated.draw(ax, axis, {n: float(n) for n in repeated.numbers.tolist()})
    else:
        ax.set_yticks([])
        ax.set_ylabel(measure.label)
        say(ax, "no completed trial yet")
    if feasible and measure.direction is not None:
        curve = best_curve(measure, feasible, last=max(t.number for t in trials))
        ax.step(*curve, where="post", color=MAIN, linewidth=1.6, label="best so far", zorder=3)
    _mark_best(ax, measure, trials)
    mark_failed(ax, measure, failed)
    number_axis(ax, max((t.number for t in trials), default=1))
    legend_above(ax)
    save_figure(ax, save)
    return ax


def histories(
    studies: Sequence[tuple[str, Measure, Sequence[Trial]]],
    *,
    ax: Axes | None = None,
    save: str | os.PathLike[str] | None = None,
) -> Axes:
    """Draw the best value so far of several studies: tuples of name, measure and trials.

    A study without a feasible completed trial has no line, but an entry in the
    legend.
    """
    ax = axes_or_new(ax)
    tidy(ax, "Optimization history")
    ax.set_xlabel("trial")
    measure = studies[0][1]
    curves = []
    names = legend_names([name for name, *_ in studies])
    for name, (_, its, trials) in zip(names, studies, strict=True):
        feasible = [t for t in its.completed(trials) if t.feasible]
        if feasible:
            x, y = best_curve(its, feasible, last=max(t.number for t in trials))
            curves.append(Curve(name, x, y))
        else:
            curves.append(Curve(f"{name}: no feasible trial"))
    values = np.concatenate([curve.y for curve in curves])
    if len(values):
        axis = ValueAxis.of(measure, values)
        draw_curves(ax, [curve.clipped(axis) for curve in curves])
        axis.apply(ax)
    else:
        ax.set_yticks([])
        ax.set_ylabel(measure.label)
        say(ax, "no completed trial yet")
    number_axis(ax, max((t.number for _, _, trials in studies for t in trials), default=1))
    legend_above(ax)
    save_figure(ax, save)
    return ax


def best_curve(
    measure: Measure, feasible: Sequence[Trial], last: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the numbers of the trials and the best value up to each, continued to `last`.

    Without a direction, these are the values themselves.
    """
    numbers = [t.number for t in feasible]
    values = measure.values(feasible)
    best = values if measure.direction is None else best_so_far(measure.direction, values)
    return np.array([*numbers, last], float), np.array([*best, best[-1]])


def best_so_far(direction: Direction, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the running best of the values.

    >>> best_so_far(Direction.MAXIMIZE, np.array([1.0, 0.5, 2.0]))
    array([1., 1., 2.])
    """
    running = np.minimum if direction is Direction.MINIMIZE else np.maximum
    return np.asarray(running.accumulate(values))


def _mark_best(ax: Axes, measure: Measure, trials: Sequence[Trial]) -> None:
    """Mark the best trial; the legend has its value, because a text would cover trials."""
    best = measure.best(trials)
    value = None if best is None else measure.value(best)
    if best is None or value is None:
        return
    ax.plot(
        best.number, value, "*", color=BEST, markersize=12, zorder=4, linestyle="none",
        markeredgecolor="white", markeredgewidth=0.6,
        label=f"best: {number_text(value)}, trial {best.number}",
    )  # fmt: skip


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
