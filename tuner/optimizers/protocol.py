"""The `Optimizer` protocol: which point next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from tuner.records import Goal, Outcome, Params, Trial
from tuner.search_spaces import Space


@runtime_checkable
class Optimizer(Protocol):
    """Suggests points of a space, given what was tried and what is being tried.

    An optimizer is made with its own options only (``TPE(gamma=0.15)``) and bound to a study by
    `reset`. Its state rebuilds from the history alone: after `reset`, telling it the finished
    trials in any order that ends with the same history leaves it where it was, so resume, replay
    and import are the same thing.

    The contract, checked by ``tests/conformance/optimizers.py``:

    - Deterministic: the same seed, history and pending trials give the same points.
    - ``ask(n, pending)`` gives `n` points of the space, within every constraint, that repeat
      neither each other nor a told nor a pending point while untried ones exist.
    - Failed and stopped trials are told as well; an optimizer must cope with any share of them.
    - `tell` is cheap; what is costly happens in `ask`.
    """

    def reset(self, space: Space, goals: Sequence[Goal], seed: int) -> None:
        """Begin a study of `space` with an empty history.

        Parameters
        ----------
        space
            The space to search.
        goals
            The metrics to optimize, at least one.
        seed
            A non-negative integer; all randomness comes from it and from the history.

        Raises
        ------
        ArgumentError
            If this optimizer cannot handle such a space or so many goals.
        """

    def ask(self, n: int, pending: Sequence[Trial] = ()) -> list[Params]:
        """Return `n` points to try next, while `pending` trials have no outcome yet."""

    def tell(self, trial: Trial, outcome: Outcome) -> None:
        """Take in the outcome of a finished trial; ``outcome.metrics`` has the goals' metrics."""
