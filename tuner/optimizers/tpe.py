"""Tree-structured Parzen estimator, multivariate, aware of conditions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from tuner.errors import ArgumentError
from tuner.optimizers.base import History, SpaceOptimizer
from tuner.optimizers.ordering import best_first
from tuner.optimizers.parzen import Floats, KernelColumns, ParzenDensity, Places
from tuner.records import Goal, Params
from tuner.search_spaces import Space

DRAWS = 8
"""How often candidates are drawn until one is within the constraints and new."""

KERNELS = 200
"""Kernels that the density of the rest has at most: half for the latest, half for those before."""


class TPEOptimizer(SpaceOptimizer):
    """Suggests where good trials are dense and others are not.

    The told trials are split into the best and the rest, each is turned into a density l(x) and
    g(x), and of points drawn from l the one with the largest l(x) / g(x) is suggested, which
    maximises expected improvement under this model (Bergstra et al. 2011, "Algorithms for
    Hyper-Parameter Optimization", section 4.1). Each trial's kernel is a product over all its
    parameters at once, which Watanabe (2023, arXiv:2304.11127) found to do well. Under a
    kernel whose trial did not have a parameter, that parameter is uniform, so one density covers a
    space with conditions.

    With several goals the best are those on the first fronts, with constraints the feasible ones;
    see `tuner.optimizers.ordering`. Pending and failed trials belong to the rest, so that workers
    spread and stay off failures; so do stopped ones while there are others.

    Parameters
    ----------
    n_startup
        Trials from a Sobol sequence before the first density is built.
    gamma
        The share of trials that count as best, at most `max_best` of them.
    max_best
        See `gamma`.
    candidates
        Points drawn from l for each suggestion.

    Examples
    --------
    >>> from tuner.records import Goal
    >>> from tuner.search_spaces import Float, Space
    >>> search = TPEOptimizer(n_startup=5)
    >>> search.reset(Space({"x": Float(0, 1)}), [Goal()], seed=0)
    >>> len(search.ask(3))
    3
    """

    name = "tpe"
    multi_objective: ClassVar[bool] = True

    def __init__(
        self,
        *,
        n_startup: int = 10,
        gamma: float = 0.15,
        max_best: int = 25,
        candidates: int = 256,
    ) -> None:
        if n_startup < 2 or max_best < 1 or candidates < 1 or not 0 < gamma < 1:
            raise ArgumentError(
                f"TPEOptimizer(n_startup={n_startup}, gamma={gamma}, max_best={max_best}, "
                f"candidates={candidates}): n_startup must be at least 2, gamma between 0 and 1, "
                f"the others at least 1"
            )
        self.n_startup = n_startup
        self.gamma = gamma
        self.max_best = max_best
        self.candidates = candidates

    def reset(self, space: Space, goals: Sequence[Goal], seed: int) -> None:
        """Begin a study with an empty history; see `Optimizer.reset`."""
        super().reset(space, goals, seed)
        self._columns = KernelColumns(space.columns)

    def suggest(self, history: History, rng: np.random.Generator) -> Params:
        """Return the candidate with the largest l(x) / g(x)."""
        if history.known < self.n_startup or np.sum(~history.failed) < 2:
            return self.start(history, rng)
        good, bad = self._densities(history)
        for _ in range(DRAWS):
            X, active = self.space.snap(good.sample(rng, self.candidates))
            score = good.log_density(X, active) - bad.log_density(X, active)
            order = np.argsort(-score, kind="stable")
            for some in (order[:8], order[8:]):  # most often one of a few will do
                for point in self.space.decode(X[some]):
                    if self.space.feasible(point) and not self.is_repeat(point):
                        return point
            if self.exhausted:
                break
        return dict(self.space.sample(rng))

    def _densities(self, history: History) -> tuple[ParzenDensity, ParzenDensity]:
        """Return the density of the best trials, and that of the rest and the pending ones."""
        count = min(math.ceil(self.gamma * np.sum(~history.failed)), self.max_best)
        good = np.sort(best_first(history, count))
        bad = np.setdiff1d(np.arange(history.size), good, assume_unique=True)
        pending = len(history.pending_X)
        shown, weights = thinned(recency_weights(len(bad) + pending), KERNELS)
        told = bad[shown[shown < len(bad)]]
        waiting = shown[shown >= len(bad)] - len(bad)
        return (
            ParzenDensity(
                self._columns,
                history.X[good],
                history.active[good],
                recency_weights(len(good)),
                self.space.prior or None,
            ),
            ParzenDensity(
                self._columns,
                np.concatenate([history.X[told], history.pending_X[waiting]]),
                np.concatenate([history.active[told], history.pending_active[waiting]]),
                weights,
                self.space.prior or None,
            ),
        )


def thinned(weights: Floats, count: int) -> tuple[Places, Floats]:
    """Return at most `count` of the rows and what they weigh: the latest half, others in steps.

    One of the others stands for those that it was taken from.

    Examples
    --------
    >>> rows, weights = thinned(np.ones(10), 4)
    >>> rows.tolist(), weights.tolist()
    ([1, 5, 8, 9], [4.0, 4.0, 1.0, 1.0])
    """
    n = len(weights)
    if n <= count:
        return np.arange(n), weights
    late = count // 2
    early = n - late
    bounds = np.linspace(0, early, count - late + 1).astype(int)
    rows = np.concatenate([(bounds[:-1] + bounds[1:] - 1) // 2, np.arange(early, n)])
    sums = np.add.reduceat(weights[:early], bounds[:-1])
    return rows, np.concatenate([sums, weights[early:]])


def recency_weights(n: int) -> Floats:
    """Return weights of trials, the latest last: 1 for the latest 25, less for older ones.

    Examples
    --------
    >>> recency_weights(27).round(2).tolist()[:4]
    [0.04, 1.0, 1.0, 1.0]
    """
    return np.concatenate([np.linspace(1.0 / max(n, 1), 1.0, max(n - 25, 0)), np.ones(min(n, 25))])
