"""What a simulated sweep leaves behind for the checker: all that was committed, and when."""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tuner.records import Trial
from tuner.tracking.curves import unpack


@dataclass(frozen=True)
class TrialRow:
    """A trial as the store has it."""

    number: int
    state: str
    attempts: int
    params: str
    values: Any
    metrics: Any
    error: Any
    ended: float | None

    @property
    def finished(self) -> bool:
        return self.state in ("completed", "stopped", "failed")


@dataclass(frozen=True)
class RunRow:
    """A run as the store has it."""

    uid: str
    trial: int
    attempt: int
    state: str
    metrics: Any

    @property
    def accepted(self) -> bool:
        """Whether it gave its trial an outcome of its own; failed runs may be tried again."""
        return self.state in ("completed", "stopped")


@dataclass(frozen=True)
class Snapshot:
    """All that was committed at one moment, and the driver who had just written."""

    writer: int
    epoch: int
    trials: dict[int, TrialRow]
    runs: dict[str, RunRow]


@dataclass(frozen=True)
class Submitted:
    """A job that a driver handed to its workers, after so many snapshots."""

    after: int
    driver: int
    trial: int
    run: str


@dataclass
class History:
    """One sweep from its first driver to its last.

    `ends` has how each driver ended that was not killed: a word of the engine's, or an error.
    `epochs` has the epoch under which each driver held the study, if it ever did, `ended` whether
    the sweep came to its end. A completed run reports `steps` steps; a driver runs a trial
    `attempts_allowed` times at most.
    """

    n_trials: int
    snapshots: list[Snapshot] = field(default_factory=list)
    submitted: list[Submitted] = field(default_factory=list)
    told: dict[int, list[Trial]] = field(default_factory=lambda: defaultdict(list))
    ends: dict[int, str] = field(default_factory=dict)
    epochs: dict[int, int] = field(default_factory=dict)
    reports: dict[str, list[int]] = field(default_factory=dict)
    ended: bool = False
    steps: int = 0
    attempts_allowed: int = 1


class Observer:
    """Looks into the SQLite file of a store, past everything that is tested."""

    def __init__(self, file: Path) -> None:
        self._db = sqlite3.connect(file)

    def close(self) -> None:
        self._db.close()

    def look(self, study: str, writer: int) -> Snapshot:
        """Return what is committed now."""
        trials = self._db.execute(
            'SELECT number, state, attempts, params, "values", metrics, error, ended FROM trials'
            " WHERE study_id = (SELECT id FROM studies WHERE name = ?)",
            (study,),
        )
        runs = self._db.execute(
            "SELECT uid, trial, attempt, state, metrics FROM runs"
            " WHERE study_id = (SELECT id FROM studies WHERE name = ?)",
            (study,),
        )
        epoch = self._db.execute(
            "SELECT epoch FROM leases WHERE study_id = (SELECT id FROM studies WHERE name = ?)",
            (study,),
        ).fetchone()
        return Snapshot(
            writer,
            0 if epoch is None else epoch[0],
            {row[0]: TrialRow(*row) for row in trials},
            {row[0]: RunRow(*row) for row in runs},
        )

    def reports(self, study: str) -> dict[str, list[int]]:
        """Return the steps that each run has reported; a run that is not recorded is named "?"."""
        steps: dict[str, set[int]] = defaultdict(set)
        for table, columns in (("reports", "step"), ("curves", 'steps, "values"')):
            found = self._db.execute(
                f"SELECT coalesce(runs.uid, '?'), {columns} FROM {table}"
                f" LEFT JOIN runs ON runs.id = {table}.run_id"
                " WHERE runs.id IS NULL OR study_id = (SELECT id FROM studies WHERE name = ?)",
                (study,),
            )
            for uid, *what in found:
                # What is written once more after it was packed is a row as well.
                steps[uid] |= set(what) if table == "reports" else {n for n, _ in unpack(*what)}
        return {uid: sorted(numbers) for uid, numbers in steps.items()}


def loads(text: str | None) -> Any:
    """Return what a JSON column holds."""
    return None if text is None else json.loads(text)
