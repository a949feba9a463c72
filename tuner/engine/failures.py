"""Notices that a study cannot succeed: all its first trials failed for the same reason."""

from __future__ import annotations

from tuner.engine.limits import Limits
from tuner.records import Failure, Outcome, State


class FailureWatch:
    """Looks at a study's outcomes until one is no failure, or failed for another reason.

    Parameters
    ----------
    limits
        `same_failures` says how many trials are enough; all trials of a smaller budget are, too.
    """

    def __init__(self, limits: Limits) -> None:
        enough = limits.same_failures
        if enough is not None and limits.n_trials is not None:
            enough = min(enough, limits.n_trials)
        self._enough = enough
        self._seen: list[Failure] = []

    def see(self, outcome: Outcome) -> Failure | None:
        """Take in the next outcome; return the failure that all had, once that is sure."""
        if self._enough is None:
            return None
        if outcome.state is not State.FAILED or outcome.error is None:
            self.end()
            return None
        self._seen.append(outcome.error)
        if len({failure.reason for failure in self._seen}) > 1:
            self.end()
            return None
        return self._seen[0] if len(self._seen) >= self._enough else None

    def end(self) -> None:
        """Look no more."""
        self._enough = None
