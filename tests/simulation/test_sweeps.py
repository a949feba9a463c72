"""Sweeps with injected faults: no trial is lost and none counts twice."""

from __future__ import annotations

from collections import Counter

import pytest

from support.simulation.checker import violations
from support.simulation.plan import Plan
from support.simulation.sweeps import check_all, failure_report, sweep_database


@pytest.mark.slow
@pytest.mark.process
def test_thirty_sweeps_with_faults_are_correct() -> None:
    wrong, happened = check_all(range(30))
    assert not wrong, failure_report(wrong)
    # They would prove little if little went wrong.
    for what in ("killed", "StudyBusy", "StoreUnavailable"):
        assert happened[what] > 15, happened
    for what in ("StudyTakenOver", "timeout", "KeyboardInterrupt"):
        assert happened[what], happened


@pytest.mark.soak
def test_ten_thousand_sweeps_with_faults_are_correct() -> None:
    wrong, _ = check_all(range(10_000))
    assert not wrong, failure_report(wrong)


@pytest.mark.slow
@pytest.mark.parametrize("stride", [5, pytest.param(1, marks=pytest.mark.soak)])
def test_a_driver_killed_at_any_step_loses_nothing(stride: int) -> None:
    plan = Plan(n_trials=3, workers=2, steps=1, asha=True)
    wrong: dict[int, list[str]] = {}
    with sweep_database() as sweeps:
        for step in range(1, 1_000, stride):
            world, history = sweeps.play(0, plan.killed_at(step))
            if not world.happened["killed"]:
                break
            if found := violations(history):
                wrong[step] = found
    assert step > 80, "each statement and each wait is a step"
    assert world.happened == Counter(finished=2)
    assert not wrong, wrong


@pytest.mark.slow
def test_the_same_seed_is_the_same_sweep() -> None:
    def log(seed: int) -> list[object]:
        with sweep_database() as sweeps:
            _, history = sweeps.play(seed)
        rows = [
            (s.writer, s.epoch, list(s.trials.values()), sorted(r.attempt for r in s.runs.values()))
            for s in history.snapshots
        ]
        return [rows, history.ends, history.epochs]

    for seed in range(3):
        assert log(seed) == log(seed)
