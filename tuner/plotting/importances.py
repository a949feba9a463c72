"""Bar chart of the importance of the parameters."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tuner.plotting.importance_scores import (
    FEWEST,
    ScoreGroup,
    chosen_method,
    importance_scores,
)
from tuner.plotting.style import (
    GRAY,
    MAIN,
    SMALL,
    axes_or_new,
    save_figure,
    say_instead,
    shorten,
    tidy,
)
from tuner.records import Goal, Trial
from tuner.search_spaces import Space

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_BARS = 30
"""Maximum number of bars; the least important parameters are omitted."""

_LABELS = {
    "fanova": "share of the variance of {} explained (fANOVA)",
    "ped-anova": "share of the difference of the best 10 % by {} (PED-ANOVA)",
}


def importances(
    space: Space,
    goal: Goal,
    trials: Sequence[Trial],
    method: str | None = None,
    *,
    ax: Axes | None = None,
    save: str | os.PathLike[str] | None = None,
) -> Axes:
    """Draw a bar for each parameter; scores are comparable within a group."""
    method = chosen_method(space, method)
    groups = importance_scores(space, goal, trials, method)
    groups, left_out = _largest(groups, MOST_BARS)
    rows = sum(len(group.scores) for group in groups) + len(groups)
    ax = axes_or_new(ax, 7.0, min(12.0, max(2.2, 1.1 + 0.27 * rows)))
    tidy(ax, "Importance of the parameters", grid="x")
    if not groups:
        say_instead(ax, f"needs {FEWEST} completed trials with different values")
    else:
        _draw(ax, groups)
        more = f"; {left_out} less important ones omitted" if left_out else ""
        ax.set_xlabel(_LABELS[method].replace("{}", shorten(goal.metric, 24)) + more)
    save_figure(ax, save)
    return ax


def _draw(ax: Axes, groups: Sequence[ScoreGroup]) -> None:
    ticks: dict[float, str] = {}
    at = 0.0
    for group in groups:
        if len(groups) > 1:
            ax.text(
                0.0, at, f" {_heading(group)}", color=GRAY, fontsize=SMALL, style="italic",
                va="center", transform=ax.get_yaxis_transform(),
            )  # fmt: skip
            at += 0.95
        for path, score in group.scores.items():
            ax.barh(at, score, height=0.68, color=MAIN)
            text = "< 1 %" if score < 0.01 else f"{100 * score:.0f} %"
            ax.text(score + 0.008, at, text, va="center", fontsize=SMALL)
            ticks[at] = shorten(_name_within(path, group), 34)
            at += 1.0
        at += 0.25
    ax.set_yticks(list(ticks), list(ticks.values()))
    ax.tick_params(axis="y", length=0)
    ax.set_ylim(at - 0.6, -0.6)
    longest = max(score for group in groups for score in group.scores.values())
    ax.set_xlim(0, max(0.1, 1.1 * longest))
    ax.xaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
    ax.spines["left"].set_visible(False)


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
            kept.append(ScoreGroup(group.where, group.n_trials, scores))
    return kept, len(ranked) - most + room
