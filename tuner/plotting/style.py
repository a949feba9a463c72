"""The common style of the plots; figures are created and saved without global matplotlib state.

The plots use one hue: light blue for most trials and dark blue for emphasis. Orange marks only the
best trial. The two hues are distinguishable with any type of color blindness. Failed and stopped
trials have separate markers, so no plot relies on color alone. Text and grays follow the user's
matplotlib style, so plots in a dark style remain readable.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tuner.errors import ExportError
from tuner.records.html import after_cell, in_notebook
from tuner.records.numbers import number_text as full_number_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.figure import Figure

MAIN = "#2368a2"
LIGHT = "#8fb8da"
BEST = "#e07b00"
GRAY = "#808890"

DPI = 150
"""Resolution of saved bitmaps, in dots per inch."""

SMALL = 8
"""Font size, in points, of ticks, legends and notes."""

_detached: ContextVar[bool] = ContextVar("detached", default=False)
"""Whether new figures are created without pyplot, also in a notebook."""

_NOTHING = "tuner-nothing-to-show"
"""Group id of the message of a plot without data."""


def new_figure(width: float, height: float) -> Figure:
    """Create a figure of the given size in inches.

    In a notebook, the figure is created by pyplot, because only such figures are shown below the
    cell; the notebook closes them. Elsewhere, and within `detached_figures`, only the caller
    references it, so that figures do not accumulate.
    """
    if in_notebook() and not _detached.get():
        return _pyplot_figure(width, height)
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _pyplot_figure(width: float, height: float) -> Figure:
    import matplotlib as mpl
    import matplotlib.pyplot as plt

    interactive = mpl.is_interactive()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"More than \d+ figures have been opened")
        figure = plt.figure(figsize=(width, height), layout="constrained")
    if mpl.is_interactive() and not interactive:
        # The first figure selects the notebook's backend, which turns pyplot's interactive mode on.
        # The end of the caller's style context would turn it off again, and no later figure of the
        # notebook would be shown.
        after_cell(lambda: mpl.interactive(True))
    return figure


@contextmanager
def detached_figures() -> Iterator[None]:
    """Create figures that a notebook does not show, such as the images of a report."""
    token = _detached.set(True)
    try:
        yield
    finally:
        _detached.reset(token)


def axes_or_new(ax: Axes | None, width: float = 7.0, height: float = 4.2) -> Axes:
    """Return `ax`, or the axes of a new figure if it is None."""
    return new_figure(width, height).add_subplot() if ax is None else ax


def tidy(ax: Axes, title: str, grid: str = "both") -> None:
    """Apply the common style and set the title; `grid` is ``"both"``, an axis or ``"none"``."""
    _set_title(ax, title)
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(GRAY)
    ax.tick_params(labelsize=SMALL, color=GRAY)
    ax.tick_params(which="minor", labelsize=SMALL - 2, color=GRAY)
    ax.xaxis.label.set_fontsize(SMALL + 1)
    ax.yaxis.label.set_fontsize(SMALL + 1)
    ax.set_axisbelow(True)
    ax.grid(visible=False)
    if grid in ("both", "x", "y"):
        ax.grid(visible=True, axis=grid, color=GRAY, alpha=0.2, linewidth=0.6)  # type: ignore[arg-type]


def _set_title(ax: Axes, title: str, pad: float | None = None) -> None:
    ax.set_title(title, loc="left", fontsize=11, fontweight="bold", pad=pad)


def legend_above(ax: Axes) -> None:
    """Put the legend to the right of the title, or below it if it is long, outside the data."""
    handles, labels = ax.get_legend_handles_labels()
    if handles:
        title = ax.get_title(loc="left")
        figure = ax.get_figure(root=True)
        assert figure is not None
        room = ax.get_window_extent().width / figure.dpi
        # Widths in inches: a letter, a marker with its padding, a letter of the title.
        entries = [0.064 * len(label) + 0.36 for label in labels]
        columns = len(labels)
        if sum(entries) > room - 0.1 * len(title):
            columns = _columns_that_fit(entries, room)
            _set_title(ax, title, pad=6 + 14 * -(-len(labels) // columns))
        legend = ax.legend(
            handles,
            labels,
            loc="lower right",
            bbox_to_anchor=(1.0, 1.0),
            ncols=columns,
            frameon=False,
            fontsize=SMALL,
            borderaxespad=0.1,
            handletextpad=0.4,
            columnspacing=1.2,
        )
        legend.set_in_layout(True)
        for handle in legend.legend_handles:
            _make_visible(handle)


def _columns_that_fit(entries: Sequence[float], room: float) -> int:
    """Return the number of columns of a legend, whose entries fill one column after another."""
    for columns in range(len(entries), 1, -1):
        rows = -(-len(entries) // columns)
        widths = [max(entries[i : i + rows]) for i in range(0, len(entries), rows)]
        if sum(widths) <= room:
            return columns
    return 1


def _make_visible(handle: object) -> None:
    """Show a legend marker at full size and opacity, even if the plot draws it small and pale."""
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
    """Write `text`, the reason why there is nothing to show, in the center of the axes."""
    ax.text(
        0.5, 0.5, text, transform=ax.transAxes, ha="center", va="center", color=GRAY, fontsize=10,
        wrap=True, gid=_NOTHING,
    )  # fmt: skip


def shows_nothing(ax: Axes) -> bool:
    """Return whether a plot contains only the message of `say`."""
    return any(text.get_gid() == _NOTHING for text in ax.texts)


def say_instead(ax: Axes, text: str) -> None:
    """Remove ticks and labels and write `text` in the center of the axes."""
    ax.set_xticks([])
    ax.set_yticks([])
    ax.grid(visible=False)
    ax.set_xlabel("")
    ax.set_ylabel("")
    say(ax, text)


def is_dark(ax: Axes) -> bool:
    """Return whether the background of `ax` is closer to black than to white."""
    from matplotlib.colors import to_rgb

    red, green, blue = to_rgb(ax.get_facecolor())
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue < 0.4


def dot_color(ax: Axes) -> str:
    """Return a blue for single dots with sufficient contrast to the background."""
    return LIGHT if is_dark(ax) else MAIN


def ramp(ax: Axes, *, best_low: bool) -> LinearSegmentedColormap:
    """Return the color map of values; better values have more contrast to the background."""
    from matplotlib.colors import LinearSegmentedColormap

    colors = ["#0d2f52", "#1f5f99", "#5b9bcd", "#a8c9e4", "#dde6ee"]
    return LinearSegmentedColormap.from_list(
        "tuner", colors if best_low != is_dark(ax) else colors[::-1]
    )


def crowd_alpha(count: int) -> float:
    """Return the opacity of each of `count` crosses; it falls with their number."""
    return min(1.0, max(0.15, 60 / count))


def save_figure(ax: Axes, save: str | os.PathLike[str] | None) -> None:
    """Write the figure of `ax` to the file `save`, whose suffix names the format.

    Raises
    ------
    ExportError
        If matplotlib does not support the format, or the file cannot be written.
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
            f"plot: unknown format of {str(path)!r}: "
            f"end the name in one of {', '.join('.' + name for name in sorted(known))}"
        )
    try:
        figure.savefig(path, dpi=DPI, bbox_inches="tight")
    except OSError as error:
        raise ExportError(
            f"plot: cannot write {str(path)!r}: {error.strerror or error}; "
            "write to a file in an existing, writable folder"
        ) from error


def number_text(value: float) -> str:
    """Format a number for a tick or a note, with four significant digits.

    >>> number_text(0.001), number_text(123456.0), number_text(20)
    ('0.001', '123456', '20')
    """
    return full_number_text(value, digits=4)
