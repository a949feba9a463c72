"""The reports of a trial come from all its attempts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import tuner
from tuner.engine.history import replay
from tuner.optimizers import resolve
from tuner.records import Goal, Outcome, Report, Run, RunPurpose, State, StudyInfo, Trial
from tuner.records.attempts import last_attempt, reports_by_trial
from tuner.schedulers.protocol import Decision


def series(*attempts: dict[str, list[int]]) -> dict[str, list[tuple[int, int]]]:
    """Return (step, attempt) by metric of one trial, whose attempts report metrics at steps."""
    runs = [Run(f"r{n}", 0, attempt=n) for n in range(1, len(attempts) + 1)]
    reports = [
        (f"r{n}", Report(step, {metric: float(n)}))
        for n, attempt in enumerate(attempts, 1)
        for metric, steps in attempt.items()
        for step in steps
    ]
    found: dict[str, list[tuple[int, int]]] = {}
    for report in reports_by_trial(runs, reports).get(0, ()):
        for metric, value in report.metrics.items():
            found.setdefault(metric, []).append((report.step, int(value)))
    return found


def test_an_attempt_that_resumes_continues_the_curve() -> None:
    assert series({"a": [0, 1, 2]}, {"a": [2, 3]}) == {"a": [(0, 1), (1, 1), (2, 2), (3, 2)]}


def test_an_attempt_that_starts_over_replaces_the_curve() -> None:
    assert series({"a": [0, 1, 2]}, {"a": [0]}) == {"a": [(0, 2)]}


def test_three_attempts_are_one_curve() -> None:
    assert series({"a": [0, 1]}, {"a": [1, 2, 3]}, {"a": [3, 4]}) == {
        "a": [(0, 1), (1, 2), (2, 2), (3, 3), (4, 3)]
    }


def test_a_metric_that_starts_over_does_not_change_other_metrics() -> None:
    """System metrics count their samples from 0 in every attempt."""
    assert series({"a": [0, 5], "system/cpu": [0, 1, 2]}, {"a": [6], "system/cpu": [0]}) == {
        "a": [(0, 1), (5, 1), (6, 2)],
        "system/cpu": [(0, 2)],
    }


@pytest.mark.parametrize("purpose", [RunPurpose.REPLAY, RunPurpose.REPEAT])
def test_an_attempt_without_reports_and_a_repeated_run_change_nothing(purpose: RunPurpose) -> None:
    repeated = Run("r2", 0, attempt=2, purpose=purpose)
    assert series({"a": [0, 1]}, {}, {"a": [2]}) == {"a": [(0, 1), (1, 1), (2, 3)]}
    runs = [Run("r1", 0), repeated]
    reports = [("r1", Report(0, {"a": 1.0})), ("r2", Report(0, {"a": 2.0}))]
    assert reports_by_trial(runs, reports) == {0: [Report(0, {"a": 1.0})]}


def test_replays_and_repeats_are_not_the_last_attempt() -> None:
    runs = [
        Run("r1", 0, state=State.FAILED),
        Run("r2", 0, attempt=2, state=State.COMPLETED),
        Run("r3", 0, attempt=3, state=State.COMPLETED, purpose=RunPurpose.REPEAT),
        Run("r4", 0, attempt=4, state=State.FAILED, purpose=RunPurpose.REPLAY),
    ]
    assert last_attempt(runs) == last_attempt(runs, State.COMPLETED) == runs[1]
    assert last_attempt(runs, State.FAILED) == runs[0]
    assert last_attempt(runs, State.STOPPED) is None
    assert last_attempt([]) is None


def test_the_plot_and_tensorboard_show_every_attempt(tmp_path: Path) -> None:
    def objective(params: Any, trial: Any) -> float:
        begin = 0
        if saved := trial.restore():
            begin = int((saved / "epoch").read_text())
        for epoch in range(begin, 6):
            trial.report(1 / (epoch + 1), epoch)
            with trial.checkpoint() as folder:
                (folder / "epoch").write_text(str(epoch + 1))
            if epoch == 2 and trial.attempt == 1:
                raise RuntimeError("interrupted")
        return 0.0

    study = tuner.optimize(
        objective, {"x": tuner.Float(0, 1)}, n_trials=1, max_retries=1, backend="serial",
        store=tmp_path, progress=False, register=False,
    )  # fmt: skip
    axes = study.plot.learning_curves()
    lines = [line for line in axes.get_lines() if len(line.get_xdata()) > 1]
    assert lines
    assert list(lines[0].get_xdata()) == [0, 1, 2, 3, 4, 5]
    ((trial, reports),) = reports_by_trial(study.runs(), study.reports()).items()
    assert (trial, [r.step for r in reports]) == (0, [0, 1, 2, 3, 4, 5])


def test_a_scheduler_replays_every_attempt() -> None:
    class Recorded:
        def runs(self, *_: Any) -> list[Run]:
            return [Run("a", 0), Run("b", 0, attempt=2)]

        def reports(self, *_: Any) -> list[tuple[str, Report]]:
            return [("a", Report(0, {"value": 1.0})), ("b", Report(1, {"value": math.nan}))]

    class Rule:
        def __init__(self) -> None:
            self.steps: list[int] = []

        def reset(self, goals: Sequence[Goal]) -> None:
            pass

        def on_report(self, trial: Trial, report: Report) -> Decision:
            self.steps.append(report.step)
            return Decision.CONTINUE

        def on_finish(self, trial: Trial, outcome: Outcome) -> None:
            pass

    space, goals, rule = tuner.Space({"x": tuner.Float(0, 1)}), (Goal(),), Rule()
    optimizer = resolve("random")
    optimizer.reset(space, goals, 0)
    done = Trial(0, {"x": 0.5}, State.COMPLETED, (1.0,), {"value": 1.0}, attempts=2)
    store: Any = Recorded()
    replay(StudyInfo("u", "s", {}, "", goals, 0, 0.0), [done], optimizer, rule, store)
    assert rule.steps == [0, 1]
