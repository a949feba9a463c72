"""Trials that kept their outcome, but not everything that their objective logged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from tuner.errors.notices import warn
from tuner.errors.printable import one_line
from tuner.records import NOT_SAVED, State, Trial
from tuner.study.results import StudyResults

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
