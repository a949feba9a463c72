"""Limits of a study: trials, time and retries."""

from __future__ import annotations

from dataclasses import dataclass

from tuner.records import Failure, Outcome, State


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits on trials, time and retries of the loop. Times are in seconds.

    `n_trials` counts the study's trials in all. `max_retries` is how often a failing objective is
    tried again, `max_lost` how often a trial whose worker was lost is. When this many first trials
    (`max_identical_failures`, None for never) have all failed for the same reason, the study ends.
    `lookahead` is how many jobs per worker may be handed out at once, more than 1 only when
    suggestions do not depend on outcomes. With `in_order`, trial k begins only when all up to
    k - capacity have their outcomes.
    """

    n_trials: int | None = None
    timeout: float | None = None
    trial_timeout: float | None = None
    max_retries: int = 0
    max_lost: int = 3
    max_identical_failures: int | None = 5
    lookahead: int = 1
    in_order: bool = False


class RepeatedFailureDetector:
    """Looks at a study's outcomes until one is no failure, or failed for another reason.

    Parameters
    ----------
    limits
        `max_identical_failures` says how many trials are enough; all trials of a smaller budget are, too.
    """

    def __init__(self, limits: Limits) -> None:
        enough = limits.max_identical_failures
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
