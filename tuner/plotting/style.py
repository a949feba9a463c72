"""How every plot looks, and how it is made and saved without touching matplotlib's global state.

One hue: blue, light for the many and dark for what matters; orange marks the best trial and
nothing else. Both are told apart with any kind of colour blindness. What failed or stopped has a
shape of its own, so no plot depends on colour. Text and greys keep to what the user's own
matplotlib style sets, so a dark style stays readable.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tuner.errors import ExportError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.figure import Figure

MAIN = "#2368a2"
LIGHT = "#8fb8da"
BEST = "#e07b00"
GREY = "#808890"

DPI = 150
"""Dots an inch of saved bitmaps."""

SMALL = 8
"""Font size, in points, of ticks, legends and notes."""


def new_figure(width: float, height: float) -> Figure:
    """Return a figure of that size in inches.

    In a notebook it is pyplot's, because only such figures are shown below the cell, and the
    notebook closes them. Elsewhere nothing but the caller holds it, so that thousands of plots
    leave nothing open.
    """
    if _in_notebook():
        import matplotlib as mpl
        import matplotlib.pyplot as plt

        with mpl.rc_context({"figure.max_open_warning": 0}):
            return plt.figure(figsize=(width, height), layout="constrained")
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def axes_or_new(ax: Axes | None, width: float = 7.0, height: float = 4.2) -> Axes:
    """Return `ax`, or the only axes of a new figure."""
    return new_figure(width, height).add_subplot() if ax is None else ax


def tidy(ax: Axes, title: str, grid: str = "both") -> None:
    """Take away what does not speak and set the title; `grid` is an axis's name or ``"none"``."""
    _set_title(ax, title)
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(GREY)
    ax.tick_params(labelsize=SMALL, color=GREY)
    ax.tick_params(which="minor", labelsize=SMALL - 2, color=GREY)
    ax.xaxis.label.set_fontsize(SMALL + 1)
    ax.yaxis.label.set_fontsize(SMALL + 1)
    ax.set_axisbelow(True)
    ax.grid(visible=False)
    if grid in ("both", "x", "y"):
        ax.grid(visible=True, axis=grid, color=GREY, alpha=0.2, linewidth=0.6)  # type: ignore[arg-type]


def _set_title(ax: Axes, title: str, pad: float | None = None) -> None:
    ax.set_title(title, loc="left", fontsize=11, fontweight="bold", pad=pad)


def legend_above(ax: Axes) -> None:
    """Put the legend right of the title, or below it if it is long: it covers no data there."""
    handles, labels = ax.get_legend_handles_labels()
    if handles:
        title = ax.get_title(loc="left")
        # Inches: of a letter, of a mark with the space around it, of a letter of the title.
        needed = 0.064 * sum(map(len, labels)) + 0.36 * len(labels) + 0.1 * len(title)
        figure = ax.get_figure(root=True)
        assert figure is not None
        if needed > ax.get_window_extent().width / figure.dpi:
            _set_title(ax, title, pad=20)
        legend = ax.legend(
            handles,
            labels,
            loc="lower right",
            bbox_to_anchor=(1.0, 1.0),
            ncols=len(labels),
            frameon=False,
            fontsize=SMALL,
            borderaxespad=0.1,
            handletextpad=0.4,
            columnspacing=1.2,
        )
        legend.set_in_layout(True)
        for handle in legend.legend_handles:
            _make_visible(handle)


def _make_visible(handle: object) -> None:
    """Show a mark in the legend at full size, however small and pale its many like are drawn."""
    from matplotlib.collections import LineCollection, PathCollection
    from matplotlib.lines import Line2D

    if isinstance(handle, PathCollection):
        handle.set_sizes([22])
        handle.set_linewidth([0.9])
    if isinstance(handle, Line2D | LineCollection):
        handle.set_linewidth(max(1.2, float(np.max(handle.get_linewidth()))))
    if isinstance(handle, PathCollection | LineCollection | Line2D):
        handle.set_alpha(None)


def say(ax: Axes, text: str) -> None:
    """Write `text` in the middle of axes that have nothing to show."""
    ax.text(
        0.5, 0.5, text, transform=ax.transAxes, ha="center", va="center", color=GREY, fontsize=10,
        wrap=True,
    )  # fmt: skip


