"""The page of a drift report, with a plot of each drifted column."""

from __future__ import annotations

import time
from collections.abc import Iterator
from importlib import metadata
from typing import TYPE_CHECKING, Any

from tuner.plotting.style import BEST, MAIN, detached_figures, new_figure
from tuner.profiles.profile import Column
from tuner.reporting.page import Trusted, data_url, environment, text_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from tuner.drift.report import DriftReport

MOST_PLOTS = 12
"""Number of columns that are drawn: the drifted ones, then the most important ones jointly."""

MOST_BARS = 12

LONGEST_LABEL = 30


def render(report: DriftReport) -> str:
    """Return the page of a report."""
    page = (
        environment()
        .from_string(text_of("drift.html.j2", "tuner.drift"))
        .render(
            report=report,
            plots=list(_plots(report)),
            now=time.time(),
            version=metadata.version("tuner"),
            style=Trusted(text_of("report.css")),
        )
    )
    return str(page)


def _plots(report: DriftReport) -> Iterator[tuple[str, str]]:
    """Yield the name and the image of each column that is drawn."""
    names = [finding.column for finding in report.drifted]
    if report.joint is not None and report.joint.drift:
        names += [name for name, loss in report.joint.importances.items() if loss > 0.0]
    for name in list(dict.fromkeys(names))[:MOST_PLOTS]:
        was, now = report.reference.columns.get(name), report.new.columns.get(name)
        if was is None or now is None or was.kind != now.kind:
            continue
        with detached_figures():
            axes: Axes = new_figure(6.5, 2.6).add_subplot()
        if was.kind in ("number", "datetime") and was.quantiles and now.quantiles:
            _draw_numbers(axes, was, now)
        elif was.counts or now.counts:
            _draw_counts(axes, was, now)
        else:
            continue
        axes.legend(frameon=False, fontsize=8)
        yield name, data_url(axes, vector=True)


def _draw_numbers(axes: Any, was: Column, now: Column) -> None:
    """Draw the distribution functions at the stored quantiles."""
    import numpy as np

    shares = np.linspace(0.0, 1.0, len(was.quantiles))
    for column, color, label in ((was, MAIN, "reference"), (now, BEST, "new")):
        values = np.asarray(column.quantiles)
        finite = np.isfinite(values)
        axes.plot(values[finite], shares[finite], color=color, label=label)
    axes.set_ylabel("share of rows up to")


def _draw_counts(axes: Any, was: Column, now: Column) -> None:
    """Draw the shares of the most frequent categories, as plain text labels."""
    import numpy as np

    total = {name: was.counts.get(name, 0) for name in {**was.counts, **now.counts}}
    for name, count in now.counts.items():
        total[name] += count
    shown = sorted(total, key=lambda name: (-total[name], name))[:MOST_BARS]
    places = np.arange(len(shown))
    for column, color, label, shift in (
        (was, MAIN, "reference", -0.2),
        (now, BEST, "new", 0.2),
    ):
        heights = [column.counts.get(name, 0) / max(1, column.present) for name in shown]
        axes.bar(places + shift, heights, width=0.4, color=color, label=label)
    axes.set_xticks(places, [_label(name) for name in shown], rotation=30, ha="right")
    axes.set_ylabel("share of rows")


def _label(name: str) -> str:
    """Return a category as a short label in which matplotlib finds no formula."""
    from tuner.errors.printable import one_line

    text = one_line(name)
    text = text if len(text) <= LONGEST_LABEL else f"{text[: LONGEST_LABEL - 1]}…"
    return text.replace("$", r"\$")
