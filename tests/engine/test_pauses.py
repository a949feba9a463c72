"""Trials that are paused and continue: on each backend, after faults, and within the budget."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tuner
from support.effort import examples
from support.pausing import STEPS, Slices, make_patient, steps_of
from tuner.backends import Faults, SimulatedBackend
from tuner.engine.worker.trial import LiveTrial
from tuner.records import State, Trial
from tuner.records.attempts import reports_by_trial
from tuner.schedulers.halving import SuccessiveHalving
from tuner.study.study import Study

TRIALS = 5
SPACE = {"x": tuner.Float(0.0, 1.0)}


class DropsAll(Slices):
    """Continues no trial."""

    def resume(self, paused: Sequence[Trial], n: int, new: int) -> list[int]:
        """Return no trial."""
        return []


def objective(params: dict[str, Any], trial: LiveTrial) -> float:
    """Save a checkpoint after each step."""
    step = 0
    if (saved := trial.restore()) is not None:
        step = json.loads((saved / "state.json").read_text())
    while step < STEPS:
        trial.report(params["x"] + 1.0 / (step + 1), step)
        with trial.checkpoint() as folder:
            (folder / "state.json").write_text(json.dumps(step + 1))
        step += 1
        if step < STEPS and trial.should_stop():
            break
    return float(params["x"] + 1.0 / step)


def dies_at_trial_3(params: dict[str, Any], trial: LiveTrial) -> float:
    """End the search once three trials have begun."""
    if trial.number == 3:
        raise KeyboardInterrupt
    return objective(params, trial)


def forgetful(params: dict[str, Any], trial: LiveTrial) -> float:
    """Save no checkpoint."""
    for step in range(STEPS):
        trial.report(params["x"], step)
        if trial.should_stop():
            break
    return float(params["x"])


def search(folder: Path, scheduler: Any, **options: Any) -> Study:
    """Run a search of paused trials."""
    given_options: dict[str, Any] = {
        "n_trials": TRIALS,
        "optimizer": "random",
        "backend": "serial",
        "seed": 1,
        "register": False,
        "progress": False,
    }
    return tuner.optimize(
        options.pop("objective", objective),
        SPACE,
        study="paused",
        store=str(folder),
        scheduler=scheduler,
        **given_options | options,
    )


def test_each_step_of_a_paused_trial_runs_once(tmp_path: Path) -> None:
    study = search(tmp_path, Slices(keep=1))
    assert [t.state for t in study.trials] == [State.COMPLETED] * TRIALS
    assert steps_of(study) == {n: list(range(STEPS)) for n in range(TRIALS)}
    assert [t.attempts for t in study.trials] == [2] * TRIALS


def test_the_trial_in_the_record_is_paused_meanwhile(tmp_path: Path) -> None:
    seen: list[list[Trial]] = []

    def record() -> list[Trial]:
        return tuner.load_study("paused", store=str(tmp_path)).trials

    def look(params: dict[str, Any], trial: LiveTrial) -> float:
        if trial.number == 3 and trial.attempt == 1:
            while record()[2].state is not State.WAITING:  # the record is written meanwhile
                time.sleep(0.05)
            seen.append(record())
        return objective(params, trial)

    search(tmp_path, Slices(keep=9), objective=look)
    (trials,) = seen
    assert [(t.state, t.attempts) for t in trials[:3]] == [(State.WAITING, 1)] * 3
    assert trials[0].metrics == {"value": trials[0].params["x"] + 0.5}


def test_trials_that_are_not_resumed_are_stopped_at_the_end(tmp_path: Path) -> None:
    study = search(tmp_path, DropsAll())
    assert [t.state for t in study.trials] == [State.STOPPED] * TRIALS
    assert [t.value for t in study.trials] == [t.params["x"] + 0.5 for t in study.trials]
    assert steps_of(study) == {n: [0, 1] for n in range(TRIALS)}
    assert not list(tmp_path.rglob("state.json"))


def test_an_objective_without_checkpoints_is_stopped_at_its_first_pause(tmp_path: Path) -> None:
    scheduler = Slices()
    study = search(tmp_path, scheduler, objective=forgetful)
    assert [t.state for t in study.trials] == [State.STOPPED] * TRIALS
    assert steps_of(study) == {n: [0, 1] for n in range(TRIALS)}
    assert sorted(scheduler.ended) == list(range(TRIALS))


def test_a_finite_space_ends_with_its_paused_trials(tmp_path: Path) -> None:
    study = tuner.optimize(
        objective,
        {"x": tuner.Choice(0.1, 0.2, 0.3)},
        study="finite",
        n_trials=50,
        optimizer="grid",
        scheduler=Slices(keep=9),
        backend="serial",
        store=str(tmp_path),
        register=False,
        progress=False,
    )
    assert [t.state for t in study.trials] == [State.COMPLETED] * 3


def test_a_later_call_continues_paused_trials(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        search(tmp_path, Slices(keep=9), objective=dies_at_trial_3)
    before = tuner.load_study("paused", store=str(tmp_path))
    assert [t.attempts for t in before.trials[:4]] == [1] * 4
    study = search(tmp_path, Slices())
    assert [t.state for t in study.trials] == [State.COMPLETED] * TRIALS
    steps = steps_of(study)
    assert all(steps[n] == list(range(STEPS)) for n in range(3))


def test_a_later_call_without_a_scheduler_runs_paused_trials_to_their_end(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        search(tmp_path, Slices(keep=9), objective=dies_at_trial_3)
    study = search(tmp_path, None)
    assert [t.state for t in study.trials] == [State.COMPLETED] * TRIALS
    assert all(steps_of(study)[n] == list(range(STEPS)) for n in range(3))


@pytest.mark.process
def test_paused_trials_continue_in_other_processes(tmp_path: Path) -> None:
    study = search(tmp_path, Slices(), objective=make_patient(), backend="processes", workers=2)
    assert [t.state for t in study.trials] == [State.COMPLETED] * TRIALS
    assert [t.attempts for t in study.trials] == [2] * TRIALS
    assert steps_of(study) == {n: list(range(STEPS)) for n in range(TRIALS)}


@settings(max_examples=examples(6), deadline=None)
@given(
    workers=st.integers(1, 5),
    length=st.integers(1, 5),
    keep=st.integers(0, 4),
    crash=st.sampled_from([0.0, 0.05]),
    seed=st.integers(0, 100),
)
def test_faults_lose_no_trial_and_no_step(
    tmp_path_factory: pytest.TempPathFactory,
    workers: int,
    length: int,
    keep: int,
    crash: float,
    seed: int,
) -> None:
    faults = Faults(crash=crash, delay=0.3, duplicate=0.1)
    backend = SimulatedBackend(1.0, workers=workers, faults=faults, seed=seed)
    folder = tmp_path_factory.mktemp("paused")
    study = search(folder, Slices(length, keep), backend=backend, seed=seed)
    assert len(study.trials) == TRIALS
    assert all(t.state.finished for t in study.trials)
    curves = reports_by_trial(study.runs(), study.reports())
    for trial in study.trials:
        if trial.state is State.COMPLETED:
            assert [report.step for report in curves[trial.number]] == list(range(STEPS))


def test_successive_halving_spends_its_steps_on_the_best(tmp_path: Path) -> None:
    study = search(tmp_path, SuccessiveHalving(grace=1, reduction=3), n_trials=18)
    lengths = {n: max(steps) + 1 for n, steps in steps_of(study).items()}
    best = min(study.trials, key=lambda t: t.params["x"])
    assert lengths[best.number] == STEPS
    assert best.state is State.COMPLETED
    assert sum(lengths.values()) < 0.7 * 18 * STEPS
