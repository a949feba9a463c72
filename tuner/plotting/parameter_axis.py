"""The axis of a parameter: positions, ticks, limits and label."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from tuner.errors import ArgumentError
from tuner.plotting.names import shorten, spread_labels
from tuner.plotting.style import number_text
from tuner.records import Trial
from tuner.search_spaces import Column, Float, Int, Space

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_LABELS = 24
"""Maximum number of option labels on an axis; with more options, every n-th has a label."""


@dataclass(frozen=True, slots=True)
class ParameterAxis:
    """The axis of one parameter; it shows the whole domain, including untried regions.

    A number is its own position; a logarithmic domain has a log axis. Option k of a domain with
    listed values has position k.
    """

    column: Column

    @property
    def path(self) -> str:
        """The dotted path of the parameter."""
        return self.column.path

    @property
    def numeric(self) -> bool:
        """Whether the domain is a numeric range."""
        return isinstance(self.column.domain, Float | Int)

    @property
    def log(self) -> bool:
        """Whether the axis is logarithmic."""
        domain = self.column.domain
        return isinstance(domain, Float | Int) and domain.log

    @property
    def options(self) -> list[Any]:
        """The values of a domain with listed values, in order; empty for a numeric range."""
        domain = self.column.domain
        return [] if self.numeric else domain.grid(int(domain.size))

    @property
    def varies(self) -> bool:
        """Whether the domain has more than one value."""
        return self.column.domain.size > 1

    @property
    def limits(self) -> tuple[float, float]:
        """The ends of the axis."""
        domain = self.column.domain
        if isinstance(domain, Float | Int):
            return float(domain.low), float(domain.high)
        return -0.5, domain.size - 0.5

    def positions(self, values: Sequence[Any]) -> NDArray[np.float64]:
        """Return the positions of values of the domain, in data coordinates."""
        domain = self.column.domain
        if self.numeric or not values:
            return np.array([float(value) for value in values])
        return np.floor(np.asarray(domain.to_unit(values)) * domain.size)

    def fraction(self, positions: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return positions as fractions of the axis, from 0 to 1."""
        low, high = self.limits
        at = np.asarray(positions, float)
        if self.log:
            low, high, at = math.log(low), math.log(high), np.log(at)
        if not high > low:
            return np.full(at.shape, 0.5)
        # Halved, because high - low can overflow.
        share: NDArray[np.float64] = (at / 2 - low / 2) / (high / 2 - low / 2)
        return share

    def at_fraction(self, fraction: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the positions at fractions of the axis; the inverse of `fraction`."""
        low, high = self.limits
        if self.log:
            at = np.exp((1 - fraction) * math.log(low) + fraction * math.log(high))
        else:
            at = (1 - fraction) * low + fraction * high
        return np.clip(at, self.limits[0], self.limits[1])

    def labels(self, at_most: int = MOST_LABELS, width: int = 14) -> list[str]:
        """Return the short names of the options."""
        return spread_labels([option_text(option) for option in self.options], at_most, width)

    def apply(self, ax: Axes, which: Literal["x", "y"], width: int = 40) -> None:
        """Set the scale, limits, ticks and label of an axis of `ax`."""
        axis = ax.xaxis if which == "x" else ax.yaxis
        set_limits = ax.set_xlim if which == "x" else ax.set_ylim
        axis.set_label_text(shorten(self.path, width))
        low, high = self.limits
        if not self.numeric:
            count = int(self.column.domain.size)
            labels = self.labels(width=max(10, 72 // count) if which == "x" else 18)
            long = which == "x" and sum(map(len, labels)) > 80
            axis.set_ticks(range(count), labels)
            axis.set_tick_params(length=0)
            axis.grid(visible=False)
            if long:
                ax.tick_params(axis="x", rotation=35)
                for label in ax.get_xticklabels():
                    label.set(ha="right", rotation_mode="anchor")
            set_limits(low, high)
            return
        if self.log:
            (ax.set_xscale if which == "x" else ax.set_yscale)("log")
            if math.log10(high / low) < 3:
                _label_plainly(axis)
        elif isinstance(self.column.domain, Int):
            from matplotlib.ticker import MaxNLocator

            axis.set_major_locator(MaxNLocator(integer=True))
        set_limits(*self._with_margin(0.03))

    def _with_margin(self, margin: float) -> tuple[float, float]:
        low, high = self.limits
        if self.log:
            factor = max((high / low) ** margin, 1.02)
            return low / factor, min(high * factor, 1.7e308)
        half = high / 2 - low / 2
        pad = 2 * margin * half if half > 0 else 0.5
        return max(low - pad, -1.7e308), min(high + pad, 1.7e308)


def _label_plainly(axis: Any) -> None:
    """Label a log axis of few decades with plain numbers at 1, 2 and 5 in each decade."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.set_major_locator(LogLocator(base=10, subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: number_text(value)))
    axis.set_minor_formatter(NullFormatter())


def option_text(option: Any) -> str:
    """Return the tick label of an option.

    >>> option_text("rbf"), option_text(None), option_text((64, 32)), option_text(0.25)
    ('rbf', 'None', '(64, 32)', '0.25')
    """
    return number_text(option) if type(option) is float else str(option)


@dataclass(frozen=True, slots=True)
class Points:
    """Trials and their active parameters, by path."""

    axes: dict[str, ParameterAxis]
    trials: list[Trial]
    flat: list[dict[str, Any]]

    @classmethod
    def of(cls, space: Space, trials: Sequence[Trial]) -> Points:
        """Flatten the params of `trials`."""
        axes = {column.path: ParameterAxis(column) for column in space.columns}
        return cls(axes, list(trials), [space.flatten(trial.params) for trial in trials])

    def axis(self, path: str) -> ParameterAxis:
        """Return the axis of the parameter at `path`.

        Raises
        ------
        ArgumentError
            If the path is unknown; the message suggests similar paths.
        """
        return find_axis(self.axes, path)

    def active(self, *paths: str) -> NDArray[np.bool_]:
        """Return a mask of the trials in which all these parameters are active."""
        return np.array([all(path in flat for path in paths) for flat in self.flat], bool)

    def positions(self, path: str) -> NDArray[np.float64]:
        """Return the positions of the trials on the axis of a parameter; NaN if it is inactive."""
        found = np.full(len(self.flat), np.nan)
        active = self.active(path)
        found[active] = self.axes[path].positions([f[path] for f in self.flat if path in f])
        return found


def find_axis(axes: Mapping[str, ParameterAxis], path: str) -> ParameterAxis:
    """Return the axis of the parameter at `path`; raise `ArgumentError` if it is unknown."""
    import difflib

    if path in axes:
        return axes[path]
    close = difflib.get_close_matches(str(path), axes, n=3, cutoff=0.4) or list(axes)[:8]
    raise ArgumentError(
        f"plot: unknown parameter {path!r}; write one of {', '.join(map(repr, close))}"
    )
