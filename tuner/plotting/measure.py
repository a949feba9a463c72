"""The quantity that a plot shows, a goal or another recorded metric, and the axis of its values."""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tuner.errors import ArgumentError
from tuner.optimizers import ranking
from tuner.plotting.names import shorten
from tuner.plotting.style import GRAY, crowd_alpha, number_text
from tuner.records import Direction, Goal, State, Trial

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Selector: TypeAlias = int | str
"""The index of a goal, counted from 0, or a name."""


@dataclass(frozen=True, slots=True)
class Measure:
    """One number per trial, and the goal that tells which trial is the best.

    `direction` is None for a metric that is not a goal: no value of it is better than another.
    `goal` is the goal at `index` of the study. `shown` is the index of the goal that the plot
    shows, None for a metric.
    """

    name: str
    direction: Direction | None
    goal: Goal
    index: int = 0
    shown: int | None = 0

    @classmethod
    def of_goal(cls, goal: Goal, index: int = 0) -> Measure:
        """Return the measure of a goal of the study."""
        return cls(goal.metric, goal.direction, goal, index, index)

    @property
    def label(self) -> str:
        """The label of an axis.

        >>> Measure.of_goal(Goal("loss")).label
        'loss (minimize)'
        """
        name = shorten(self.name, 28)
        return name if self.direction is None else f"{name} ({self.direction})"

    @property
    def worse_up(self) -> bool:
        """Whether larger values are worse; true for a metric without a direction."""
        return self.direction is not Direction.MAXIMIZE

    @property
    def sign(self) -> int:
        """The factor that turns a value into a loss; 1 without a direction."""
        return 1 if self.worse_up else -1

    def value(self, trial: Trial) -> float | None:
        """Return the value of a trial, None if it has no finite one."""
        if self.shown is not None:
            found = trial.values[self.shown] if self.shown < len(trial.values) else None
        else:
            found = trial.metrics.get(self.name)
        return found if found is not None and math.isfinite(found) else None

    def values(self, trials: Iterable[Trial]) -> NDArray[np.float64]:
        """Return the values of trials that have one."""
        return np.array([self.value(trial) for trial in trials], float)

    def known(self, trials: Iterable[Trial], *states: State) -> list[Trial]:
        """Return the trials in the given states that have a value, by number."""
        found = (t for t in trials if t.state in states and self.value(t) is not None)
        return sorted(found, key=lambda t: t.number)

    def completed(self, trials: Iterable[Trial]) -> list[Trial]:
        """Return the completed trials that have a value, by number."""
        return self.known(trials, State.COMPLETED)

    def best(self, trials: Iterable[Trial]) -> Trial | None:
        """Return the best completed, feasible trial by the goal; None if there is none."""
        by_number = {trial.number: trial for trial in trials}
        best = ranking.best(self.goal, map(self._by_goal, by_number.values()))
        return None if best is None else by_number[best.number]

    def _by_goal(self, trial: Trial) -> Trial:
        """Return the trial as one of a study with this goal only."""
        if not self.index:
            return trial
        return dataclasses.replace(trial, values=trial.values[self.index : self.index + 1])


def measure_of(
    goals: Sequence[Goal],
    trials: Iterable[Trial],
    goal: Selector | None = None,
    metric: Selector | None = None,
) -> Measure:
    """Return the measure that the arguments of a plot select.

    Parameters
    ----------
    goals, trials
        The goals and trials of the study.
    goal
        Index or name of a goal; None selects the first one.
    metric
        Name of a goal or of a metric that a trial recorded, or the index of a goal. None selects
        the metric of `goal`.

    Raises
    ------
    ArgumentError
        If the goal or the metric is unknown.
    """
    index = 0 if goal is None else goal_index(goals, goal)
    if metric is None:
        return Measure.of_goal(goals[index], index)
    if isinstance(metric, int) or metric in [g.metric for g in goals]:
        shown = goal_index(goals, metric, "metric")
        if goal is None:
            return Measure.of_goal(goals[shown], shown)
        return Measure(goals[shown].metric, goals[shown].direction, goals[index], index, shown)
    known = {name for trial in trials for name in trial.metrics}
    if metric not in known:
        raise ArgumentError(
            f"plot: metric={metric!r} is unknown; write one of "
            f"{_nearest(metric, sorted(known | {g.metric for g in goals}))}"
        )
    return Measure(metric, None, goals[index], index, None)


