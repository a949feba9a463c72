"""Asynchronous successive halving (ASHA), the stopping variant."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import dataclass, field

from tuner.errors import ArgumentError
from tuner.records import Goal, Outcome, Report, Trial
from tuner.schedulers.protocol import Decision
from tuner.schedulers.reached import ReachedRungs


@dataclass(slots=True)
class ASHA:
    """Stops a trial at a rung unless it is among the best 1/`reduction` trials at this rung so far.

    Rungs are after ``grace``, ``grace * reduction``, ``grace * reduction ** 2``, ... steps. A trial
    that reaches a rung is immediately compared with the trials that reached it before; trials never
    wait (Li et al. 2020, "A System for Massively Parallel Hyperparameter Tuning",
    arXiv:1810.05934, algorithm 2, with stopping at the rung instead of later promotion). The
    criterion is the best value of the first goal at or before the rung. A tie passes, so the best
    trial so far is never stopped.

    Parameters
    ----------
    grace
        Minimum number of steps of each trial, at least 1. A report at `step` follows ``step + 1``
        steps.
    reduction
        Factor by which the number of trials shrinks at each rung, above 1.

    Examples
    --------
    >>> from tuner.records import Goal, Report, Trial
    >>> asha = ASHA(grace=1, reduction=2)
    >>> asha.reset([Goal()])
    >>> [str(asha.on_report(Trial(n, {}), Report(0, {"value": float(n)}))) for n in range(3)]
    ['continue', 'stop', 'stop']
    """

    grace: int = 1
    reduction: float = 3.0
    _rungs: dict[int, list[float]] = field(default_factory=dict, init=False, repr=False)
    _reached: ReachedRungs = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.grace < 1:
            raise ArgumentError(f"ASHA(grace={self.grace}): grace must be at least 1")
        if not self.reduction > 1:
            raise ArgumentError(f"ASHA(reduction={self.reduction}): reduction must be above 1")
        self.reset([Goal()])

    def reset(self, goals: Sequence[Goal]) -> None:
        """Start a study; only the first goal is used."""
        self._rungs, self._reached = {}, ReachedRungs(goals[0], self.grace, self.reduction)

    def on_report(self, trial: Trial, report: Report) -> Decision:
        """Return STOP at a rung that the trial does not pass."""
        decision = Decision.CONTINUE
        for k, best in self._reached.reach(trial.number, report):
            if not self._passes(k, best):
                decision = Decision.STOP
        return decision

    def on_finish(self, trial: Trial, outcome: Outcome) -> None:  # noqa: ARG002
        """Forget the trial; its values at the rungs are kept."""
        self._reached.forget(trial.number)

    def _passes(self, k: int, loss: float) -> bool:
        """Add `loss` to rung `k` and return whether it is among the best."""
        seen = self._rungs.setdefault(k, [])
        better = bisect_left(seen, loss)
        insort(seen, loss)
        return better < max(1, int(len(seen) / self.reduction))
