"""Limits of a study: trials, time and retries."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits on trials, time and retries of the loop. Times are in seconds.

    `n_trials` counts the study's trials in all. `max_retries` is how often a failing objective is
    tried again, `max_lost` how often a trial whose worker was lost is. When this many first trials
    (`same_failures`, None for never) have all failed for the same reason, the study ends.
    `lookahead` is how many jobs per worker may be handed out at once, more than 1 only when
    suggestions do not depend on outcomes. With `in_order`, trial k begins only when all up to
    k - capacity have their outcomes.
    """

    n_trials: int | None = None
    timeout: float | None = None
    trial_timeout: float | None = None
    max_retries: int = 0
    max_lost: int = 3
    same_failures: int | None = 5
    lookahead: int = 1
    in_order: bool = False
