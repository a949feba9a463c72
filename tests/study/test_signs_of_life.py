"""Records that a dead driver leaves: dates, attempts, and the process that runs the study."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

import tuner
from tuner import Float, State
from tuner.cli.output import summary, trial_lines
from tuner.engine.driver import Driver
from tuner.reporting.content import summary_of
from tuner.tracking.database.location import locate
from tuner.tracking.store import Store

HOUR = 3600.0


class Clock:
    """The clock of the processes and of the database, which a test sets forward."""

    ahead = 0.0
    real = time.time

    def __call__(self) -> float:
        return Clock.real() + self.ahead


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "time", clock)
    return clock


def search(store: Store, objective: Any = None, **options: Any) -> tuner.Study:
    call: dict[str, Any] = {
        "n_trials": 6, "backend": "serial", "optimizer": "random", "seed": 1, "study": "left",
        "register": False, "progress": False,
    }  # fmt: skip
    objective = objective or (lambda params: params["x"])
    return tuner.optimize(objective, {"x": Float(0, 1)}, store=store, **call | options)  # type: ignore[arg-type]


def die_in_trial_2(store: Store, monkeypatch: pytest.MonkeyPatch) -> tuner.Study:
    """Run a search whose driver dies while trial 2 runs: it records nothing more."""

    def objective(params: dict[str, float], trial: Any) -> float:
        if trial.number == 2:
            trial.report(params["x"], 0)
            raise KeyboardInterrupt
        return params["x"]

    def close(driver: Driver, reason: str) -> None:
        driver._writer.close()
        driver._session.backend.close()

    with monkeypatch.context() as patch:
        patch.setattr(Driver, "_give_up", lambda driver, reason: None)
        patch.setattr(Driver, "close", close)
        with pytest.raises(KeyboardInterrupt):
            search(store, objective)
    return tuner.load_study("left", store=store)  # type: ignore[arg-type]


def test_only_running_trials_are_shown_as_running(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = die_in_trial_2(Store(locate(tmp_path), clock), monkeypatch)
    assert [t.state.value for t in study] == ["completed"] * 2 + ["running"] + ["waiting"] * 3
    assert [(t.attempts, t.started) for t in study][3:] == [(0, None)] * 3
    assert [(r.trial, r.state.value) for r in study.runs()] == [
        (0, "completed"), (1, "completed"), (2, "running"),
    ]  # fmt: skip


def test_a_dead_driver_runs_nothing(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = die_in_trial_2(Store(locate(tmp_path), clock), monkeypatch)
    assert summary(study)["run by"].startswith("process ")
    clock.ahead = HOUR
    said = summary(study)["run by"]
    assert said.startswith("nobody: the process that ran 1 trial has ended;")
    assert summary_of(study, study.trials)["Run by"] == said
    assert next(trial_lines(study, 2)) == f"trial 2: running, run by {said}"
    assert next(trial_lines(study, 1)) == "trial 1: completed"
    search(study.store)
    assert "run by" not in summary(study)


def test_an_asked_trial_is_not_shown_as_abandoned(tmp_path: Path) -> None:
    study = tuner.create_study({"x": Float(0, 1)}, study="asked", store=tmp_path)
    trial = study.ask()
    assert "run by" not in summary(study)
    assert next(trial_lines(study, trial.number)) == "trial 0: running"


def test_a_run_ends_at_the_last_sign_of_life(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = die_in_trial_2(Store(locate(tmp_path), clock), monkeypatch)
    clock.ahead = HOUR
    search(study.store)
    lost, again = study.runs(2)
    assert (lost.state, again.state) == (State.FAILED, State.COMPLETED)
    assert 0 <= lost.duration < 10
    assert again.started - lost.started > HOUR - 10
    assert 0 <= study.trials[2].duration < 10, "the time in which nothing ran is not its own"


def test_an_interrupted_trial_takes_no_time_until_it_is_resumed(
    tmp_path: Path, clock: Clock
) -> None:
    store = Store(locate(tmp_path), clock)

    def objective(params: dict[str, float], trial: Any) -> float:
        if trial.number == 2:
            raise KeyboardInterrupt
        return params["x"]

    with pytest.raises(KeyboardInterrupt):
        search(store, objective)
    study = tuner.load_study("left", store=store)  # type: ignore[arg-type]
    assert [(t.attempts, t.started) for t in study][2:] == [(1, None)] + [(0, None)] * 3
    clock.ahead = HOUR
    search(store)
    assert max(t.duration for t in study) < 10
    assert max(r.duration for r in study.runs()) < 10


def test_an_asked_trial_ends_at_the_last_use_of_the_study(tmp_path: Path, clock: Clock) -> None:
    store = Store(locate(tmp_path), clock)
    study = tuner.create_study({"x": Float(0, 1)}, study="left", store=store, seed=1)  # type: ignore[arg-type]
    study.ask()
    clock.ahead = 60
    later = study.ask()
    study.tell(later, 0.5)
    clock.ahead = HOUR
    search(store)
    given_up, again = study.runs(0)
    assert given_up.state is State.FAILED
    assert given_up.duration == pytest.approx(60, abs=10)
    assert again.duration < 10
