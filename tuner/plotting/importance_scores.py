"""Importance scores of the parameters, computed by Optuna's evaluators.

Two methods are available:

``"fanova"``
    The share of the variance of the value that each parameter explains, over all trials. Hutter et
    al., ICML 2014. It is defined only for parameters that are active together. Each branch of a
    conditional space is therefore evaluated on its own trials, together with the other parameters
    active there, and its scores are comparable only within the branch. The run time doubles with
    each option of a choice, so choices with more than ten options are not supported.
``"ped-anova"``
    The contribution of each parameter to the difference between the best 10% of the trials and the
    others. Watanabe et al., IJCAI 2023 (arXiv:2304.10255). Conditional parameters use the extension
    of 2026 (arXiv:2601.20800), so the scores of all parameters of a space are comparable.
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
"""Minimum number of completed trials for scores."""

FOREST_TRIALS = 200
"""Maximum number of trials for fANOVA's forest; the run time is quadratic in their number."""

MOST_OPTIONS = 10
"""Maximum number of options of a choice for fANOVA; the run time doubles with each option."""

FOREST_TREES = 32
"""Number of trees of fANOVA's forest."""

DIVERGED = 10.0
"""Threshold of divergence, as a multiple of the value range that the plots show."""


@dataclass(frozen=True, slots=True)
class ScoreGroup:
    """A group of scores that are comparable with each other.

    `where` is the branch of the group: pairs ``(path of the choice, option)``, outermost first,
    empty for all trials. `n_trials` is the number of evaluated trials. The scores over all trials
    sum to 1. The scores of a branch sum to less, because other active parameters have a share too.
    """

    where: tuple[tuple[str, str], ...]
    n_trials: int
    scores: dict[str, float]


def importance_scores(
    space: Space, goal: Goal, trials: Sequence[Trial], method: str | None = None
) -> list[ScoreGroup]:
    """Return the scores of all varying parameters, highest first; empty with too few trials.

    Values that span several decades are replaced by their logarithm. Diverged values are clipped
    to the worst other value, because a single diverged trial would dominate the scores. Other bad
    values are kept, even if the plots show them off scale: they show which branches are bad.

    Raises
    ------
    ArgumentError
        If the method is unknown or does not support this space.
    """
    method = chosen_method(space, method)
    if method not in METHODS:
        choices = " or ".join(map(repr, METHODS))
        raise ArgumentError(f"importances: unknown method {method!r}; choose {choices}")
    done = completed(trials)
    if len(done) < FEWEST:
        return []
    done = _levelled(goal, done)
    if len({t.values[0] for t in done}) < 2:
        return []
    evaluate = _ped_anova if method == "ped-anova" else _fanova
    return [group for group in evaluate(space, goal, done) if group.scores]


def chosen_method(space: Space, method: str | None) -> str:
    """Return `method`; for None, fANOVA, or PED-ANOVA if a choice has too many options.

    Raises
    ------
    ArgumentError
        If `method` is fANOVA and a choice has too many options; it would take hours.
    """
    large = [c for c in space.columns if isinstance(c.domain, Choice)]
    large = [c for c in large if c.domain.size > MOST_OPTIONS]
    if method == "fanova" and large:
        raise ArgumentError(
            f"importances: {large[0].path!r} has {large[0].domain.size} options, but fanova "
            f"supports at most {MOST_OPTIONS}; write method='ped-anova'"
        )
    return method or ("ped-anova" if large else "fanova")


def most_important(space: Space, goal: Goal, trials: Sequence[Trial]) -> list[str]:
    """Return the varying parameters, most important first; in declared order without scores."""
    declared = [column.path for column in space.columns if column.domain.size > 1]
    groups = importance_scores(space, goal, trials)
    # Scores of a branch are weighted by its number of trials.
    scores = {path: g.n_trials * score for g in groups for path, score in g.scores.items()}
    return sorted(declared, key=lambda path: -scores.get(path, 0.0))


def _levelled(goal: Goal, done: Sequence[Trial]) -> list[Trial]:
    """Return the trials with values scaled to the axis of the plots: 0 to 1, worse ones beyond."""
    values = np.array([t.values[0] for t in done])
    axis = ValueAxis.of(goal, values)
    best, worst = axis.low, axis.high
    if goal.direction is Direction.MAXIMIZE:
        best, worst = worst, best
    # If only diverged values make the axis logarithmic, the other values do not span decades.
    if axis.log and axis.high / LOG_RATIO >= axis.low:
        values, best, worst = np.log(values), np.log(best), np.log(worst)
    if best == worst:
        return [dataclasses.replace(t, values=(0.5,)) for t in done]
    with np.errstate(over="ignore"):
        # Halved, because the largest difference can overflow.
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
            # The values differ but the parameters do not: one point was tried repeatedly.
            if "zero total variance" not in str(error):
                raise
            return {}
    return {path: float(score) for path, score in scores.items()}


def _evenly(trials: list[Trial], at_most: int) -> list[Trial]:
    """Return at most `at_most` trials, evenly spaced in the order of their values."""
    if len(trials) <= at_most:
        return trials
    ranked = sorted(trials, key=lambda t: t.values[0])
    return [ranked[i] for i in np.linspace(0, len(ranked) - 1, at_most).round().astype(int)]


def _is_in(space: Space, trial: Trial, where: tuple[tuple[str, str], ...]) -> bool:
    flat = space.flatten(trial.params)
    return all(flat.get(path) == option for path, option in where)


def _is_fixed(column: Column, where: tuple[tuple[str, str], ...]) -> bool:
    """Return whether a choice has a fixed option in the branch `where`."""
    return any(path == column.path for path, _ in where)
