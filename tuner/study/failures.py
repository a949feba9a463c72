"""Failures of a study: retries, the error when all trials fail alike, and gaps in the record."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from tuner.errors import AllTrialsFailed, ArgumentError
from tuner.errors.notices import warn
from tuner.errors.printable import one_line
from tuner.records import NOT_SAVED, Failure, State, Trial
from tuner.study.arguments import as_trial_number
from tuner.study.results import StudyResults


def retry(
    study: StudyResults, trials: Sequence[Trial | int] | Trial | int, *, failed: bool
) -> list[Trial]:
    """Let failed trials wait again, and return them; see `Study.retry`."""
    from tuner.tracking.edits import reopen

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


_SHOWN = 5
"""Number of reasons that are listed."""

_QUERY = f"error.kind = '{NOT_SAVED}'"


def warn_of_unsaved(study: StudyResults) -> None:
    """Warn if trials of a study could not save something, with the reasons."""
    trials = list(study.find(_QUERY))
    if not trials:
        return
    n = "1 trial has" if len(trials) == 1 else f"{len(trials)} trials have"
    lines = "\n".join(f"  {line}" for line in unsaved_lines(trials))
    warn(f"study {study.name!r}: {n} an outcome, but something was not saved:\n{lines}")


def unsaved_lines(trials: Iterable[Trial]) -> Iterator[str]:
    """Yield one line per reason for which something was not saved, the most frequent first."""
    found = [t for t in trials if t.error is not None and t.state is not State.FAILED]
    reasons = Counter(t.error.reason for t in found if t.error is not None)
    for reason, n in reasons.most_common(_SHOWN):
        first = next(t for t in found if t.error is not None and t.error.reason == reason)
        assert first.error is not None
        yield one_line(f"not saved {n}x: {first.error.message} (first in trial {first.number})")
