"""Check a simulated sweep by its committed records, independently of the engine.

A rule is a function that yields its violations. Rules about transitions compare consecutive
snapshots.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from itertools import pairwise

from support.simulation.history import History, loads

STALE = -99.0
"""The value of outcomes that are delivered late, under a token that is no longer active."""


def violations(history: History) -> list[str]:
    """Return all violations, each with its rule."""
    return [f"{rule.__name__}: {what}" for rule in RULES for what in rule(history)]


def one_outcome_a_trial(history: History) -> Iterator[str]:
    for trial in history.snapshots[-1].trials.values():
        runs = [r for r in history.snapshots[-1].runs.values() if r.trial == trial.number]
        accepted = [r for r in runs if r.accepted]
        if len(accepted) > 1:
            yield f"trial {trial.number} has {len(accepted)} outcomes: {accepted}"
        elif trial.state in ("completed", "stopped") and not accepted:
            yield f"trial {trial.number} is {trial.state}, and none of its runs is: {runs}"
        elif trial.state == "failed" and accepted:
            yield f"trial {trial.number} has failed, but its run has not: {accepted[0]}"
        elif accepted and loads(accepted[0].metrics) != loads(trial.metrics):
            yield f"trial {trial.number} has other metrics than its run: {trial}, {accepted[0]}"


def an_outcome_never_changes(history: History) -> Iterator[str]:
    for i, (before, after) in enumerate(pairwise(history.snapshots), 1):
        for number, trial in before.trials.items():
            if trial.finished and after.trials.get(number) != trial:
                yield f"at {i}, by driver {after.writer}: {trial} became {after.trials.get(number)}"
        for uid, run in before.runs.items():
            if run.state != "running" and after.runs.get(uid) != run:
                yield f"at {i}, by driver {after.writer}: {run} became {after.runs.get(uid)}"


def nothing_committed_is_lost(history: History) -> Iterator[str]:
    for i, (before, after) in enumerate(pairwise(history.snapshots), 1):
        for number, trial in before.trials.items():
            now = after.trials.get(number)
            if now is None or now.params != trial.params:
                yield f"at {i}: {trial} became {now}"
        yield from (f"at {i}: run {uid} is gone" for uid in before.runs.keys() - after.runs.keys())


def nothing_committed_runs_again(history: History) -> Iterator[str]:
    """A driver that was frozen meanwhile runs no trial that it knew as finished."""
    for job in history.submitted:
        epoch = history.epochs.get(job.driver)
        seen = [s for s in history.snapshots[: job.after] if s.epoch == epoch]
        known = seen[-1].trials.get(job.trial) if seen else None
        if known is not None and known.finished:
            yield f"{job}, of which it was known that {known}"


def only_the_holder_writes(history: History) -> Iterator[str]:
    for i, (before, after) in enumerate(pairwise(history.snapshots), 1):
        changed = (before.trials, before.runs) != (after.trials, after.runs)
        if changed and history.epochs.get(after.writer) != after.epoch:
            epoch = history.epochs.get(after.writer)
            yield f"at {i}: driver {after.writer} of epoch {epoch} wrote in epoch {after.epoch}"


def epochs_only_grow(history: History) -> Iterator[str]:
    for i, (before, after) in enumerate(pairwise(history.snapshots), 1):
        if after.epoch < before.epoch:
            yield f"at {i}: epoch {before.epoch} became {after.epoch}"
    for epoch, count in Counter(history.epochs.values()).items():
        if count > 1:
            yield f"epoch {epoch} was given to {count} drivers"


def attempts_count_up_by_one(history: History) -> Iterator[str]:
    for i, snapshot in enumerate(history.snapshots):
        attempts: dict[int, list[int]] = defaultdict(list)
        for run in snapshot.runs.values():
            attempts[run.trial].append(run.attempt)
        for number, trial in snapshot.trials.items():
            if sorted(attempts[number]) != list(range(1, trial.attempts + 1)):
                yield f"at {i}: {trial} has runs of the attempts {sorted(attempts[number])}"
    for (driver, trial), count in Counter((j.driver, j.trial) for j in history.submitted).items():
        if count > history.attempts_allowed:
            yield f"driver {driver} ran trial {trial} {count} times"


def it_comes_to_an_end(history: History) -> Iterator[str]:
    if not history.ended:
        yield f"drivers have ended by {dict(Counter(history.ends.values()))}, and there is no end"


def the_budget_is_exact(history: History) -> Iterator[str]:
    for i, snapshot in enumerate(history.snapshots):
        if len(snapshot.trials) > history.n_trials:
            yield f"at {i}: there are {len(snapshot.trials)} trials of {history.n_trials}"
    finished = sorted(t.number for t in history.snapshots[-1].trials.values() if t.finished)
    if finished != list(range(history.n_trials)):
        yield f"in the end the finished ones of {history.n_trials} trials are {finished}"


def nothing_is_left_running(history: History) -> Iterator[str]:
    last = history.snapshots[-1]
    yield from (f"{t}" for t in last.trials.values() if not t.finished)
    yield from (f"{r}" for r in last.runs.values() if r.state == "running")


def reports_belong_to_runs(history: History) -> Iterator[str]:
    for uid, steps in history.reports.items():
        if uid not in history.snapshots[-1].runs:
            yield f"{steps} were reported by a run that is not recorded"
        elif steps != list(range(len(steps))):
            yield f"run {uid} reported {steps}"
    for uid, run in history.snapshots[-1].runs.items():
        reported = len(history.reports.get(uid, ()))
        if run.state == "completed" and reported != history.steps:
            yield f"{run} reported {history.steps} steps, of which {reported} are recorded"


def what_was_told_is_recorded(history: History) -> Iterator[str]:
    recorded = history.snapshots[-1].trials
    for driver, told in history.told.items():
        for number, count in Counter(t.number for t in told).items():
            if count > 1:
                yield f"driver {driver} told trial {number} {count} times"
        # A driver that came to its end has committed all that it told.
        if history.ends.get(driver) not in ("finished", "timeout", "stopped"):
            continue
        for trial in told:
            row = recorded.get(trial.number)
            if row is None or (row.state, loads(row.metrics) or {}) != (trial.state, trial.metrics):
                yield f"driver {driver} told {trial}, recorded is {row}"


def no_stale_outcome_counts(history: History) -> Iterator[str]:
    for trial in history.snapshots[-1].trials.values():
        if STALE in (loads(trial.metrics) or {}).values():
            yield f"{trial}"


def drivers_end_as_they_should(history: History) -> Iterator[str]:
    fine = {"finished", "timeout", "KeyboardInterrupt"}
    fine |= {"StudyBusy", "StudyTakenOver", "StoreUnavailable"}
    fine |= {"StudyExists", "StudyJustCreated"}
    for driver, end in history.ends.items():
        if end not in fine:
            yield f"driver {driver} ended with {end}"


RULES: list[Callable[[History], Iterator[str]]] = [
    one_outcome_a_trial,
    an_outcome_never_changes,
    nothing_committed_is_lost,
    nothing_committed_runs_again,
    only_the_holder_writes,
    epochs_only_grow,
    attempts_count_up_by_one,
    it_comes_to_an_end,
    the_budget_is_exact,
    nothing_is_left_running,
    reports_belong_to_runs,
    what_was_told_is_recorded,
    no_stale_outcome_counts,
    drivers_end_as_they_should,
]
