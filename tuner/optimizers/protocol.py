"""The `Optimizer` protocol: suggest the next point."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from tuner.records import Goal, Outcome, Params, Trial
from tuner.search_spaces import Space


@runtime_checkable
class Optimizer(Protocol):
    """Suggests points of a space, given the finished and the pending trials.

    An optimizer is created with its own options only (``TPE(gamma=0.15)``) and bound to a study by
    `reset`. Its state can be rebuilt from the history alone: after `reset`, telling it the finished
    trials in any order restores its state, so resume, replay and import share one path.

    The contract, tested by `tuner.testing.OptimizerConformance`:

    - Deterministic: the same seed, history and pending trials give the same points.
    - ``ask(n, pending)`` returns `n` points of the space that satisfy the constraints. While
      untried points exist, they repeat neither each other nor a told or pending point.
    - An optimizer with the attribute ``ends = True`` returns fewer than `n` points once it has
      suggested all of its points. The search then ends when the pending trials have finished.
    - Failed and stopped trials are told as well; an optimizer must handle any share of them.
    - `tell` is cheap; expensive computation happens in `ask`.
    """

    def reset(self, space: Space, goals: Sequence[Goal], seed: int) -> None:
        """Start a study of `space` with an empty history.

        Parameters
        ----------
        space
            The space to search.
        goals
            The metrics to optimize, at least one.
        seed
            A non-negative integer; all randomness derives from it and from the history.

        Raises
        ------
        ArgumentError
            If this optimizer does not support the space or the number of goals.
        """

    def ask(self, n: int, pending: Sequence[Trial] = ()) -> list[Params]:
        """Return the next `n` points, given the `pending` trials without an outcome."""

    def tell(self, trial: Trial, outcome: Outcome) -> None:
        """Record the outcome of a finished trial; ``outcome.metrics`` has the goals' metrics."""
