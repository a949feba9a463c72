"""Asynchronous successive halving with promotion, and Hyperband, which runs several of them."""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass, field

from tuner.errors import ArgumentError
from tuner.records import Goal, Outcome, Report, State, Trial
from tuner.schedulers.protocol import Decision
from tuner.schedulers.reached import ReachedRungs


@dataclass(slots=True)
class SuccessiveHalving:
    """Pauses each trial at a rung, and resumes it once it is among the best 1/`reduction` there.

    Rungs are after ``grace``, ``grace * reduction``, ``grace * reduction ** 2``, ... steps. A free
    worker resumes the best paused trial of the highest rung that may continue, or takes a new trial
    (Li et al. 2020, "A System for Massively Parallel Hyperparameter Tuning", arXiv:1810.05934,
    algorithm 2). The criterion is the best value of the first goal at or before the rung.

    A trial without a checkpoint cannot continue, so it is stopped. `ASHA` never pauses trials.

    Parameters
    ----------
    grace
        Number of steps before the first rung, at least 1. A report at `step` follows ``step + 1``
        steps.
    reduction
        Factor by which the number of trials shrinks at each rung, above 1.

    Examples
    --------
    >>> from tuner.records import Goal, Report, Trial
    >>> halving = SuccessiveHalving(grace=1, reduction=2)
    >>> halving.reset([Goal()])
    >>> trials = [Trial(n, {}) for n in range(2)]
    >>> [str(halving.on_report(t, Report(0, {"value": 1.0 - t.number}))) for t in trials]
    ['pause', 'continue']
    >>> halving.resume(trials[:1], n=1, new=1)
    []
    """

    grace: int = 1
    reduction: float = 3.0
    _rungs: list[list[tuple[float, int]]] = field(default_factory=list, init=False, repr=False)
    _reached: ReachedRungs = field(init=False, repr=False)
    _finished: float = field(default=math.inf, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.grace < 1:
            raise ArgumentError(f"SuccessiveHalving(grace={self.grace}): grace must be at least 1")
        if not self.reduction > 1:
            raise ArgumentError(
                f"SuccessiveHalving(reduction={self.reduction}): reduction must be above 1"
            )
        self.reset([Goal()])

    def reset(self, goals: Sequence[Goal]) -> None:
        """Start a study; only the first goal is used."""
        self._rungs, self._finished = [], math.inf
        self._reached = ReachedRungs(goals[0], self.grace, self.reduction)

    def on_report(self, trial: Trial, report: Report) -> Decision:
        """Return PAUSE at a rung, unless the trial may continue to the next one."""
        number, decision = trial.number, Decision.CONTINUE
        for k, best in self._reached.reach(number, report):
            self._rungs += [[] for _ in range(k + 1 - len(self._rungs))]
            insort(self._rungs[k], (best, number))
            decision = Decision.CONTINUE if number in self._promotable(k) else Decision.PAUSE
        return decision

    def resume(self, paused: Sequence[Trial], n: int, new: int) -> list[int]:
        """Return up to `n` paused trials that are among the best of their rung.

        If neither such a trial nor a new one is left, the best trial of all runs to its end.
        """
        waiting = {trial.number: self._reached.passed.get(trial.number, 0) for trial in paused}
        # A trial whose driver died before its first rung is none of them.
        chosen = [number for number, passed in waiting.items() if not passed]
        for k in reversed(range(len(self._rungs))):
            chosen += [i for i in self._promotable(k) if waiting.get(i) == k + 1]
        if not chosen and not new:
            loss, number = min((self._reached.best.get(i, math.inf), i) for i in waiting)
            chosen = [number] if loss < self._finished else []
        return chosen[:n]

    def on_finish(self, trial: Trial, outcome: Outcome) -> None:
        """Forget the trial; its values at the rungs are kept."""
        best = self._reached.forget(trial.number)
        if outcome.state is State.COMPLETED:
            self._finished = min(self._finished, best)

    def _promotable(self, k: int) -> list[int]:
        """Return the trials that are among the best of rung `k`, best first."""
        rung = self._rungs[k]
        return [number for _, number in rung[: int(len(rung) / self.reduction)]]


@dataclass(slots=True)
class Hyperband:
    """Successive halving with several numbers of steps before the first rung.

    Where early values tell little, the brackets that begin later do not lose the best trial (Li et
    al. 2018, "Hyperband", JMLR 18(185)). The number of a trial decides its bracket. A bracket with
    ``s`` rungs below `max_steps` gets a share in proportion to ``reduction ** s / (s + 1)``, as in
    the paper.

    Parameters
    ----------
    max_steps
        Number of steps of a whole trial, above `grace`; 81 as in the paper.
    grace
        Number of steps before the first rung of the bracket that begins first.
    reduction
        Factor by which the number of trials shrinks at each rung, above 1.
    """

    max_steps: int = 81
    grace: int = 1
    reduction: float = 3.0
    _brackets: list[SuccessiveHalving] = field(default_factory=list, init=False, repr=False)
    _shares: list[float] = field(default_factory=list, init=False, repr=False)

    def __post_init__(self) -> None:
        SuccessiveHalving(self.grace, self.reduction)
        if not self.max_steps > self.grace:
            raise ArgumentError(
                f"Hyperband(max_steps={self.max_steps}, grace={self.grace}): max_steps must be "
                f"above grace"
            )

    def reset(self, goals: Sequence[Goal]) -> None:
        """Start a study; only the first goal is used."""
        most = int(math.log(self.max_steps / self.grace, self.reduction) + 1e-9)
        graces = [round(self.grace * self.reduction ** (most - s)) for s in range(most + 1)]
        self._brackets = [SuccessiveHalving(grace, self.reduction) for grace in graces]
        sizes = [self.reduction**s / (s + 1) for s in range(most + 1)]
        self._shares = [size / sum(sizes) for size in sizes]
        for bracket in self._brackets:
            bracket.reset(goals)

    def on_report(self, trial: Trial, report: Report) -> Decision:
        """Return the decision of the trial's bracket."""
        return self._of(trial).on_report(trial, report)

    def resume(self, paused: Sequence[Trial], n: int, new: int) -> list[int]:
        """Return up to `n` paused trials that are among the best of their rung and bracket."""
        chosen: list[int] = []
        for bracket in self._brackets:
            mine = [trial for trial in paused if self._of(trial) is bracket]
            if mine:
                chosen += bracket.resume(mine, n, new)
        return chosen[:n]

    def on_finish(self, trial: Trial, outcome: Outcome) -> None:
        """Forget the trial; its values at the rungs are kept."""
        self._of(trial).on_finish(trial, outcome)

    def _of(self, trial: Trial) -> SuccessiveHalving:
        # The number alone decides, so a resumed study puts each trial into the same bracket.
        place = (trial.number * GOLDEN) % 1.0
        total = 0.0
        for share, bracket in zip(self._shares, self._brackets, strict=True):
            total += share
            if place < total:
                return bracket
        return self._brackets[-1]


GOLDEN = (math.sqrt(5.0) - 1.0) / 2.0
"""Multiples of this number, modulo 1, are spread evenly over [0, 1)."""
