"""Manual ask/tell loops, within one process and resumed in another."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tuner
from support.effort import examples
from tuner import Float, Int, State, errors
from tuner.optimizers import OptunaOptimizer, TPEOptimizer

SPACE = {"x": Float(-1, 1), "n": Int(1, 5)}


def value(trial: tuner.LiveTrial | tuner.Trial) -> float:
    return float(trial.params["x"] ** 2 + trial.params["n"])


@pytest.mark.parametrize("optimizer", ["random", "tpe", "bayesian"])
@pytest.mark.slow
def test_an_ask_tell_loop_equals_optimize(tmp_path: Path, optimizer: str) -> None:
    study = tuner.create_study(SPACE, store=tmp_path, optimizer=optimizer, seed=5)
    for _ in range(20):
        trial = study.ask()
        study.tell(trial, value(trial))
    same = tuner.optimize(
        lambda p: p["x"] ** 2 + p["n"], SPACE, n_trials=20, seed=5, optimizer=optimizer,
        backend="serial", store=tmp_path, progress=False,
    )  # fmt: skip
    assert [t.params for t in study] == [t.params for t in same]
    assert study.best_value == same.best_value


def test_several_trials_at_once_are_told_in_any_order(tmp_path: Path) -> None:
    study = tuner.create_study(SPACE, store=tmp_path, optimizer="tpe", seed=5)
    for _ in range(5):
        for trial in reversed(study.ask(4)):
            told = study.tell(trial, {"value": value(trial), "extra": 1})
            assert told.state is State.COMPLETED
            assert told.metrics == {"value": value(trial), "extra": 1.0}
    assert len(study.trials) == 20
    assert len({(t.params["x"], t.params["n"]) for t in study}) == 20


@pytest.mark.process
def test_a_trial_asked_for_in_one_process_is_told_in_another(tmp_path: Path) -> None:
    study = tuner.create_study(SPACE, study="lab", store=tmp_path, optimizer="random", seed=1)
    first, second = study.ask(2)
    code = f"""
import tuner
study = tuner.load_study("lab", store={str(tmp_path)!r})
assert study.trials[0].state is tuner.State.RUNNING
study.tell(0, 0.25)
third = study.ask()
assert third.number == 2, third
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    later = tuner.load_study("lab", store=tmp_path)
    later.tell(second.number, 0.5)
    assert [t.state for t in later] == [State.COMPLETED, State.COMPLETED, State.RUNNING]
    assert [t.value for t in later] == [0.25, 0.5, None]
    assert first.params == later.trials[0].params


def test_reports_and_artifacts_of_an_asked_trial_are_kept(tmp_path: Path) -> None:
    study = tuner.create_study(SPACE, store=tmp_path, seed=1)
    trial = study.ask()
    trial.report(0.5, 0)
    trial.log_metric("auc", 0.75)
    (tmp_path / "note.txt").write_text("good")
    trial.log_artifact(tmp_path / "note.txt")
    told = study.tell(trial, 0.25)
    assert told.metrics == {"value": 0.25, "auc": 0.75}
    ((uid, report),) = study.reports(0)
    assert report.metrics == {"value": 0.5}
    (artifact,) = study.artifacts(uid)
    assert artifact.name == "note.txt"


def test_queued_points_are_asked_first(tmp_path: Path) -> None:
    study = tuner.create_study(SPACE, store=tmp_path, seed=1)
    study.enqueue({"x": 0.5, "n": 3})
    study.enqueue({"x": 0.25, "n": 4})
    assert [t.params for t in study.ask(2)] == [{"x": 0.5, "n": 3}, {"x": 0.25, "n": 4}]
    with pytest.raises(errors.InvalidParams, match="'n'"):
        study.enqueue({"x": 0.5, "n": 3.5})


@pytest.mark.parametrize("bad", [float("nan"), "good", {"other": 1.0}, [1.0]])
def test_telling_none_makes_a_failed_trial(tmp_path: Path, bad: object) -> None:
    study = tuner.create_study(SPACE, store=tmp_path, seed=1)
    told = study.tell(study.ask(), bad)  # type: ignore[arg-type]
    assert told.state is State.FAILED
    assert "'value'" in told.error.message


def test_a_trial_may_be_told_failed_or_stopped(tmp_path: Path) -> None:
    study = tuner.create_study(SPACE, store=tmp_path, seed=1)
    failed, stopped, early = study.ask(3)
    stopped.report(3.0, 0)
    assert study.tell(failed, state="failed").state is State.FAILED
    assert study.tell(stopped, state="stopped").value == 3.0
    assert study.tell(early, 2.0, state="stopped").value == 2.0


