"""Rebuild the state of optimizers and schedulers from recorded trials."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from tuner.optimizers.protocol import Optimizer
from tuner.records import Outcome, Report, StudyInfo, Trial
from tuner.records.attempts import reports_by_trial
from tuner.schedulers.protocol import Scheduler

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
        if not trial.state.finished:
            continue
        outcome = outcome_of(trial)
        optimizer.tell(trial, outcome)
        if scheduler is not None:
            for report in reports.get(trial.number, ()):
                scheduler.on_report(trial, report)
            scheduler.on_finish(trial, outcome)


def outcome_of(trial: Trial) -> Outcome:
    """Return the recorded outcome of a finished trial."""
    return Outcome(trial.state, trial.metrics, trial.error, trial.constraints)