def say_instead(ax: Axes, text: str) -> None:
    """Write `text` on axes that show nothing else."""
    ax.set_xticks([])
    ax.set_yticks([])
    ax.grid(visible=False)
    ax.set_xlabel("")
    ax.set_ylabel("")
    say(ax, text)


def is_dark(ax: Axes) -> bool:
    """Whether the background of `ax` is nearer to black than to white."""
    from matplotlib.colors import to_rgb

    red, green, blue = to_rgb(ax.get_facecolor())
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue < 0.4


def dot_colour(ax: Axes) -> str:
    """Return the blue that single dots are seen in on this background."""
    return LIGHT if is_dark(ax) else MAIN


def ramp(ax: Axes, *, best_low: bool) -> LinearSegmentedColormap:
    """Return the colours of values: the better, the further from the background."""
    from matplotlib.colors import LinearSegmentedColormap

    colours = ["#0d2f52", "#1f5f99", "#5b9bcd", "#a8c9e4", "#dde6ee"]
    return LinearSegmentedColormap.from_list(
        "tuner", colours if best_low != is_dark(ax) else colours[::-1]
    )


def crowd_alpha(count: int) -> float:
    """Return how opaque each of `count` crosses is: the paler, the more there are."""
    return min(1.0, max(0.15, 60 / count))


def mark_failed(ax: Axes, x: Sequence[float]) -> None:
    """Put a cross at the foot of `ax` for each failed trial, paler the more there are."""
    if len(x):
        ax.plot(
            x, [0.02] * len(x), "x", color=GREY, markersize=5, label="failed",
            alpha=crowd_alpha(len(x)), transform=ax.get_xaxis_transform(), zorder=3,
        )  # fmt: skip


def save_figure(ax: Axes, save: str | os.PathLike[str] | None) -> None:
    """Write the figure of `ax` to the file `save`, whose suffix names the format.

    Raises
    ------
    ExportError
        If matplotlib has no such format, or the file cannot be written.
    """
    if save is None:
        return
    figure = ax.get_figure(root=True)
    assert figure is not None
    path = Path(save)
    known = figure.canvas.get_supported_filetypes()
    to = path.suffix.lower().lstrip(".")
    if to not in known:
        raise ExportError(
            f"plot: cannot tell the format from {str(path)!r}: "
            f"end the name in one of {', '.join('.' + name for name in sorted(known))}"
        )
    try:
        figure.savefig(path, dpi=DPI, bbox_inches="tight")
    except OSError as error:
        raise ExportError(
            f"plot: cannot write {str(path)!r}: {error.strerror or error}; "
            "give a file in an existing folder that you may write to"
        ) from error


def plain(text: str) -> str:
    """Return a user's text as matplotlib is to write it: on one line, no ``$`` begins a formula."""
    return "".join(c if c.isprintable() else " " for c in text).replace("$", r"\$")


def shorten(text: str, width: int) -> str:
    """Return a user's text, its middle left out if it is longer than `width` characters.

    The end of a parameter's path says most: it is kept. See `plain`, too.

    >>> shorten("model.gradient_boosting.learning_rate", 20)
    'model.…learning_rate'
    """
    if len(text) <= width:
        return plain(text)
    head = max(1, (width - 1) // 3)
    return plain(f"{text[:head]}…{text[len(text) - (width - 1 - head) :]}")


def number_text(value: float) -> str:
    """Return a number for a tick or a note, four digits long.

    >>> number_text(0.001), number_text(123456.0), number_text(20)
    ('0.001', '1.235e5', '20')
    """
    text = f"{value:.4g}"
    mantissa, e, exponent = text.partition("e")
    return f"{mantissa}e{int(exponent)}" if e else text


def spread_labels(labels: Sequence[str], at_most: int, width: int) -> list[str]:
    """Return short labels; of too many, every n-th is kept and the others are empty."""
    every = -(-len(labels) // at_most)
    return [shorten(label, width) if i % every == 0 else "" for i, label in enumerate(labels)]


def _in_notebook() -> bool:
    if "IPython" not in sys.modules:
        return False
    from IPython import get_ipython

    return hasattr(get_ipython(), "kernel")
