"""The history of a study as its optimizer sees it: replayed, revealed with a lag, or extended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from tuner.optimizers.protocol import Optimizer
from tuner.records import Goal, Outcome, Params, Report, State, StudyInfo, Trial
from tuner.records.attempts import reports_by_trial
from tuner.schedulers.protocol import PausingScheduler, Scheduler
from tuner.search_spaces import Space

if TYPE_CHECKING:
    from tuner.tracking.store import Store


def replay(
    study: StudyInfo,
    history: Iterable[Trial],
    optimizer: Optimizer,
    scheduler: Scheduler | None,
    store: Store,
) -> None:
    """Tell the finished trials of a study to its optimizer and scheduler, in order.

    Parameters
    ----------
    study
        The study; the warm-start trials in it come first.
    history
        All trials of the study.
    optimizer, scheduler
        Both must be bound to the study by their `reset`.
    store
        The store that has the reports of the trials.
    """
    for trial in study.warm_start_trials:
        optimizer.tell(trial, outcome_of(trial))
    reports: dict[int, list[Report]] = {}
    if scheduler is not None:
        reports = reports_by_trial(store.runs(study.uid), store.reports(study.uid))
    _tell(history, reports, optimizer, scheduler)


def follow(
    study: StudyInfo,
    trials: Sequence[Trial],
    optimizer: Optimizer,
    scheduler: Scheduler | None,
    store: Store,
) -> None:
    """Tell the finished ones among `trials`, like `replay`, but read only their reports."""
    reports: dict[int, list[Report]] = {}
    if scheduler is not None:
        numbers = [trial.number for trial in trials if trial.state.finished]
        reports = reports_of(numbers, study, store)
    _tell(trials, reports, optimizer, scheduler)


def reports_of(numbers: Sequence[int], study: StudyInfo, store: Store) -> dict[int, list[Report]]:
    """Return the reports of each of these trials; see `reports_by_trial`."""
    reports: dict[int, list[Report]] = {number: [] for number in numbers}
    for start in range(0, len(numbers), TRIALS_PER_QUERY):
        part = numbers[start : start + TRIALS_PER_QUERY]
        reports |= reports_by_trial(store.runs(study.uid, part), store.reports(study.uid, part))
    return reports


TRIALS_PER_QUERY = 500
"""Maximum number of trials whose reports one query reads."""


def _tell(
    trials: Iterable[Trial],
    reports: dict[int, list[Report]],
    optimizer: Optimizer,
    scheduler: Scheduler | None,
) -> None:
    for trial in trials:
        ended = trial.state.finished
        outcome = outcome_of(trial)
        if ended:
            optimizer.tell(trial, outcome)
        if isinstance(scheduler, PausingScheduler) or (scheduler is not None and ended):
            for report in reports.get(trial.number, ()):
                scheduler.on_report(trial, report)
            if ended:
                scheduler.on_finish(trial, outcome)


def outcome_of(trial: Trial) -> Outcome:
    """Return the recorded outcome of a finished trial."""
    return Outcome(trial.state, trial.metrics, trial.error, trial.constraints)


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
            asked = self.inner.ask(1, [unseen[k] for k in sorted(unseen)])
            if not asked:
                break
            unseen[number] = Trial(number, asked[0], State.RUNNING)
            points += asked
        return points

    def describe(self) -> dict[str, Any]:
        """Return the description of the inner optimizer."""
        from tuner.optimizers import describe

        return describe(self.inner)


def untried(space: Space, points: Sequence[Params], trials: Iterable[Trial]) -> list[Params]:
    """Return the points beyond those that the trials of a study have, in order.

    A point that is given twice is tried twice, so a call that is repeated adds nothing.

    Examples
    --------
    >>> from tuner.search_spaces import Int
    >>> space = Space({"x": Int(0, 9)})
    >>> untried(space, [{"x": 1}, {"x": 1}, {"x": 2}], [Trial(0, {"x": 1}), Trial(1, {"x": 5})])
    [{'x': 1}, {'x': 2}]
    """
    if not points:
        return []
    have = Counter(space.key(trial.params) for trial in trials)
    left: list[Params] = []
    for point in points:
        key = space.key(point)
        if have[key]:
            have[key] -= 1
        else:
            left.append(point)
    return left
