"""Logic that the pools of processes and of Ray actors share: starts, lost jobs, time."""

from __future__ import annotations

from collections.abc import Callable

from tuner.backends.protocol import Finished, Lost
from tuner.errors import BackendError
from tuner.records import Failure, Job, Outcome, State

START_TIMEOUT = 120.0
"""Seconds within which at least one worker must start."""

START_ROUNDS = 3
"""Number of rounds in which all workers die before any is ready, until that is an error."""

RESTART_DELAY = 1.0
"""Delay in seconds before the replacement of a worker that died during its start."""

MAX_STEP = 2.0
"""Maximum seconds counted between two inspections: this process may itself have been stopped."""


class StartRounds:
    """Gives up on a pool whose workers die, or never get ready, at each attempt to start them.

    It counts the rounds of starts; times are seconds on the monotonic clock. Workers of one round
    may share one cause of death, such as the loss of their node, so their deaths count once.

    Attributes
    ----------
    current
        Number of the current round; a worker keeps the number of the round of its start.
    """

    def __init__(self, now: float) -> None:
        self.current = 0
        self._not_before = now
        self._last_ready = now

    def may_start(self, now: float) -> bool:
        """Whether a worker may be started at `now`."""
        return now >= self._not_before

    def on_ready(self) -> None:
        """Begin to count anew, because a worker is ready."""
        self.current = 0

    def on_stillborn(self, round_: int, capacity: int, reason: str, now: float) -> None:
        """Count a worker of `round_` that died before it was ready, for `reason`.

        Raises
        ------
        BackendError
            If several rounds of workers died and none is ready.
        """
        if round_ == self.current:
            self.current += 1
            self._not_before = now + RESTART_DELAY
        if self.current >= START_ROUNDS and capacity == 0:
            raise BackendError(
                f"workers died before they were ready, {START_ROUNDS} times: {reason}"
            )

    def check(self, capacity: int, now: float, advice: str) -> None:
        """Raise `BackendError` with `advice` if no worker has been ready for too long."""
        if capacity:
            self._last_ready = now
        elif now - self._last_ready > START_TIMEOUT:
            raise BackendError(f"no worker has started within {START_TIMEOUT:g} s: {advice}")


class InspectionClock:
    """The time that passes between inspections of workers, at most `MAX_STEP` for each."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._last: float | None = None

    def advance(self, now: float) -> None:
        """Count the seconds since the previous inspection; `now` is on the monotonic clock."""
        if self._last is not None:
            self.seconds += min(now - self._last, MAX_STEP)
        self._last = now


def lost(why: str) -> Callable[[Job], Lost]:
    """Return the function that makes the end of a job whose worker died, for the reason `why`."""
    return lambda job: Lost(job.run, why)


def unsendable(job: Job, error: Exception) -> Finished:
    """Return the end of a job whose params cannot be pickled."""
    failure = Failure("Unpicklable", f"params cannot be sent to a worker: {error}")
    return Finished(job.run, Outcome(State.FAILED, error=failure))
