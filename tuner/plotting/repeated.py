"""Means and intervals of the trials that ran several times, and the mark of the winner."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tuner.plotting.measure import Measure, ValueAxis
from tuner.plotting.style import BEST, MAIN
from tuner.records import Run, State, Trial

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LEVEL = 0.95
"""Probability of an interval."""


@dataclass(frozen=True, slots=True)
class RepeatedTrials:
    """The trials that ran several times, by number, with the mean of their values.

    `half` is half the width of each interval: the deviation of a single value, pooled over all
    these trials, divided by the root of the number of values and multiplied by the quantile of
    Student's t distribution. A deviation of its own for each trial would give useless intervals for
    two or three values. The interval describes the values alone; `study.winner` has an estimate
    from all trials. `winner` is the number of the winner, None if it is not known.
    """

    numbers: NDArray[np.int64]
    means: NDArray[np.float64]
    half: NDArray[np.float64]
    winner: int | None = None

    @classmethod
    def of(
        cls,
        measure: Measure,
        trials: Iterable[Trial],
        repeats: Iterable[Run],
        winner: int | None = None,
    ) -> RepeatedTrials:
        """Return the trials among `trials` of which at least one repeat has a value."""
        name = measure.name
        again: defaultdict[int, list[float]] = defaultdict(list)
        for run in repeats:
            value = run.metrics.get(name, math.nan)
            if run.state is State.COMPLETED and math.isfinite(value):
                again[run.trial].append(value)
        first = {t.number: measure.value(t) for t in trials if t.number in again}
        values = {n: [v, *again[n]] for n, v in sorted(first.items()) if v is not None}
        return cls(
            np.array(list(values), dtype=np.int64),
            np.array([np.mean(v) for v in values.values()], float),
            _half_widths(list(values.values())),
            winner,
        )

    @property
    def ends(self) -> list[float]:
        """The means and the ends of the intervals, which the axis should show."""
        return [*self.means, *(self.means - self.half), *(self.means + self.half)]

    def draw(self, ax: Axes, axis: ValueAxis, x: Mapping[int, float]) -> None:
        """Draw the means with their intervals at the places `x` of the trials; NaN leaves out."""
        shown = [i for i, n in enumerate(self.numbers) if not math.isnan(x.get(n, math.nan))]
        if not shown:
            return
        at = [x[n] for n in self.numbers[shown]]
        means, half = self.means[shown], self.half[shown]
        low = np.maximum(means - half, np.finfo(float).tiny) if axis.log else means - half
        ax.vlines(at, low, means + half, color=MAIN, linewidth=1.2, zorder=4)
        ax.plot(
            at, means, "D", color=MAIN, markersize=4, markeredgecolor="white", markeredgewidth=0.5,
            zorder=5, label="mean of several runs, 95 % interval",
        )  # fmt: skip
        for place, i in enumerate(shown):
            if self.numbers[i] == self.winner:
                ax.plot(
                    at[place], means[place], "o", markersize=11, markerfacecolor="none",
                    markeredgecolor=BEST, markeredgewidth=1.6, zorder=5, linestyle="none",
                    label=f"winner, trial {self.winner}",
                )  # fmt: skip


def _half_widths(values: Sequence[Sequence[float]]) -> NDArray[np.float64]:
    """Return half the width of the interval of each mean, from the pooled deviation."""
    if not values:
        return np.empty(0)
    from scipy.special import stdtrit

    counts = np.array([len(v) for v in values], float)
    freedom = float(np.sum(counts - 1.0))
    with np.errstate(over="ignore"):
        squares = sum(float(np.var(v)) * len(v) for v in values)
    deviation = math.sqrt(squares / freedom)
    return np.asarray(stdtrit(freedom, 0.5 + LEVEL / 2) * deviation / np.sqrt(counts))
