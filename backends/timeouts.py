"""The outcome of a job that exceeds its time limit."""

from __future__ import annotations

from tuner.records import Failure, Job, Outcome, State


def timed_out(job: Job) -> Outcome:
    """Return the outcome of a job that exceeded its time limit."""
    limit = "it may" if job.timeout is None else f"trial_timeout={job.timeout:g} s"
    message = f"ran longer than {limit}"
    return Outcome(State.FAILED, error=Failure("Timeout", message))
