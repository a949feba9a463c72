"""Reproducible parallel search: reveal outcomes in trial order, with a fixed lag."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tuner.optimizers.protocol import Optimizer
from tuner.records import Goal, Outcome, Params, State, Trial
from tuner.search_spaces import Space


class LaggedOptimizer:
    """Reveals to suggestion k exactly the outcomes of trials up to k - `lag`.

    Later trials count as pending. So suggestions depend on the seed, the outcomes and `lag`, but
    not on the order in which workers finish. Trials up to k - `lag` must have been told.

    Parameters
    ----------
    inner
        The optimizer, bound to its study.
    lag
        Number of concurrent trials.

    Examples
    --------
    >>> from tuner.optimizers import TPEOptimizer
    >>> from tuner.search_spaces import Float
    >>> lagged = LaggedOptimizer(TPEOptimizer(), lag=2)
    >>> lagged.reset(Space({"x": Float(0, 1)}), [Goal()], seed=0)
    >>> len(lagged.ask(2))
    2
    """

    def __init__(self, inner: Optimizer, lag: int) -> None:
        self.inner = inner
        self.lag = lag
        self._held: dict[int, tuple[Trial, Outcome]] = {}
        self._seen = -1

    def reset(self, space: Space, goals: Sequence[Goal], seed: int) -> None:
        """Begin a study with an empty history; see `Optimizer.reset`."""
        self.inner.reset(space, goals, seed)
        self._held.clear()
        self._seen = -1

    def tell(self, trial: Trial, outcome: Outcome) -> None:
        """Hold an outcome until the lag reveals it; pass on trials of earlier studies."""
        if trial.number < 0:
            self.inner.tell(trial, outcome)
        else:
            self._held[trial.number] = (trial, outcome)

    def ask(self, n: int, pending: Sequence[Trial] = ()) -> list[Params]:
        """Return `n` points, for the trials after those told and `pending`."""
        unseen = {trial.number: trial for trial in pending}
        unseen |= {number: trial for number, (trial, _) in self._held.items()}
        first = 1 + max(self._seen, *unseen, -1)
        points: list[Params] = []
        for number in range(first, first + n):
            for earlier in sorted(k for k in self._held if k <= number - self.lag):
                self.inner.tell(*self._held.pop(earlier))
                self._seen = max(self._seen, earlier)
                del unseen[earlier]
            (params,) = self.inner.ask(1, [unseen[k] for k in sorted(unseen)])
            unseen[number] = Trial(number, params, State.RUNNING)
            points.append(params)
        return points

    def describe(self) -> dict[str, Any]:
        """Return the description of the inner optimizer."""
        from tuner.optimizers import describe

        return describe(self.inner)
