"""Multivariate tree-structured Parzen estimator (TPE) for conditional spaces."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from tuner.errors import ArgumentError
from tuner.optimizers.base import History, SpaceOptimizer
from tuner.optimizers.feasible_rows import move_inside
from tuner.optimizers.ordering import best_first, feasible
from tuner.optimizers.parzen import Floats, KernelColumns, ParzenDensity, Places
from tuner.records import Goal, Params
from tuner.search_spaces import Space

DRAWS = 8
"""Maximum number of candidate batches drawn until one has a feasible, untried point."""

KERNELS = 200
"""Maximum number of kernels in g(x): half for the latest trials, half for the earlier ones."""


class TPEOptimizer(SpaceOptimizer):
    """The tree-structured Parzen estimator.

    The told trials are split into the best and the rest, with densities l(x) and g(x). Among
    candidates drawn from l, the one with the largest l(x) / g(x) is suggested; this maximizes
    expected improvement under the model (Bergstra et al. 2011, "Algorithms for Hyper-Parameter
    Optimization", section 4.1). The kernel of a trial is a product over all its parameters, which
    Watanabe (2023, arXiv:2304.11127) recommends. A parameter that is inactive in a trial is uniform
    under its kernel, so one density covers a conditional space.

    With several goals, the best trials are on the first Pareto fronts; with constraints, feasible
    trials rank first; see `tuner.optimizers.ordering`. A plateau of tied best trials counts as one
    trial. Pending and failed trials belong to the rest, so parallel suggestions differ and avoid
    failures. Stopped trials count as best only if too few trials completed.

    Parameters
    ----------
    n_startup
        Number of trials from a Sobol sequence before the first density is built.
    gamma
        The share of trials that count as best.
    max_best
        The maximum number of trials that count as best.
    candidates
        Number of points drawn from l for each suggestion.

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
        """Start a study with an empty history; see `Optimizer.reset`."""
        super().reset(space, goals, seed)
        self._columns = KernelColumns(space.columns)

    def suggest(self, history: History, rng: np.random.Generator) -> Params:
        """Return the candidate with the largest l(x) / g(x)."""
        if history.n_seen < self.n_startup or np.sum(~history.failed) < 2:
            return self.start(history, rng)
        good, bad = self._densities(history)
        for _ in range(DRAWS):
            rows = move_inside(self.space, *good.sample_around(rng, self.candidates), rng)
            X, active = self.space.snap(rows)
            score = good.log_density(X, active) - bad.log_density(X, active)
            order = np.argsort(-score, kind="stable")
            if self.space.constraints:
                order = order[self.space.feasible_rows(X[order], active[order])]
            for some in (order[:8], order[8:]):  # the best few usually suffice
                for point in self.space.decode(X[some]):
                    if not self.is_repeat(point):
                        return point
            if self.exhausted:
                break
        return dict(self.space.sample(rng))

    def _densities(self, history: History) -> tuple[ParzenDensity, ParzenDensity]:
        """Return l, the density of the best trials, and g, the density of all other trials."""
        count = min(math.ceil(self.gamma * np.sum(~history.failed)), self.max_best)
        good = np.sort(best_of(history, count))
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


def best_of(history: History, count: int) -> Places:
    """Return the indices of at most `count` best trials, of which one represents a plateau.

    If more than `count` trials tie at the best loss, they would be the only best ones, and the
    search would stay among them although they tell nothing of lower losses. Then one trial of each
    loss counts, and the others belong to the rest.
    """
    best = best_first(history, count + 1)
    losses = history.losses[best]
    if history.values.shape[1] > 1 or len(best) <= count or (losses != losses[0]).any():
        return best[:count]
    comparable = feasible(history)
    if not comparable[best].all():
        return best[:count]
    order = best_first(history, int(comparable.sum()))
    _, first = np.unique(history.losses[order], return_index=True)
    return order[first[:count]]


def thinned(weights: Floats, count: int) -> tuple[Places, Floats]:
    """Select at most `count` rows and return their weights.

    Half of them are the latest rows. The others represent equal groups of the earlier rows, and
    have the total weight of their group.

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
    """Return the weights of `n` trials, oldest first: 1 for the latest 25, less for older trials.

    Examples
    --------
    >>> recency_weights(27).round(2).tolist()[:4]
    [0.04, 1.0, 1.0, 1.0]
    """
    return np.concatenate([np.linspace(1.0 / max(n, 1), 1.0, max(n - 25, 0)), np.ones(min(n, 25))])
