"""How much each parameter matters for the value, from Optuna's evaluators.

Two methods, which answer two questions:

``"fanova"``
    How much of the variance of the value does each parameter explain, over all that was tried?
    Hutter et al., ICML 2014. It is defined only for parameters that are active together, so each
    branch of a conditional space is evaluated on the trials in it, together with what is active
    there besides, and its scores are comparable within the branch alone. Its time doubles with
    each option of a choice, so it is not for choices of more than ten.
``"ped-anova"``
    What sets the best tenth of the trials apart from the others? Watanabe et al., IJCAI 2023
    (arXiv:2304.10255); for conditional parameters the extension of 2026 (arXiv:2601.20800), so all
    parameters of a space are on one scale.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tuner.errors import ArgumentError
from tuner.plotting.value_axis import LOG_RATIO, ValueAxis, completed
from tuner.records import Direction, Goal, Trial
from tuner.search_spaces import Choice, Column, Space

METHODS = ("fanova", "ped-anova")

FEWEST = 4
"""Completed trials below which nothing can be said."""

FOREST_TRIALS = 200
"""Trials that fANOVA's forest is grown from: its time grows with their square."""

MOST_OPTIONS = 10
"""Options of a choice that fANOVA takes: each is a column, and its time doubles with each."""

FOREST_TREES = 32
"""Trees of fANOVA's forest."""

DIVERGED = 10.0
"""How many times as far from the best value as the worst that the plots show a diverged one is."""


@dataclass(frozen=True, slots=True)
class ScoreGroup:
    """Scores that are comparable with each other.

    `where` is the branch they hold for, ``(path of the choice, option)`` outermost first, empty
    for all trials; `n_trials` is from how many trials they come. Those of all trials sum to 1;
    those of a branch to less, as what is active there besides has a share, too.
    """

    where: tuple[tuple[str, str], ...]
    n_trials: int
    scores: dict[str, float]


def importance_scores(
    space: Space, goal: Goal, trials: Sequence[Trial], method: str | None = None
) -> list[ScoreGroup]:
    """Return the scores of all parameters that vary, the highest first; none if too few trials.

    Values that span decades count by their logarithm, and those that diverged as the worst of the
    others: else one diverged trial would decide everything. What is merely bad counts as it is,
    also where the plots show it off scale: the branch that a search soon left is why it is.

    Raises
    ------
    ArgumentError
        If there is no such method, or it is not for this space.
    """
    method = chosen_method(space, method)
    if method not in METHODS:
        choices = " or ".join(map(repr, METHODS))
        raise ArgumentError(f"importances: there is no method {method!r}; choose {choices}")
    done = completed(trials)
    if len(done) < FEWEST:
        return []
    done = _levelled(goal, done)
    if len({t.values[0] for t in done}) < 2:
        return []
    evaluate = _ped_anova if method == "ped-anova" else _fanova
    return [group for group in evaluate(space, goal, done) if group.scores]


def chosen_method(space: Space, method: str | None) -> str:
    """Return `method`, and for None fANOVA, unless a choice of the space has too many options.

    Raises
    ------
    ArgumentError
        If fANOVA is asked for where it would take hours.
    """
    large = [c for c in space.columns if isinstance(c.domain, Choice)]
    large = [c for c in large if c.domain.size > MOST_OPTIONS]
    if method == "fanova" and large:
        raise ArgumentError(
            f"importances: {large[0].path!r} has {large[0].domain.size} options, fanova takes up "
            f"to {MOST_OPTIONS}; write method='ped-anova'"
        )
    return method or ("ped-anova" if large else "fanova")


def most_important(space: Space, goal: Goal, trials: Sequence[Trial]) -> list[str]:
    """Return the parameters that vary, the most important first; as declared if nobody knows."""
    declared = [column.path for column in space.columns if column.domain.size > 1]
    groups = importance_scores(space, goal, trials)
    # A branch's score counts as much as the branch has trials.
    scores = {path: g.n_trials * score for g in groups for path, score in g.scores.items()}
    return sorted(declared, key=lambda path: -scores.get(path, 0.0))


