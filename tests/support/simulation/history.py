"""The history of a simulated sweep: all commits, in order."""

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
    """A trial in the store."""

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
    """A run in the store."""

    uid: str
    trial: int
    attempt: int
    state: str
    metrics: Any

    @property
    def accepted(self) -> bool:
        """Whether it determined the outcome of its trial; failed runs may be retried."""
        return self.state in ("completed", "stopped")


@dataclass(frozen=True)
class Snapshot:
    """All committed records at one time, and the driver that wrote last."""

    writer: int
    epoch: int
    trials: dict[int, TrialRow]
    runs: dict[str, RunRow]


@dataclass(frozen=True)
class Submitted:
    """A job that a driver submitted, after that many snapshots."""

    after: int
    driver: int
    trial: int
    run: str


@dataclass
class History:
    """One sweep from its first driver to its last.

    `ends` maps each driver that was not killed to the reason for its end, or its error. `epochs`
    maps drivers to the epochs of their leases. `ended` is whether the sweep ended. A completed run
    reports `steps` steps; a driver runs a trial at most `attempts_allowed` times.
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
    """Reads the SQLite file of a store, without the code under test."""

    def __init__(self, file: Path) -> None:
        self._db = sqlite3.connect(file)

    def close(self) -> None:
        self._db.close()

    def look(self, study: str, writer: int) -> Snapshot:
        """Return the committed records."""
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
        """Return the reported steps of each run; an unknown run is named "?"."""
        steps: dict[str, set[int]] = defaultdict(set)
        for table, columns in (("reports", "step"), ("curves", 'steps, "values"')):
            found = self._db.execute(
                f"SELECT coalesce(runs.uid, '?'), {columns} FROM {table}"
                f" LEFT JOIN runs ON runs.id = {table}.run_id"
                " WHERE runs.id IS NULL OR study_id = (SELECT id FROM studies WHERE name = ?)",
                (study,),
            )
            for uid, *what in found:
                # A report that is rewritten after packing is in both tables.
                steps[uid] |= set(what) if table == "reports" else {n for n, _ in unpack(*what)}
        return {uid: sorted(numbers) for uid, numbers in steps.items()}


def loads(text: str | None) -> Any:
    """Return the value of a JSON column."""
    return None if text is None else json.loads(text)
