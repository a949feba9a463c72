"""The driver's side of checkpoints: taken in from running trials, handed out to retried ones."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path

from tuner.records import CheckpointEnd, CheckpointPart, Job
from tuner.tracking.artifacts.checkpoint_store import CheckpointStore


class SavedTrials:
    """Which trials of a study have saved something, so that the others cost nothing.

    Parameters
    ----------
    root
        The artifact folder of the store.
    study
        The study's uid.
    """

    def __init__(self, root: Path, study: str) -> None:
        self._store = CheckpointStore(root, study)
        self._trials: set[int] = set()

    def tidy(self, open_trials: Iterable[int]) -> None:
        """Take up what an earlier driver left, except for what nobody needs any more."""
        numbers = list(open_trials)
        self._store.tidy(numbers)
        self._trials = {number for number in numbers if self._store.latest(number) is not None}

    def take(self, trial: int, run: str, piece: CheckpointPart | CheckpointEnd) -> None:
        """Keep a piece of a checkpoint."""
        self._trials.add(trial)
        if isinstance(piece, CheckpointPart):
            self._store.add(trial, run, piece)
        else:
            self._store.keep(trial, run, piece)

    def provide(self, job: Job) -> Job:
        """Return a job with what its trial has saved."""
        if not self.has(job.trial.number):
            return job
        return dataclasses.replace(job, checkpoint=self._store.latest(job.trial.number))

    def has(self, trial: int) -> bool:
        """Whether a trial has saved something."""
        return trial in self._trials

    def remove(self, trial: int) -> None:
        """Delete what a trial saved."""
        self._trials.discard(trial)
        self._store.remove(trial)
