"""Check the store of a sweep: committed data stays, counts once, and is consistent."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import tuner
from benchmarks.soak.sweep import value_of
from tuner.errors import StudyNotFound
from tuner.records import Run, State, Trial


class Record:
    """The observed contents of one study in its store.

    Attributes
    ----------
    violations
        Descriptions of the violations found.
    """

    def __init__(self, store: Path, study: str, n_trials: int) -> None:
        self._store = store
        self._study = study
        self._n_trials = n_trials
        self._seen: dict[int, Trial] = {}
        self._runs_seen: dict[str, Run] = {}
        self.violations: list[str] = []

    @property
    def done(self) -> int:
        """Number of trials observed with an outcome."""
        return len(self._seen)

    def look(self) -> None:
        """Compare the store with all its earlier contents."""
        try:
            study = tuner.load_study(self._study, store=self._store)
        except StudyNotFound:
            return
        # Read the runs first: a trial that is read later can only contain more.
        runs, trials = study.runs(), study.trials
        finished = {t.number: t for t in trials if t.state.finished}
        for number, trial in self._seen.items():
            self._expect(finished.get(number) == trial, f"trial {number} was lost or changed")
        for number, trial in finished.items():
            expected = value_of(trial.params)
            right = trial.state is State.FAILED or trial.value == expected
            self._expect(right, f"trial {number} has {trial.value}, not {expected}")
        ended = {r.uid: r for r in runs if r.state.finished}
        for uid, run in self._runs_seen.items():
            self._expect(ended.get(uid) == run, f"run {uid} was lost or changed")
        completed = Counter(r.trial for r in runs if r.state is State.COMPLETED)
        for number, times in completed.items():
            self._expect(times == 1, f"trial {number} was counted {times} times")
        attempts = Counter((r.trial, r.attempt) for r in runs)
        for (number, attempt), times in attempts.items():
            self._expect(times == 1, f"trial {number} has {times} runs of attempt {attempt}")
        self._expect(len(finished) <= self._n_trials, f"{len(finished)} trials were counted")
        self._seen, self._runs_seen = finished, ended

    def conclude(self) -> None:
        """Check the store after the end of the sweep."""
        self.look()
        study = tuner.load_study(self._study, store=self._store)
        numbers = [t.number for t in study.trials]
        self._expect(numbers == list(range(self._n_trials)), f"the trials are {numbers}")
        for trial in study.trials:
            self._expect(trial.state.finished, f"trial {trial.number} is left {trial.state}")
        for run in study.runs():
            self._expect(run.state.finished, f"run {run.uid} is left {run.state}")
        for trial in study.trials:
            own = [r for r in study.runs(trial.number) if r.state is trial.state]
            self._expect(bool(own), f"trial {trial.number} is {trial.state}, none of its runs is")
        left = list(self._store.glob("artifacts/checkpoints/*/*"))
        self._expect(not left, f"checkpoints are left: {left}")

    def _expect(self, holds: bool, otherwise: str) -> None:
        if not holds:
            self.violations.append(f"{self._study}: {otherwise}")