def goal_index(goals: Sequence[Goal], goal: Selector, argument: str = "goal") -> int:
    """Return the index of a goal, given by its index or name.

    Raises
    ------
    ArgumentError
        If the goal does not exist; the message lists the goals.
    """
    names = [g.metric for g in goals]
    if isinstance(goal, str) and goal in names:
        return names.index(goal)
    if isinstance(goal, int) and not isinstance(goal, bool) and 0 <= goal < len(names):
        return goal
    remedy = "" if argument != "goal" else "; for a metric that is not a goal, write metric="
    raise ArgumentError(
        f"plot: {argument}={goal!r} must be a goal: one of {', '.join(names)}, or an index from 0 "
        f"to {len(names) - 1}{remedy}"
    )


def _nearest(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.4) or list(known)[:8]
    return ", ".join(map(repr, close))


LOG_RATIO = 1e3
"""Minimum ratio of the largest to the smallest positive value for a log axis."""

OFF_SCALE_SHARE = 0.1
"""Maximum share of off-scale values."""


LANE = 0.08
"""Height of the lane of failed trials, as a fraction of the axes."""

_LARGEST = 1e250
"""Limit of a log axis on the worse side; margins beyond it remain within the range of floats."""

STRETCH = 2.0
"""Maximum extension of the axis for stopped and infeasible trials, as a share of its length."""


