"""Timeline: the runs of each worker over time."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tuner.plotting.measure import Measure
from tuner.plotting.names import spread_labels
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
from tuner.records import Run, RunPurpose, State, Trial

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import PolyCollection

PAUSE_SHARE = 0.15
"""Minimum length of an idle period to cut it, as a share of the busy time."""

SHORTEST_PAUSE = 60.0
"""Minimum length of an idle period to cut it, in seconds; optimizers cause shorter ones."""

MOST_PAUSE_LABELS = 6
"""Maximum number of cuts with a label; with more cuts, all labels are omitted."""

CUT_SHARE = 0.04
"""Width of a cut, as a share of the busy time."""

NARROWEST = 0.0012
"""Minimum width of a bar, as a share of the axis; narrower bars are invisible."""

EDGED = 0.005
"""Minimum width of a bar with an edge, as a share of the axis; the edge covers narrower bars."""


def timeline(
    measure: Measure,
    trials: Sequence[Trial],
    runs: Sequence[Run],
    *,
    ax: Axes | None = None,
    save: str | os.PathLike[str] | None = None,
) -> Axes:
    """Draw a bar for each run, in one lane per worker; the run of the best trial is orange.

    Stopped runs are hollow, failed runs hatched, unfinished runs pale, and repeats gray. Long
    pauses between two calls are cut out; a mark states their length.
    """
    begun = sorted((r for r in runs if r.started is not None), key=lambda r: r.started or 0.0)
    lanes = list(dict.fromkeys(_lane(run) for run in sorted(begun, key=_lane_order)))
    ax = axes_or_new(ax, 7.0, float(np.clip(1.5 + 0.32 * len(lanes), 2.0, 9.0)))
    tidy(ax, "Timeline", grid="x")
    if not begun:
        say_instead(ax, "no run has started yet")
        save_figure(ax, save)
        return ax
    starts = np.array([run.started for run in begun], float)
    last = max([*starts, *(r.ended for r in begun if r.ended is not None)])
    ends = np.array([last if r.ended is None else max(r.ended, r.started or 0.0) for r in begun])
    clock = _Clock.of(starts, ends)
    best = measure.best(trials)
    at = np.array([lanes.index(_lane(run)) for run in begun], float)
    left, right = clock.position(starts), clock.position(ends)
    kinds = np.array([_kind(run, best) for run in begun])
    width = max(clock.length, 1e-9)
    right = np.maximum(right, left + NARROWEST * width)
    bars = {}
    for kind, look in _LOOKS.items():
        chosen = kinds == kind
        if chosen.any():
            spans = left[chosen], right[chosen]
            label = f"best, trial {best.number}" if best and kind == "best" else kind
            bars[kind] = _bars(ax, at[chosen], *spans, edged=EDGED * width, label=label, **look)
    _mark_cuts(ax, clock)
    _axes(ax, clock, lanes)
    legend_above(ax)
    # Overlapping bars become paler. The legend was created before and keeps the full opacity.
    pale = min(1.0, width * len(lanes) / float((right - left).sum()))
    for kind in bars.keys() - {"best"}:
        bars[kind].set_alpha(pale * (bars[kind].get_alpha() or 1.0))
    save_figure(ax, save)
    return ax


_LOOKS: dict[str, dict[str, Any]] = {
    "completed": {"facecolor": LIGHT, "edgecolor": "white"},
    "stopped": {"facecolor": "none", "edgecolor": GRAY},
    "repeat": {"facecolor": GRAY, "edgecolor": "white"},
    "failed": {"facecolor": "none", "edgecolor": GRAY, "hatch": "xxxx"},
    "running": {"facecolor": LIGHT, "edgecolor": GRAY, "alpha": 0.4},
    "best": {"facecolor": BEST, "edgecolor": BEST, "zorder": 3},
}


def _kind(run: Run, best: Trial | None) -> str:
    if run.purpose is RunPurpose.REPEAT and run.state is State.COMPLETED:
        return "repeat"
    if best is not None and run.trial == best.number and run.state is State.COMPLETED:
        return "best"
    return "running" if run.state is State.WAITING else str(run.state)


def _bars(
    ax: Axes,
    lanes: NDArray[np.float64],
    left: NDArray[np.float64],
    right: NDArray[np.float64],
    *,
    edged: float,
    label: str,
    **look: Any,
) -> PolyCollection:
    """Draw all bars of one style as one collection; 10,000 rectangles would take minutes."""
    from matplotlib.collections import PolyCollection

    low, high = lanes - 0.38, lanes + 0.38
    corners = np.stack(
        [np.stack(p, -1) for p in ((left, low), (right, low), (right, high), (left, high))], 1
    )
    look.setdefault("zorder", 2)
    face, edge = look.pop("facecolor"), look.pop("edgecolor")
    narrow = right - left < edged
    # The legend shows the style of the first bar, so bars with an edge come first.
    order = np.argsort(narrow, kind="stable")
    edges = [face if is_narrow and face != "none" else edge for is_narrow in narrow[order]]
    bars = PolyCollection(
        list(corners[order]),
        facecolors=face,
        edgecolors=edges,
        linewidths=np.where(narrow[order], 0.15, 0.5),
        label=label,
        **look,
    )
    ax.add_collection(bars)
    return bars


def _lane(run: Run) -> str:
    return run.worker or run.host or "worker"


def _lane_order(run: Run) -> tuple[Any, ...]:
    """Return a natural sort key: worker 2 comes before worker 10."""
    name = _lane(run)
    digits = "".join(c for c in name if c.isdigit())
    return (name.rstrip("0123456789"), int(digits or 0), name)


@dataclass(frozen=True, slots=True)
class _Clock:
    """The time axis: seconds since the first start, with long pauses cut out.

    `pauses` contains (begin, end) in seconds since the epoch; each has the width `cut` on the axis.
    """

    begin: float
    end: float
    pauses: tuple[tuple[float, float], ...]
    cut: float

    @classmethod
    def of(cls, starts: NDArray[np.float64], ends: NDArray[np.float64]) -> _Clock:
        latest = np.maximum.accumulate(ends)
        idle = np.maximum(0.0, starts[1:] - latest[:-1])
        begin, end = float(starts[0]), float(latest[-1])
        # Each uncut pause raises the threshold for the others, so short pauses come first.
        busy = end - begin - float(idle.sum())
        pauses = []
        for i in np.argsort(idle):
            if idle[i] > max(PAUSE_SHARE * busy, SHORTEST_PAUSE):
                pauses.append((float(latest[i]), float(starts[i + 1])))
            else:
                busy += float(idle[i])
        return cls(begin, end, tuple(sorted(pauses)), CUT_SHARE * busy)

    def position(self, times: NDArray[np.float64] | float) -> NDArray[np.float64]:
        """Return the positions of times on the axis."""
        t = np.asarray(times, float)
        at = t - self.begin
        for begin, end in self.pauses:
            inside = np.clip(t - begin, 0.0, end - begin)
            at = at - inside * (1 - self.cut / (end - begin))
        return at

    @property
    def length(self) -> float:
        """The length of the axis."""
        return float(self.position(self.end))


def _mark_cuts(ax: Axes, clock: _Clock) -> None:
    for begin, end in clock.pauses:
        left, right = clock.position(np.array([begin, end]))
        ax.axvspan(float(left), float(right), color=GRAY, alpha=0.12, linewidth=0, zorder=0)
        if len(clock.pauses) > MOST_PAUSE_LABELS:
            continue
        ax.text(
            float(left + right) / 2, 0.5, f"{duration_text(end - begin)} pause", rotation=90,
            transform=ax.get_xaxis_transform(), ha="center", va="center", fontsize=SMALL - 1,
            color=GRAY,
        )  # fmt: skip


_UNITS = (
    (86_400, "days"),
    (3_600, "hours"),
    (60, "minutes"),
    (1, "seconds"),
    (0.001, "milliseconds"),
)


def _axes(ax: Axes, clock: _Clock, lanes: Sequence[str]) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    scale, unit = next((s, u) for s, u in _UNITS if clock.length >= 2 * s or s == _UNITS[-1][0])
    pad = max(0.01 * clock.length, 1e-9)
    ax.set_xlim(-pad, clock.length + pad)
    locator = MaxNLocator(7)
    ticks = [scale * t for t in locator.tick_values(0, clock.length / scale)]
    ax.set_xticks([t for t in ticks if 0 <= t <= clock.length])
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value / scale:g}"))
    cut = ", pauses omitted" if clock.pauses else ""
    ax.set_xlabel(f"{unit} since the start of the first run{cut}")
    ax.set_ylim(len(lanes) - 0.4, -0.6)
    ax.set_yticks(range(len(lanes)), spread_labels(lanes, 40, 24))
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)


def duration_text(seconds: float) -> str:
    """Format a duration in its largest unit.

    >>> duration_text(45), duration_text(5400), duration_text(200000)
    ('45 s', '1.5 h', '2.3 d')
    """
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.2g} {unit}"
    return f"{seconds:.2g} s"
