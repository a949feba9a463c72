"""Trials that are paused after every few steps, and a record of the steps that ran."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tuner.engine.worker.trial import LiveTrial
from tuner.records import Goal, Outcome, Report, Trial
from tuner.schedulers.protocol import Decision
from tuner.study.study import Study

STEPS = 4


@dataclass
class Slices:
    """Pauses each trial after every `length` steps; continues the paused ones, newest first."""

    length: int = 2
    keep: int = 0
    ended: list[int] = field(default_factory=list)

    def reset(self, goals: Sequence[Goal]) -> None:
        """Forget everything."""
        self.ended = []

    def on_report(self, trial: Trial, report: Report) -> Decision:
        """Return PAUSE after every `length` steps."""
        return Decision.PAUSE if (report.step + 1) % self.length == 0 else Decision.CONTINUE

    def resume(self, paused: Sequence[Trial], n: int, new: int) -> list[int]:
        """Return paused trials once more than `keep` are paused, or no new one may begin."""
        if new and len(paused) <= self.keep:
            return []
        return [trial.number for trial in paused][::-1][:n]

    def on_finish(self, trial: Trial, outcome: Outcome) -> None:
        """Note the end."""
        self.ended.append(trial.number)


def make_patient() -> Callable[[dict[str, Any], LiveTrial], float]:
    """Return an objective that workers load without this module."""

    def patient(params: dict[str, Any], trial: LiveTrial) -> float:
        """Wait for the pause after every second step, as messages take time, and save then."""
        step = 0
        if (saved := trial.restore()) is not None:
            step = json.loads((saved / "state.json").read_text())
        while step < STEPS:
            trial.report(params["x"], step)
            step += 1
            deadline = time.monotonic() + 30.0 * (step % 2 == 0 and step < STEPS)
            while time.monotonic() < deadline:
                if trial.should_stop():
                    with trial.checkpoint() as folder:
                        (folder / "state.json").write_text(json.dumps(step))
                    return float(params["x"])
                time.sleep(0.01)
        return float(params["x"])

    return patient


def steps_of(study: Study) -> dict[int, list[int]]:
    """Return the steps of each trial, in the order in which its attempts reported them."""
    of_run: dict[str, list[int]] = {}
    for uid, report in study.reports():
        of_run.setdefault(uid, []).append(report.step)
    steps: dict[int, list[int]] = {}
    for run in study.runs():
        steps.setdefault(run.trial, []).extend(of_run.get(run.uid, []))
    return steps
