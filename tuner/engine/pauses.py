"""Paused trials of a search: which trials can pause, and which of them continue."""

from __future__ import annotations

from collections.abc import Iterable

from tuner.engine.machine_state import Attempt
from tuner.records import CheckpointEnd, Message, Outcome, State, Trial
from tuner.schedulers.protocol import Decision, PausingScheduler, Scheduler


class Pauses:
    """The paused trials, by number, and the trials that have a checkpoint.

    Parameters
    ----------
    scheduler
        Decides which trials pause and continue; one that cannot pause trials leaves this empty.
    saved
        Numbers of the trials that have a checkpoint already.
    """

    def __init__(self, scheduler: Scheduler | None, saved: Iterable[int] = ()) -> None:
        self._scheduler = scheduler if isinstance(scheduler, PausingScheduler) else None
        self._saved = set(saved)
        self._trials: dict[int, Trial] = {}

    def __len__(self) -> int:
        return len(self._trials)

    def note(self, number: int, message: Message) -> None:
        """Note whether a message of a trial completes a checkpoint."""
        if isinstance(message, CheckpointEnd):
            self._saved.add(number)

    def resumes(self, trial: Trial) -> bool:
        """Whether a trial of the record is a paused one: it has run and has a checkpoint."""
        waits = trial.state is State.WAITING and trial.attempts > 0
        return self._scheduler is not None and waits and trial.number in self._saved

    def follows(self, attempt: Attempt, outcome: Outcome) -> bool:
        """Whether a run that ended leaves its trial paused."""
        asked = attempt.decision is Decision.PAUSE and outcome.state is State.STOPPED
        return self._scheduler is not None and asked and attempt.trial.number in self._saved

    def add(self, trial: Trial) -> None:
        """Add a paused trial."""
        self._trials[trial.number] = trial

    def take(self, n: int, new: int) -> list[Trial]:
        """Remove and return the trials that continue on `n` free workers; see `resume`."""
        if self._scheduler is None or n <= 0 or not self._trials:
            return []
        paused = [self._trials[number] for number in sorted(self._trials)]
        chosen = self._scheduler.resume(paused, n, min(n, new))
        return [self._trials.pop(number) for number in list(chosen)[:n]]

    def clear(self) -> list[Trial]:
        """Remove and return all trials."""
        trials, self._trials = list(self._trials.values()), {}
        return trials
