"""Limits of a study: trials, time and retries."""

from __future__ import annotations

from dataclasses import dataclass

from tuner.records import Failure, Outcome, State


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits on trials, time and retries of the loop. Times are in seconds.

    Attributes
    ----------
    n_trials
        Total number of trials of the study.
    timeout, trial_timeout
        Time limits of this call and of each run.
    max_retries, max_lost
        How often a trial is retried after its objective failed, or after its worker was lost.
    max_identical_failures
        The call ends if its first trials, this many, all fail for the same reason; None disables
        this.
    lookahead
        Jobs submitted per worker; above 1 only if suggestions do not depend on outcomes.
    in_order
        Whether trial k starts only after all trials up to k - capacity have outcomes.
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
    """Detects that all first trials of a call fail for the same reason.

    Parameters
    ----------
    limits
        `max_identical_failures` is the number of trials; a smaller budget replaces it.
    """

    def __init__(self, limits: Limits) -> None:
        threshold = limits.max_identical_failures
        if threshold is not None and limits.n_trials is not None:
            threshold = min(threshold, limits.n_trials)
        self._threshold = threshold  # None once any trial differs
        self._failures: list[Failure] = []

    def see(self, outcome: Outcome) -> Failure | None:
        """Process the next outcome; return the common failure once the threshold is reached."""
        if self._threshold is None:
            return None
        if outcome.state is not State.FAILED or outcome.error is None:
            self._threshold = None
            return None
        self._failures.append(outcome.error)
        if outcome.error.reason != self._failures[0].reason:
            self._threshold = None
            return None
        return self._failures[0] if len(self._failures) >= self._threshold else None