def test_invalid_tells_are_refused(tmp_path: Path) -> None:
    study = tuner.create_study(SPACE, store=tmp_path, seed=1)
    trial = study.ask()
    with pytest.raises(errors.ArgumentError, match="no value"):
        study.tell(trial)
    with pytest.raises(errors.ArgumentError, match="'done'"):
        study.tell(trial, 1.0, state="done")
    with pytest.raises(errors.ArgumentError, match="trial 7 does not exist"):
        study.tell(7, 1.0)
    with pytest.raises(errors.ArgumentError, match="n=0"):
        study.ask(0)
    study.tell(trial, 1.0)
    with pytest.raises(errors.TrialFinished, match="trial 0 already has an outcome"):
        study.tell(trial, 2.0)
    assert study.trials[0].value == 1.0


def test_a_study_name_must_be_unique(tmp_path: Path) -> None:
    study = tuner.create_study(SPACE, study="once", store=tmp_path, seed=1)
    study.tell(study.ask(), 1.0)
    with pytest.raises(errors.StudyExists, match="load_if_exists"):
        tuner.create_study(SPACE, study="once", store=tmp_path)
    again = tuner.create_study(SPACE, study="once", store=tmp_path, load_if_exists=True)
    assert len(again.trials) == 1
    with pytest.raises(errors.StudyMismatch, match="'x' was"):
        tuner.create_study(
            {"x": Float(0, 1), "n": Int(1, 5)}, study="once", store=tmp_path, load_if_exists=True
        )


@pytest.mark.slow
@settings(max_examples=examples(25), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_any_interleaving_counts_every_trial_once(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("store")
    study = tuner.create_study(SPACE, study="any", store=folder, optimizer="random", seed=1)
    open_numbers: list[int] = []
    told = 0
    for _ in range(data.draw(st.integers(1, 12))):
        step = data.draw(st.sampled_from(["ask", "tell", "reload"]))
        if step == "ask":
            open_numbers += [t.number for t in study.ask(data.draw(st.integers(1, 3)))]
        elif step == "tell" and open_numbers:
            number = open_numbers.pop(data.draw(st.integers(0, len(open_numbers) - 1)))
            study.tell(number, 1.0)
            told += 1
        elif step == "reload":
            study = tuner.load_study("any", store=folder)
    states = [t.state for t in study]
    assert states.count(State.COMPLETED) == told
    assert states.count(State.RUNNING) == len(open_numbers)
    assert len(states) == told + len(open_numbers)


def test_a_loaded_study_continues_with_its_recorded_options(tmp_path: Path) -> None:
    whole, parts = (
        tuner.create_study(
            SPACE, study="tpe", store=tmp_path / name, seed=5, optimizer=TPEOptimizer(n_startup=3)
        )
        for name in ("whole", "parts")
    )
    for study in (whole, parts):
        for _ in range(6):
            trial = study.ask()
            study.tell(trial, value(trial))
    again = tuner.load_study("tpe", store=tmp_path / "parts")
    assert again.ask().params == whole.ask().params


def test_a_study_with_an_unnamed_optimizer_gives_a_remedy(tmp_path: Path) -> None:
    tuner.create_study(SPACE, study="own", store=tmp_path, optimizer=OptunaOptimizer())
    with pytest.raises(errors.UnknownOptimizer, match=r"load_study\('own', optimizer="):
        tuner.load_study("own", store=tmp_path).ask()
    assert tuner.load_study("own", store=tmp_path, optimizer="random").ask().number == 0


def test_threads_ask_and_tell_and_each_is_given_its_own_trial(tmp_path: Path) -> None:
    study = tuner.create_study(SPACE, store=tmp_path, optimizer="random", seed=1)

    def work(_: int) -> bool:
        trial = study.ask()
        return study.tell(trial, value(trial)).number == trial.number

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(24)))
    assert [t.number for t in study] == list(range(24))
    assert {t.state for t in study} == {State.COMPLETED}


def test_declared_defaults_are_asked_for_first(tmp_path: Path) -> None:
    space = {"x": Float(0, 1, default=0.125), "y": Float(0, 1)}
    study = tuner.create_study(space, store=tmp_path, seed=0)
    first, second = study.ask(2)
    assert first.params == {"x": 0.125, "y": 0.5}
    assert second.params["x"] != 0.125
    assert [t.number for t in study] == [0, 1]
    study.enqueue({"x": 0.25, "y": 0.25})
    assert study.ask().params["x"] == 0.25


def test_points_of_the_user_come_before_defaults(tmp_path: Path) -> None:
    study = tuner.create_study({"x": Float(0, 1, default=0.125)}, store=tmp_path, seed=0)
    study.enqueue({"x": 0.25})
    assert study.ask().params == {"x": 0.25}
