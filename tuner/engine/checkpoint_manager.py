"""The driver's side of checkpoints: store them for running trials, provide them to retries."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path

from tuner.records import CheckpointEnd, CheckpointPart, Job
from tuner.tracking.artifacts.checkpoint_store import CheckpointStore


class CheckpointManager:
    """Manages the checkpoints of a study; remembers which trials have one to avoid disk access.

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
        """Load checkpoints left by an earlier driver, and delete checkpoints of other trials."""
        numbers = list(open_trials)
        self._store.tidy(numbers)
        self._trials = {number for number in numbers if self._store.latest(number) is not None}

    def add(self, trial: int, run: str, piece: CheckpointPart | CheckpointEnd) -> None:
        """Store a part of a checkpoint; `CheckpointEnd` completes it."""
        self._trials.add(trial)
        if isinstance(piece, CheckpointPart):
            self._store.add(trial, run, piece)
        else:
            self._store.keep(trial, run, piece)

    def provide(self, job: Job) -> Job:
        """Return the job with the last checkpoint of its trial, if any."""
        if not self.has(job.trial.number):
            return job
        return dataclasses.replace(job, checkpoint=self._store.latest(job.trial.number))

    def has(self, trial: int) -> bool:
        """Whether a trial has saved a checkpoint."""
        return trial in self._trials

    def remove(self, trial: int) -> None:
        """Delete the checkpoint of a trial."""
        self._trials.discard(trial)
        self._store.remove(trial)
