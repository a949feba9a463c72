"""Failed trials of a study: the error when all of them fail alike, and retries."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tuner.errors import AllTrialsFailed, ArgumentError
from tuner.records import Failure, Trial
from tuner.study.arguments import as_trial_number
from tuner.study.results import StudyResults


def retry(
    study: StudyResults, trials: Sequence[Trial | int] | Trial | int, *, failed: bool
) -> list[Trial]:
    """Let failed trials wait again, and return them; see `Study.retry`."""
    from tuner.tracking.reopening import reopen

    chosen = list(trials) if isinstance(trials, Iterable) else [trials]
    if failed is bool(chosen):
        raise ArgumentError(
            f"study {study.name!r}: retry takes either trials or failed=True; write "
            f"study.retry(failed=True) for all failed ones, or study.retry([3, 7])"
        )
    numbers = [as_trial_number(trial) for trial in chosen]
    reopened = set(reopen(study.store, study.info.uid, None if failed else numbers))
    return [trial for trial in study if trial.number in reopened]


def all_failed(study: str, failure: Failure) -> AllTrialsFailed:
    """Return the error for a call whose first trials failed for one reason."""
    place = f" ({failure.place})" if failure.place else ""
    error = AllTrialsFailed(
        f"study {study!r}: the first trials of this call all failed for the same reason: "
        f"{failure}{place}; fix the objective and call again, or write max_identical_failures=None "
        f"to go on"
    )
    if failure.traceback:
        error.add_note(failure.traceback)
    return error
