"""Lines of several studies on one axes, and the axis of the trial numbers."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tuner.plotting.names import distinct
from tuner.plotting.style import GRAY

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from tuner.plotting.value_axis import ValueAxis

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