def _levelled(goal: Goal, done: Sequence[Trial]) -> list[Trial]:
    """Return the trials with values from 0 to 1 on the axis of the plots, or beyond its bad end."""
    values = np.array([t.values[0] for t in done])
    axis = ValueAxis.of(goal, values)
    best, worst = axis.low, axis.high
    if goal.direction is Direction.MAXIMIZE:
        best, worst = worst, best
    # Where only the diverged ones make the axis logarithmic, the others do not span decades.
    if axis.log and axis.high / LOG_RATIO >= axis.low:
        values, best, worst = np.log(values), np.log(best), np.log(worst)
    if best == worst:
        return [dataclasses.replace(t, values=(0.5,)) for t in done]
    with np.errstate(over="ignore"):
        # Halved, because the largest difference may be beyond the largest float.
        badness = (values / 2 - best / 2) / (worst / 2 - best / 2)
    badness = np.minimum(badness, badness[badness <= DIVERGED].max())
    levels = badness if goal.direction is Direction.MINIMIZE else 1 - badness
    return [dataclasses.replace(t, values=(float(v),)) for t, v in zip(done, levels, strict=True)]


def _ped_anova(space: Space, goal: Goal, done: list[Trial]) -> list[ScoreGroup]:
    from optuna.importance import PedAnovaImportanceEvaluator

    seen = {path for trial in done for path in space.flatten(trial.params)}
    columns = [c for c in space.columns if c.domain.size > 1 and c.path in seen]
    scores = _evaluate(PedAnovaImportanceEvaluator(), space, goal, done, columns)
    return [ScoreGroup((), len(done), scores)]


def _fanova(space: Space, goal: Goal, done: list[Trial]) -> list[ScoreGroup]:
    from optuna.importance import FanovaImportanceEvaluator

    groups = []
    for where in dict.fromkeys(column.parents for column in space.columns):
        inside = [t for t in done if _is_in(space, t, where)]
        active = [c for c in space.columns if where[: len(c.parents)] == c.parents]
        columns = [c for c in active if c.domain.size > 1 and not _is_fixed(c, where)]
        own = {c.path for c in columns if c.parents == where}
        if len(inside) < FEWEST or not own or len({t.values[0] for t in inside}) < 2:
            continue
        evaluator = FanovaImportanceEvaluator(n_trees=FOREST_TREES, seed=0)
        scores = _evaluate(evaluator, space, goal, _evenly(inside, FOREST_TRIALS), columns)
        own_scores = {path: score for path, score in scores.items() if path in own}
        groups.append(ScoreGroup(where, len(inside), own_scores))
    return groups


def _evaluate(
    evaluator: Any, space: Space, goal: Goal, trials: Sequence[Trial], columns: Sequence[Column]
) -> dict[str, float]:
    from optuna.importance import get_param_importances

    from tuner.optimizers.optuna_adapter import quiet, to_optuna_study

    with quiet():
        study = to_optuna_study(space, [goal], trials)
        try:
            scores = get_param_importances(
                study, evaluator=evaluator, params=[column.path for column in columns]
            )
        except RuntimeError as error:
            # The values differ, but not with the parameters: the same point, tried many times.
            if "zero total variance" not in str(error):
                raise
            return {}
    return {path: float(score) for path, score in scores.items()}


def _evenly(trials: list[Trial], at_most: int) -> list[Trial]:
    """Return trials of the whole range of values: of the sorted ones, every n-th."""
    if len(trials) <= at_most:
        return trials
    ranked = sorted(trials, key=lambda t: t.values[0])
    return [ranked[i] for i in np.linspace(0, len(ranked) - 1, at_most).round().astype(int)]


def _is_in(space: Space, trial: Trial, where: tuple[tuple[str, str], ...]) -> bool:
    flat = space.flatten(trial.params)
    return all(flat.get(path) == option for path, option in where)


def _is_fixed(column: Column, where: tuple[tuple[str, str], ...]) -> bool:
    """Whether a choice has the same option in all trials of the branch `where`."""
    return any(path == column.path for path, _ in where)
