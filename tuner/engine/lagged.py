"""An optimizer that sees outcomes in the order of their trials, a fixed number behind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tuner.optimizers.protocol import Optimizer
from tuner.records import Goal, Outcome, Params, State, Trial
from tuner.search_spaces import Space


class LaggedOptimizer:
    """Lets suggestion k see the outcomes of trials up to k - `lag`, whatever came earlier or later.

    Later ones count as pending. So which points are suggested depends on the seed, the outcomes and
    `lag`, and not on which worker was faster. Trials up to k - `lag` must have been told by then.

    Parameters
    ----------
    inner
        The optimizer, bound to its study.
    lag
        How many trials run at once.

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
        """Keep an outcome until it may be seen; earlier studies' trials may at once."""
        if trial.number < 0:
            self.inner.tell(trial, outcome)
        else:
            self._held[trial.number] = (trial, outcome)

    def ask(self, n: int, pending: Sequence[Trial] = ()) -> list[Params]:
        """Return `n` points for the trials that follow those told and `pending`."""
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
        """Return what the optimizer says of itself."""
        from tuner.optimizers import describe

        return describe(self.inner)
