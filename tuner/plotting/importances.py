"""Bar chart of the importance of the parameters."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tuner.plotting.importance_scores import (
    FEWEST,
    Importances,
    ScoreGroup,
    importance_scores,
)
from tuner.plotting.measure import Measure
from tuner.plotting.names import path_names, shorten
from tuner.plotting.style import (
    GRAY,
    MAIN,
    SMALL,
    axes_or_new,
    number_text,
    save_figure,
    say_instead,
    tidy,
)
from tuner.records import Trial
from tuner.search_spaces import Space

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_BARS = 30
"""Maximum number of bars; the least important parameters are omitted."""


def importances(
    space: Space,
    measure: Measure,
    trials: Sequence[Trial],
    method: str | None = None,
    *,
    ax: Axes | None = None,
    save: str | os.PathLike[str] | None = None,
) -> Axes:
    """Draw a bar for each parameter, with its range as a line.

    With ``"fanova"``, all bars are shares of the variance of the value over the completed trials.
    Two gray bars complete it: the share of interactions, and the unexplained share.
    """
    found = importance_scores(space, measure, trials, method, ranges=True)
    shares = found.method == "fanova"
    groups, left_out = _largest(found.groups, MOST_BARS)
    rows = sum(len(group.scores) for group in groups) + len(groups) + 2 * shares
    ax = axes_or_new(ax, 7.0, min(12.0, max(2.2, 1.1 + 0.27 * rows)))
    tidy(ax, "Importance of the parameters", grid="x")
    if not groups:
        say_instead(ax, f"needs {FEWEST} completed trials with different values")
        save_figure(ax, save)
        return ax
    _draw(ax, groups, found if shares else None)
    name, n = shorten(measure.name, 24), len(measure.completed(trials))
    if found.log:
        name = f"log {name}"
    notes = [
        f"share of the variance of {name} explained (fANOVA, {n} trials)"
        if shares
        else f"divergence of the best 10 % by {name} from all {n} (PED-ANOVA)"
    ]
    if left_out:
        notes.append(f"{left_out} less important parameters omitted")
    if found.skipped:
        names = ", ".join(path_names(found.skipped[:4], 24)) + (
            f" and {len(found.skipped) - 4} more" if len(found.skipped) > 4 else ""
        )
        notes.append(f"too few trials or equal values: {names}")
    ax.set_xlabel("\n".join(notes))
    save_figure(ax, save)
    return ax


def _draw(ax: Axes, groups: Sequence[ScoreGroup], whole: Importances | None) -> None:
    """Draw the groups; `whole` has the rest of the variance, if scores are shares of it."""
    ticks: dict[float, str] = {}
    at = 0.0
    for group in groups:
        if len(groups) > 1 or group.where:
            ax.text(
                0.0, at, f" {_heading(group)}", color=GRAY, fontsize=SMALL, style="italic",
                va="center", transform=ax.get_yaxis_transform(),
            )  # fmt: skip
            at += 0.95
        names = path_names([_name_within(path, group) for path in group.scores], 34)
        for name, (path, score) in zip(names, group.scores.items(), strict=True):
            end = score
            ax.barh(at, score, height=0.68, color=MAIN)
            if path in group.ranges:
                low, end = group.ranges[path]
                ax.plot([low, end], [at, at], color=GRAY, linewidth=1.4, solid_capstyle="butt")
            _write(ax, max(score, end), at, score, percent=whole is not None)
            ticks[at] = name
            at += 1.0
        at += 0.25
    longest = max(
        max([score, *group.ranges.get(path, ())])
        for group in groups
        for path, score in group.scores.items()
    )
    if whole is not None:
        for name, score in (
            ("interactions", whole.together),
            ("unexplained", whole.unexplained),
        ):
            ax.barh(at, score, height=0.68, color=GRAY, alpha=0.45)
            _write(ax, score, at, score, percent=True)
            ticks[at] = name
            longest = max(longest, score)
            at += 1.0
        ax.xaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
    ax.set_yticks(list(ticks), list(ticks.values()))
    ax.tick_params(axis="y", length=0)
    ax.set_ylim(at - 0.4, -0.6)
    ax.set_xlim(0, 1.1 * longest if longest > 0 else 1.0)
    ax.spines["left"].set_visible(False)


def _write(ax: Axes, x: float, y: float, score: float, *, percent: bool) -> None:
    ax.annotate(
        share_text(score) if percent else number_text(score), (x, y), xytext=(3, 0),
        textcoords="offset points", va="center", fontsize=SMALL,
    )  # fmt: skip


def share_text(share: float) -> str:
    """Format a share as a percentage.

    >>> share_text(0.019), share_text(0.123), share_text(0.0004), share_text(0.0)
    ('1.9 %', '12 %', '< 0.1 %', '0 %')
    """
    percent = 100 * share
    if percent >= 9.95 or percent == 0:
        return f"{percent:.0f} %"
    return "< 0.1 %" if percent < 0.1 else f"{percent:.1f} %"


def _heading(group: ScoreGroup) -> str:
    if not group.where:
        return f"in all {group.n_trials} completed trials"
    conditions = " and ".join(
        f"{shorten(path, 24)} = {shorten(option, 24)}" for path, option in group.where[-2:]
    )
    return f"where {conditions}: {group.n_trials} trials"


def _name_within(path: str, group: ScoreGroup) -> str:
    """Return the path relative to the branch, which the heading names."""
    if not group.where:
        return path
    choice, option = group.where[-1]
    return path.removeprefix(f"{choice}.{option}.")


def _largest(groups: Sequence[ScoreGroup], most: int) -> tuple[list[ScoreGroup], int]:
    """Return the groups with the `most` highest scores, and the number of omitted scores."""
    ranked = sorted((s for group in groups for s in group.scores.values()), reverse=True)
    if len(ranked) <= most:
        return list(groups), 0
    least = ranked[most - 1]
    kept = []
    room = most
    for group in groups:
        scores = dict([(p, s) for p, s in group.scores.items() if s >= least][:room])
        room -= len(scores)
        if scores:
            kept.append(dataclasses.replace(group, scores=scores))
    return kept, len(ranked) - most + room
