"""Tree-structured Parzen estimator, multivariate, aware of conditions."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from tuner.errors import ArgumentError
from tuner.optimizers.base import History, SpaceOptimizer
from tuner.optimizers.parzen import Bools, Floats, KernelColumn, ParzenDensity
from tuner.records import Goal, Params
from tuner.search_spaces import Space

DRAWS = 8
"""How often candidates are drawn until one is within the constraints and new."""


class TPEOptimizer(SpaceOptimizer):
    """Suggests where good trials are dense and others are not.

    The told trials are split into the best and the rest, each is turned into a density l(x) and
    g(x), and of points drawn from l the one with the largest l(x) / g(x) is suggested, which
    maximises expected improvement under this model (Bergstra et al. 2011, "Algorithms for
    Hyper-Parameter Optimization", section 4.1). Each trial's kernel is a product over all its
    parameters at once, which Watanabe (2023, arXiv:2304.11127) found to do well. Under a
    kernel whose trial did not have a parameter, that parameter is uniform, so one density covers a
    space with conditions.

    Pending and failed trials belong to the rest, so that workers spread and stay off failures; so
    do stopped ones while there are others.

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

    def __init__(
        self,
        *,
        n_startup: int = 10,
        gamma: float = 0.1,
        max_best: int = 25,
        candidates: int = 64,
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
        self._columns = [KernelColumn.of(column) for column in space.columns]

    def suggest(self, history: History, rng: np.random.Generator) -> Params:
        """Return the candidate with the largest l(x) / g(x)."""
        if history.known < self.n_startup or np.sum(~history.failed) < 2:
            return self.start(history, rng)
        best = self._best(history.losses, history.stopped)
        columns = self._columns
        good = ParzenDensity(
            columns, history.X[best], history.active[best], recency_weights(best.sum())
        )
        bad = ParzenDensity(
            columns,
            np.concatenate([history.X[~best], history.pending_X]),
            np.concatenate([history.active[~best], history.pending_active]),
            recency_weights((~best).sum() + len(history.pending_X)),
        )
        X, active = self._candidates(good, rng)
        if not len(X):
            return dict(self.space.sample(rng))
        score = good.log_density(X, active) - bad.log_density(X, active)
        (point,) = self.space.decode(X[[int(np.argmax(score))]])
        return point

    def _best(self, losses: Floats, stopped: Bools) -> Bools:
        """Return which trials are the best; the earlier of equals, never one without a value.

        A stopped trial comes after all completed ones: it was stopped because it did badly, though
        an early value of it may look good.
        """
        failed = np.isnan(losses)
        count = min(math.ceil(self.gamma * np.sum(~failed)), self.max_best)
        order = np.lexsort((losses, stopped, failed))
        best = np.zeros(len(losses), dtype=bool)
        best[order[:count]] = True
        return best

    def _candidates(self, good: ParzenDensity, rng: np.random.Generator) -> tuple[Floats, Bools]:
        """Return points drawn from `good` that are within the constraints and new."""
        for _ in range(DRAWS):
            points = self.space.decode(good.sample(rng, self.candidates))
            points = [p for p in points if self.space.feasible(p) and not self.is_repeat(p)]
            if points:
                break
        return self.space.encode(points)


def recency_weights(n: int) -> Floats:
    """Return weights of trials, the latest last: 1 for the latest 25, less for older ones.

    Examples
    --------
    >>> recency_weights(27).round(2).tolist()[:4]
    [0.04, 1.0, 1.0, 1.0]
    """
    return np.concatenate([np.linspace(1.0 / max(n, 1), 1.0, max(n - 25, 0)), np.ones(min(n, 25))])