@dataclass(frozen=True, slots=True)
class ValueAxis:
    """The axis of the values of a measure.

    Extreme values on the worse side, such as a loss of 1e12 of a diverged model, would compress all
    other values. The axis therefore ends before them: `low` and `high` are its limits, and values
    beyond are drawn at the edge. The best value is always shown.
    """

    measure: Measure
    log: bool
    low: float
    high: float

    @classmethod
    def of(
        cls, measure: Measure, values: Iterable[float], others: Iterable[float] = ()
    ) -> ValueAxis:
        """Return the axis for `values` and `others`, together at least one.

        The `others`, values of stopped and infeasible trials, are not the results of the study, so
        they extend the axis of the `values` by at most `STRETCH` at each end. They count as
        `values` if these do not differ.
        """
        v, others = np.fromiter(values, float), np.fromiter(others, float)
        if not len(v) or v.min() == v.max():
            v, others = np.concatenate([v, others]), others[:0]
        log = bool(v.min() > 0 and v.max() / LOG_RATIO >= v.min())
        scale = np.log if log else np.asarray
        low, high = float(v.min()), float(v.max())
        if log and measure.worse_up:
            high = max(low, min(high, _LARGEST))
        elif log:
            low = min(high, max(low, 1 / _LARGEST))
        for sign in (1, -1) if measure.direction is None else (measure.sign,):
            limit = _worst_shown(sign * scale(v))
            if limit is not None:
                worst = float(np.exp(sign * limit)) if log else float(sign * limit)
                low, high = (low, min(high, worst)) if sign > 0 else (max(low, worst), high)
        if len(others) and high > low:
            axis = cls(measure, log, low, high)
            with np.errstate(over="ignore"):
                first, last = axis.at_fraction(-STRETCH), axis.at_fraction(1 + STRETCH)
            within = others[(others >= first) & (others <= last)]
            low, high = float(min([low, *within])), float(max([high, *within]))
        return cls(measure, log, low, high)

    def off_scale(self, values: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return a mask of the values beyond the axis."""
        return (values < self.low) | (values > self.high)

    def clip(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the values, clipped to the limits of the axis."""
        return np.clip(values, self.low, self.high)

    def fraction(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return values as fractions of the axis, from 0 (lowest) to 1; 0.5 if all are equal."""
        low, high, at = self.low, self.high, self.clip(values)
        if self.log:
            low, high, at = np.log(low), np.log(high), np.log(at)
        if not high > low:
            return np.full(len(at), 0.5)
        # Halved, because high - low can overflow.
        return (at / 2 - low / 2) / (high / 2 - low / 2)

    def at_fraction(self, fraction: float) -> float:
        """Return the value at a fraction of the axis; the inverse of `fraction`."""
        if self.log:
            return float(np.exp((1 - fraction) * np.log(self.low) + fraction * np.log(self.high)))
        return (1 - fraction) * self.low + fraction * self.high

    def ticks(self) -> list[tuple[float, str]]:
        """Return (fraction, label) of round values on the axis and of its ends."""
        at = round_ticks(self.low, self.high, log=self.log)
        return thinned_ticks(self.fraction(at), at)

    def including(self, values: NDArray[np.float64]) -> ValueAxis:
        """Return the axis, extended so that it shows all of `values`."""
        low, high = float(min([self.low, *values])), float(max([self.high, *values]))
        return ValueAxis(self.measure, self.log and low > 0, low, high)

    def apply(
        self, ax: Axes, which: Literal["x", "y"] = "y", margin: float = 0.06, *, lane: bool = False
    ) -> None:
        """Set the scale, the label and the limits, with a margin, of an axis of `ax`.

        With `lane`, the y axis has room for `mark_failed` beyond its worse end.
        """
        axis = ax.xaxis if which == "x" else ax.yaxis
        axis.set_label_text(self.measure.label)
        low, high = self.limits(margin)
        set_limits = ax.set_xlim if which == "x" else ax.set_ylim
        # Before the scale, because automatic limits of huge values overflow on a log axis.
        set_limits(*(self._with_lane(low, high) if lane else (low, high)))
        if self.log:
            (ax.set_xscale if which == "x" else ax.set_yscale)("log")
        else:
            ax.ticklabel_format(axis=which, useOffset=False)
        if self.log and not 1e-150 < low <= high < 1e150:
            # The automatic ticks of such an axis lie beyond the range of floats.
            axis.set_ticks(round_ticks(low, high, log=True)[1:-1])
            axis.set_ticks([], minor=True)
        elif lane:
            for minor in (False, True):
                ticks = [t for t in ax.get_yticks(minor=minor) if low <= t <= high]
                ax.set_yticks(ticks, minor=minor)

    def _with_lane(self, low: float, high: float) -> tuple[float, float]:
        """Extend the limits on the worse side, so that the lane is `LANE` of the whole."""
        inner = ValueAxis(self.measure, self.log, low, high)
        up = self.measure.worse_up
        with np.errstate(over="ignore", under="ignore"):
            end = inner.at_fraction(1 / (1 - LANE) if up else 1 - 1 / (1 - LANE))
        lowest = 1e-307 if self.log else -1.7e308
        end = float(np.nan_to_num(np.clip(end, lowest, 1.7e308), nan=1.7e308))
        return (low, end) if up else (end, high)

    def limits(self, margin: float) -> tuple[float, float]:
        """Return the ends of the axis with a margin, as a share of its length."""
        if self.log:
            factor = (self.high / self.low) ** margin if self.high / self.low < np.inf else 10.0
            factor = max(factor, 1.05)
            return self.low / factor, min(self.high * factor, 1.7e308)
        span = self.high / 2 - self.low / 2
        pad = 2 * margin * span if span > 0 else max(abs(self.high) * 0.05, 1e-3)
        low, high = np.clip([self.low - pad, self.high + pad], -1.7e308, 1.7e308)
        return float(low), float(high)


def scatter(
    ax: Axes,
    axis: ValueAxis,
    x: NDArray[np.float64],
    values: NDArray[np.float64],
    label: str,
    *,
    marker: str = "o",
    lane: bool = False,
    **look: Any,
) -> None:
    """Draw values over `x`; values beyond the axis are triangles at its edge."""
    low, high = values < axis.low, values > axis.high
    on = ~(low | high)
    if on.any():
        ax.scatter(x[on], values[on], label=label, marker=marker, zorder=2, **look)
    off_label = f"{label}, off scale"
    up = axis.measure.worse_up
    for off, at, shape in (
        (low, 0.015 + (LANE if lane and not up else 0), "v"),
        (high, 0.985 - (LANE if lane and up else 0), "^"),
    ):
        if off.any():
            ax.scatter(
                x[off], np.full(off.sum(), at), marker=shape, zorder=2, label=off_label,
                transform=ax.get_xaxis_transform(), **look,
            )  # fmt: skip
            off_label = "_nolegend_"


def mark_failed(ax: Axes, measure: Measure, x: Sequence[float]) -> None:
    """Draw a cross for each failed trial in a lane beyond the worse end; many are paler."""
    if not len(x):
        return
    at = 1 - LANE / 2 if measure.worse_up else LANE / 2
    edge = 1 - LANE if measure.worse_up else LANE
    ax.plot([0, 1], [edge, edge], color=GRAY, linewidth=0.6, linestyle=":", transform=ax.transAxes)
    ax.plot(
        x, [at] * len(x), "x", color=GRAY, markersize=5, label="failed",
        alpha=crowd_alpha(len(x)), transform=ax.get_xaxis_transform(), zorder=3,
    )  # fmt: skip


def round_ticks(low: float, high: float, *, log: bool) -> NDArray[np.float64]:
    """Return the ends of an axis and up to about six round values between them."""
    if not high > low:
        return np.array([low])
    if log and high / low >= 100:
        first, last = np.ceil(np.log10(low) - 1e-9), np.floor(np.log10(high) + 1e-9)
        every = max(1, int(np.ceil((last - first) / 6)))
        ticks = 10.0 ** np.arange(first, last + 1, every)
    elif log:
        ticks = np.geomspace(low, high, 4)
    else:
        from matplotlib.ticker import MaxNLocator

        ticks = np.asarray(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high))
    return np.unique([low, high, *ticks[(ticks > low) & (ticks < high)]])


def thinned_ticks(
    fractions: NDArray[np.float64], values: NDArray[np.float64], apart: float = 0.07
) -> list[tuple[float, str]]:
    """Return (fraction, label) of ascending ticks that do not overlap; both ends are kept."""
    pairs = list(zip(fractions.tolist(), values.tolist(), strict=True))
    if len(pairs) < 2:
        return [(at, number_text(value)) for at, value in pairs]
    first, *inner, last = pairs
    kept = [first]
    for at, value in inner:
        if at - kept[-1][0] >= apart and last[0] - at >= apart:
            kept.append((at, value))
    return [(at, number_text(value)) for at, value in (*kept, last)]


def _worst_shown(loss: NDArray[np.float64]) -> float | None:
    """Return the largest loss on the axis; None shows all losses.

    The limit is Tukey's outer fence (Exploratory Data Analysis, 1977, 2D): three interquartile
    ranges above the upper quartile. If the fence would cut off more than 10% of the values, these
    are not outliers; the axis then shows 90% of the values.
    """
    half = loss / 2  # differences of halves cannot overflow
    q1, q3, most = np.quantile(half, [0.25, 0.75, 1 - OFF_SCALE_SHARE])
    with np.errstate(over="ignore"):
        fence = max(q3 + 3 * (q3 - q1), most)
    if q3 == q1 or abs(fence) > np.finfo(float).max / 2 or half.max() <= fence + 2 * (q3 - q1):
        return None
    shown = half[half <= fence].max()
    return float(2 * shown)
