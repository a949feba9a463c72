"""The scheduler of a search, its paused trials, and the retries of runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from tuner.engine.machine_state import Attempt, Limits
from tuner.records import CheckpointEnd, Goal, Message, Outcome, Report, State, Trial
from tuner.schedulers.protocol import Decision, PausingScheduler, Scheduler


class Scheduling:
    """The decisions of a scheduler, the paused trials, and the trials that have a checkpoint.

    Parameters
    ----------
    scheduler
        Decides which trials stop, pause and continue; None lets all run to their end.
    goal
        The goal whose metric the scheduler reads.
    saved
        Numbers of the trials that have a checkpoint already.

    Attributes
    ----------
    pauses
        Whether trials can pause; else they are stopped instead.
    """

    def __init__(self, scheduler: Scheduler | None, goal: Goal, saved: Iterable[int] = ()) -> None:
        self._scheduler = scheduler
        self._goal = goal
        self.pauses = isinstance(scheduler, PausingScheduler)
        self._saved = set(saved)
        self._trials: dict[int, Trial] = {}

    def on_report(self, attempt: Attempt, report: Report) -> bool:
        """Return whether the run of a report ends soon; it is told only once."""
        decided = attempt.decision is not Decision.CONTINUE
        if self._scheduler is None or decided or self._goal.metric not in report.metrics:
            return False
        attempt.decision = self._scheduler.on_report(attempt.trial, report)
        return attempt.decision is not Decision.CONTINUE

    def on_finish(self, trial: Trial, outcome: Outcome) -> None:
        """Tell the scheduler the end of a trial."""
        if self._scheduler is not None:
            self._scheduler.on_finish(trial, outcome)

    def __len__(self) -> int:
        return len(self._trials)

    def note(self, number: int, message: Message) -> None:
        """Note whether a message of a trial completes a checkpoint."""
        if isinstance(message, CheckpointEnd):
            self._saved.add(number)

    def resumes(self, trial: Trial) -> bool:
        """Whether a trial of the record is a paused one: it has run and has a checkpoint."""
        waits = trial.state is State.WAITING and trial.attempts > 0
        return self.pauses and waits and trial.number in self._saved

    def follows(self, attempt: Attempt, outcome: Outcome) -> bool:
        """Whether a run that ended leaves its trial paused."""
        asked = attempt.decision is Decision.PAUSE and outcome.state is State.STOPPED
        return self.pauses and asked and attempt.trial.number in self._saved

    def add(self, trial: Trial) -> None:
        """Add a paused trial."""
        self._trials[trial.number] = trial

    def take(self, n: int, new: int) -> list[Trial]:
        """Remove and return the trials that continue on `n` free workers; see `resume`."""
        if not isinstance(self._scheduler, PausingScheduler) or n <= 0 or not self._trials:
            return []
        paused = [self._trials[number] for number in sorted(self._trials)]
        chosen = self._scheduler.resume(paused, n, min(n, new))
        return [self._trials.pop(number) for number in list(chosen)[:n]]

    def clear(self) -> list[Trial]:
        """Remove and return all trials."""
        trials, self._trials = list(self._trials.values()), {}
        return trials


class Retries:
    """Counts the lost and failed runs of each trial."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._lost: Counter[int] = Counter()
        self._failed: Counter[int] = Counter()

    def after_loss(self, number: int) -> bool:
        """Count a lost worker; return whether the trial runs again."""
        self._lost[number] += 1
        return self._lost[number] <= self._limits.max_lost

    def after_failure(self, number: int) -> bool:
        """Count a failure of the objective; return whether the trial runs again."""
        self._failed[number] += 1
        return self._failed[number] <= self._limits.max_retries
