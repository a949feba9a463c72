"""Importance scores of the parameters.

Two methods are available:

``"fanova"``
    The share of the variance of the value, over all completed trials, that each parameter explains
    by itself; see `tuner.plotting.variance_shares`. Interactions of parameters explain a further
    share, and the rest is unexplained. A parameter of a branch is evaluated on the trials of its
    branch, where it explains a part of the variance of the whole.
``"ped-anova"``
    How far the best 10% of the trials differ from all in each parameter, as a Pearson divergence,
    computed by Optuna. Watanabe et al., IJCAI 2023 (arXiv:2304.10255), with its extension to
    conditional parameters of 2026 (arXiv:2601.20800). It has no natural unit; 0 means no
    difference.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tuner.errors import ArgumentError
from tuner.plotting.measure import LOG_RATIO, Measure, ValueAxis
from tuner.plotting.variance_shares import TREES, effects
from tuner.records import Goal, Trial
from tuner.search_spaces import Column, Space
from tuner.search_spaces.domains import Condition

METHODS = ("fanova", "ped-anova")

FEWEST = 4
"""Minimum number of completed trials for scores."""

FOREST_TRIALS = 400
"""Maximum number of trials for a forest."""

HALVES = 8
"""Number of random halves of the trials for the ranges."""

HALF_TREES = 16
"""Number of trees of a forest on half of the trials."""

ORDER_TREES = 32
"""Number of trees of a forest that only orders the parameters."""

RANGE_ERRORS = 1.645
"""Half the length of a range in standard errors; 90% of a normal distribution."""

DIVERGED = 10.0
"""Threshold of divergence, as a multiple of the value range that the plots show."""

MOST_RATIO = 100
"""Minimum ratio of the 95% to the 5% quantile of values that are replaced by their logarithm."""

Where: TypeAlias = tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class ScoreGroup:
    """The scores of the parameters of a branch, highest first.

    `where` is the branch: pairs ``(path of the choice, option)``, outermost first, empty for
    parameters of all trials. `n_trials` is the number of evaluated trials. `ranges` has the
    range of each score, `RANGE_ERRORS` to both sides; empty without ranges.
    """

    where: Where
    n_trials: int
    scores: dict[str, float]
    ranges: dict[str, tuple[float, float]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Importances:
    """The scores of all varying parameters; no groups with too few trials.

    With ``"fanova"``, all scores are shares of the same variance: with `together`, the share of
    interactions, and `unexplained` they sum to 1. `skipped` has the parameters of branches that
    have too few trials for scores. `log` states that the scores explain the logarithm of the value.
    """

    method: str
    groups: tuple[ScoreGroup, ...] = ()
    together: float = 0.0
    unexplained: float = 1.0
    skipped: tuple[str, ...] = ()
    log: bool = False

    @property
    def scores(self) -> dict[str, float]:
        """The scores of all parameters by path."""
        return {path: score for group in self.groups for path, score in group.scores.items()}


def importance_scores(
    space: Space,
    measure: Measure,
    trials: Sequence[Trial],
    method: str | None = None,
    *,
    ranges: bool = False,
) -> Importances:
    """Return the scores of all varying parameters, with ``"fanova"`` and `ranges` their ranges.

    Values of which most span decades are replaced by their logarithm. Diverged values are clipped
    to the worst other value, because a single diverged trial would dominate the scores. Other bad
    values are kept, even if the plots show them off scale: they show which branches are bad.

    Raises
    ------
    ArgumentError
        If the method is unknown.
    """
    method = method or METHODS[0]
    if method not in METHODS:
        choices = " or ".join(map(repr, METHODS))
        raise ArgumentError(f"importances: unknown method {method!r}; choose {choices}")
    comparable = _comparable(space, measure, trials)
    if comparable is None:
        return Importances(method)
    done, levels, log, varying = comparable
    if method == "ped-anova":
        scores = _ped_anova(space, done, levels, varying)
        return Importances(method, (ScoreGroup((), len(done), scores),), log=log)
    found = _fanova(_Data.of(space, done, levels, varying), ranges=ranges)
    return dataclasses.replace(found, log=log)


def most_important(space: Space, measure: Measure, trials: Sequence[Trial]) -> list[str]:
    """Return the varying parameters, most important first; in declared order without scores.

    The scores are computed as for ``"fanova"``, with fewer trees.
    """
    scores: dict[str, float] = {}
    comparable = _comparable(space, measure, trials)
    if comparable is not None:
        done, levels, _, varying = comparable
        data = _Data.of(space, done, levels, varying)
        for where in dict.fromkeys(column.parents for column in varying):
            branch = _branch(data, where, ORDER_TREES, leaf=1)
            if branch is not None:
                scores |= zip(branch.paths, branch.explained.tolist(), strict=True)
    declared = [column.path for column in space.columns if column.domain.size > 1]
    return sorted(declared, key=lambda path: -scores.get(path, 0.0))


def _comparable(
    space: Space, measure: Measure, trials: Sequence[Trial]
) -> tuple[list[Trial], NDArray[np.float64], bool, list[Column]] | None:
    """Return the completed trials, their levels, whether these are logs, and varying columns.

    None if there are too few trials, or all values or all points are equal.
    """
    done = measure.completed(trials)
    if len(done) < FEWEST:
        return None
    levels, log = _levels(measure, measure.values(done))
    seen: dict[str, set[str]] = {}
    for trial in done:
        for path, value in space.flatten(trial.params).items():
            seen.setdefault(path, set()).add(repr(value))
    varying = [c for c in space.columns if len(seen.get(c.path, ())) > 1]
    return None if np.ptp(levels) == 0 or not varying else (done, levels, log, varying)


def _levels(measure: Measure, values: NDArray[np.float64]) -> tuple[NDArray[np.float64], bool]:
    """Return the values on the axis of the plots, 0 for the best, and whether it is logarithmic."""
    axis = ValueAxis.of(measure, values)
    low, high = axis.low, axis.high
    # A few diverged or tiny values, which make the axis logarithmic, do not change the scale here.
    most = np.quantile(values, [0.05, 0.95])
    log = axis.log and high / LOG_RATIO >= low and bool(most[1] / MOST_RATIO >= most[0])
    if log:
        values, low, high = np.log(values), np.log(low), np.log(high)
    if low == high:
        return np.full(len(values), 0.5), log
    with np.errstate(over="ignore"):
        # Halved, because the largest difference can overflow.
        level = (values / 2 - low / 2) / (high / 2 - low / 2)
    if not measure.worse_up:
        level = 1 - level
    level = np.minimum(level, level[level <= DIVERGED].max())
    if measure.direction is None:
        level = np.maximum(level, level[level >= 1 - DIVERGED].min())
    return level, log


def _ped_anova(
    space: Space, done: Sequence[Trial], levels: NDArray[np.float64], varying: Sequence[Column]
) -> dict[str, float]:
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

    from tuner.optimizers.optuna_adapter import quiet, to_optuna_study

    told = [
        dataclasses.replace(t, values=(float(level),))
        for t, level in zip(done, levels, strict=True)
    ]
    with quiet():
        scores = get_param_importances(
            to_optuna_study(space, [Goal()], told),
            evaluator=PedAnovaImportanceEvaluator(),
            params=[column.path for column in varying],
            normalize=False,
        )
    return {path: float(score) for path, score in scores.items()}


@dataclass(frozen=True, slots=True)
class _Data:
    """Trials as points of the unit cube: `X`, shape (n, d), values `y` and varying `columns`.

    `copies` has a number for each trial, equal for trials at the same point. If the space has no
    more points than there are trials, the numbers differ: there, values at the same point are how
    a parameter explains a value.
    """

    columns: Sequence[Column]
    X: NDArray[np.float64]
    y: NDArray[np.float64]
    copies: NDArray[np.intp]
    flats: Sequence[Mapping[str, Any]]

    @classmethod
    def of(
        cls,
        space: Space,
        trials: Sequence[Trial],
        levels: NDArray[np.float64],
        columns: Sequence[Column],
    ) -> _Data:
        """Return the data of at most `FOREST_TRIALS` trials, evenly spaced by their level."""
        kept = _evenly(levels, FOREST_TRIALS)
        points = [trials[i].params for i in kept]
        X, _ = space.encode(points)
        X = X[:, [space.columns.index(column) for column in columns]]
        copies = np.arange(len(X))
        if math.prod(column.domain.size for column in columns) > len(X):
            copies = np.unique(X, axis=0, return_inverse=True)[1].reshape(-1)
        flats = [space.flatten(point) for point in points]
        return cls(columns, X, levels[kept], copies, flats)

    def rows(self, chosen: NDArray[np.intp]) -> _Data:
        """Return the data of some trials."""
        flats = [self.flats[i] for i in chosen]
        return _Data(self.columns, self.X[chosen], self.y[chosen], self.copies[chosen], flats)

    def inside(self, where: Where) -> NDArray[np.bool_]:
        """Return a mask of the trials of a branch."""
        return np.array(
            [all(c.holds(flat.get(c.path)) for c in where) for flat in self.flats], bool
        )


@dataclass(frozen=True, slots=True)
class _Branch:
    """The parameters at `paths` of a branch, evaluated on its `n_trials`.

    `explained` has the sum of the products of deviation and effect for each parameter, and
    `prediction` the predicted deviation of each trial of the branch. `leaf` is the one of
    `Effects`.
    """

    n_trials: int
    paths: list[str]
    explained: NDArray[np.float64]
    prediction: NDArray[np.float64]
    leaf: int


def _fanova(data: _Data, *, ranges: bool) -> Importances:
    wheres = list(dict.fromkeys(column.parents for column in data.columns))
    found = {where: _branch(data, where) for where in wheres}
    branches = {where: branch for where, branch in found.items() if branch is not None}
    deviation = data.y - data.y.mean()
    whole = float(deviation @ deviation)
    only_one = wheres == [()] and () in branches
    every = branches[()].prediction if only_one else effects(data.X, data.y, data.copies).prediction
    explained = min(1.0, max(0.0, float(deviation @ every) / whole))
    alone = sum(float(b.explained.sum()) for b in branches.values()) / whole
    scale = 1 / (whole * max(1.0, alone))
    errors = _standard_errors(data, branches, scale) if ranges else {}
    groups = []
    for where, branch in branches.items():
        order = np.argsort(-branch.explained, kind="stable")
        scores = {branch.paths[k]: scale * float(branch.explained[k]) for k in order}
        groups.append(ScoreGroup(where, branch.n_trials, scores, _ranges(scores, errors)))
    return Importances(
        "fanova",
        tuple(groups),
        together=max(0.0, explained - alone),
        unexplained=max(0.0, 1 - max(explained, alone)),
        skipped=tuple(c.path for c in data.columns if c.parents not in branches),
    )


def _branch(
    data: _Data, where: Where, trees: int = TREES, leaf: int | None = None
) -> _Branch | None:
    """Evaluate the parameters of a branch beside all others that are active in it.

    None if the branch has too few trials, or equal values.
    """
    inside = data.inside(where)
    y = data.y[inside]
    if len(y) < FEWEST or np.ptp(y) == 0:
        return None
    fixed = {condition.path for condition in where}
    used = [
        k
        for k, column in enumerate(data.columns)
        if where[: len(column.parents)] == column.parents and column.path not in fixed
    ]
    effect = effects(data.X[inside][:, used], y, data.copies[inside], trees, leaf)
    own = [i for i, k in enumerate(used) if data.columns[k].parents == where]
    explained = (y - y.mean()) @ effect.first_order[:, own]
    return _Branch(
        len(y),
        [data.columns[used[i]].path for i in own],
        np.maximum(explained, 0.0),
        effect.prediction,
        effect.leaf,
    )


def _standard_errors(
    data: _Data, branches: Mapping[Where, _Branch], scale: float
) -> dict[str, float]:
    """Return the standard errors of the scores, by a delete-half jackknife; empty if too few.

    With half of the trials left out, the mean squared difference to the score of all trials is the
    variance of that score (Shao & Wu 1989, "A general theory for jackknife variance estimation").
    """
    n = len(data.y)
    if n < 2 * FEWEST:
        return {}
    rng = np.random.default_rng(0)
    squares: dict[str, list[float]] = {}
    for _ in range(HALVES):
        half = data.rows(np.sort(rng.choice(n, n // 2, replace=False)))
        deviation = half.y - half.y.mean()
        whole = float(deviation @ deviation)
        for where, branch in branches.items():
            again = _branch(half, where, HALF_TREES, branch.leaf) if whole > 0 else None
            if again is not None:
                differences = again.explained / whole - scale * branch.explained
                for path, difference in zip(branch.paths, differences.tolist(), strict=True):
                    squares.setdefault(path, []).append(difference**2)
    return {path: float(np.mean(found)) ** 0.5 for path, found in squares.items()}


def _ranges(
    scores: Mapping[str, float], errors: Mapping[str, float]
) -> dict[str, tuple[float, float]]:
    """Return the ranges; each extends to both sides of its score, so it contains it."""
    return {
        path: (
            max(0.0, score - RANGE_ERRORS * errors[path]),
            min(1.0, score + RANGE_ERRORS * errors[path]),
        )
        for path, score in scores.items()
        if path in errors
    }


def _evenly(levels: NDArray[np.float64], at_most: int) -> NDArray[np.intp]:
    """Return at most `at_most` indices, evenly spaced in the order of the levels."""
    if len(levels) <= at_most:
        return np.arange(len(levels))
    order = np.argsort(levels, kind="stable")
    return np.asarray(order[np.linspace(0, len(levels) - 1, at_most).round().astype(int)])
