"""The attempts at a trial among its runs, and its reports over all of them."""

from __future__ import annotations

from collections.abc import Iterable

from tuner.records import Report, Run, State


def last_attempt(runs: Iterable[Run], state: State | None = None) -> Run | None:
    """Return the last attempt among the runs of a trial, None if there is none.

    Replays and repeats are left out, since they come later and did not give the trial its outcome.

    Parameters
    ----------
    runs
        Runs of one trial, by attempt.
    state
        The state that the attempt ended in; None for any.

    Examples
    --------
    >>> from tuner.records import RunPurpose
    >>> runs = [Run("a", trial=0), Run("b", trial=0, attempt=2, purpose=RunPurpose.REPEAT)]
    >>> last_attempt(runs).uid
    'a'
    """
    found = [run for run in runs if run.is_attempt and state in (None, run.state)]
    return found[-1] if found else None


def reports_by_trial(
    runs: Iterable[Run], reports: Iterable[tuple[str, Report]]
) -> dict[int, list[Report]]:
    """Return the reports of each trial by step, ignoring replays and repeats.

    An attempt that resumes from a checkpoint continues the steps of the one before. Its values of a
    metric replace those from its first step on, so an attempt that starts over replaces them all.

    Parameters
    ----------
    runs
        Runs, sorted by trial and attempt.
    reports
        Pairs of a run's uid and a report.

    Examples
    --------
    >>> runs = [Run("a", trial=0), Run("b", trial=0, attempt=2)]
    >>> steps = [("a", 0), ("a", 1), ("a", 2), ("b", 2), ("b", 3)]
    >>> reports = [(uid, Report(step, {"loss": 1.0})) for uid, step in steps]
    >>> [report.step for report in reports_by_trial(runs, reports)[0]]
    [0, 1, 2, 3]
    """
    by_run: dict[str, list[Report]] = {}
    for uid, report in reports:
        by_run.setdefault(uid, []).append(report)
    found: dict[int, dict[int, dict[str, float]]] = {}
    for run in runs:
        if run.is_attempt and run.uid in by_run:
            _continue(found.setdefault(run.trial, {}), by_run[run.uid])
    return {
        trial: [Report(step, steps[step]) for step in sorted(steps) if steps[step]]
        for trial, steps in found.items()
    }


def _continue(steps: dict[int, dict[str, float]], reports: Iterable[Report]) -> None:
    """Add the reports of the next attempt, and drop the replaced ones, metric by metric."""
    own: dict[int, dict[str, float]] = {}
    first: dict[str, int] = {}
    for report in reports:
        own.setdefault(report.step, {}).update(report.metrics)
        for name in report.metrics:
            first[name] = min(report.step, first.get(name, report.step))
    for step, metrics in steps.items():
        for name in [name for name in metrics if step >= first.get(name, step + 1)]:
            del metrics[name]
    for step, metrics in own.items():
        steps.setdefault(step, {}).update(metrics)
