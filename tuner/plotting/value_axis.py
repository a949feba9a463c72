"""The axis of the values of a goal: scale, limits and label."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tuner.plotting.style import number_text, shorten
from tuner.records import Direction, Goal, State, Trial

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LOG_RATIO = 1e3
"""Minimum ratio of the largest to the smallest positive value for a log axis."""

OFF_SCALE_SHARE = 0.1
"""Maximum share of off-scale values."""


@dataclass(frozen=True, slots=True)
class ValueAxis:
    """The axis of the values of a goal.

    Extreme values on the worse side, such as a loss of 1e12 of a diverged model, would compress all
    other values. The axis therefore ends before them: `low` and `high` are its limits, and values
    beyond are drawn at the edge. The best value is always shown.
    """

    label: str
    direction: Direction
    log: bool
    low: float
    high: float

    @classmethod
    def of(cls, goal: Goal, values: Iterable[float]) -> ValueAxis:
        """Return the axis for `values`, at least one."""
        v = np.fromiter(values, float)
        log = bool(v.min() > 0 and v.max() / LOG_RATIO >= v.min())
        sign = goal.direction.sign
        low, high = float(v.min()), float(v.max())
        limit = _worst_shown(sign * (np.log(v) if log else v))
        if limit is not None:
            worst = float(np.exp(sign * limit)) if log else float(sign * limit)
            low, high = (low, min(high, worst)) if sign > 0 else (max(low, worst), high)
        return cls(goal_label(goal), goal.direction, log, low, high)

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

    def apply(self, ax: Axes, margin: float = 0.06) -> None:
        """Set the scale, the label and the limits, with a margin, of the y axis."""
        ax.set_ylabel(self.label)
        if self.log:
            ax.set_yscale("log")
            factor = (self.high / self.low) ** margin if self.high / self.low < np.inf else 10.0
            factor = max(factor, 1.05)
            ax.set_ylim(self.low / factor, self.high * factor)
            return
        ax.ticklabel_format(axis="y", useOffset=False)
        span = self.high / 2 - self.low / 2
        pad = 2 * margin * span if span > 0 else max(abs(self.high) * 0.05, 1e-3)
        ax.set_ylim(*np.clip([self.low - pad, self.high + pad], -1.7e308, 1.7e308))


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


def goal_label(goal: Goal) -> str:
    """Return the axis label of a goal.

    >>> goal_label(Goal("loss"))
    'loss (minimize)'
    """
    return f"{shorten(goal.metric, 40)} ({goal.direction})"


def completed(trials: Iterable[Trial]) -> list[Trial]:
    """Return the trials that completed with a value, by number."""
    found = (t for t in trials if t.state is State.COMPLETED and t.values)
    return sorted(found, key=lambda t: t.number)


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
