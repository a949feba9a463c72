"""The public call, end to end: a real store, the serial backend, real optimizers."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import tuner
from tuner import Choice, Float, Int, State

SPACE = {
    "x": Float(-5, 5),
    "model": Choice(
        "linear",
        deep={"layers": Int(1, 4), "head": Choice(small={"width": Int(1, 8)}, none={})},
    ),
}


def objective(params: dict[str, Any]) -> float:
    kind, options = params["model"]
    layers = options["layers"] if kind == "deep" else 0
    return (params["x"] - 1) ** 2 + abs(layers - 3)


def search(folder: Path, objective: Any = objective, space: Any = None, **options: Any):
    options = {"n_trials": 12, "backend": "serial", "seed": 0, "progress": False} | options
    return tuner.optimize(objective, space or SPACE, store=folder, **options)


@pytest.mark.slow
def test_every_trial_is_a_tracked_run(tmp_path: Path) -> None:
    def objective(params, trial):
        trial.report(3.0, 0)
        trial.report(2.0, 1)
        trial.log_metric("auc", 0.5)
        print("at", trial.number)
        return {"loss": params["x"] ** 2}

    before = time.time()
    study = search(tmp_path, objective, metric="loss", study="tracked", tags={"team": "red"})
    assert [t.number for t in study.trials] == list(range(12))
    for trial in study.trials:
        (run,) = study.runs(trial.number)
        assert trial.state is run.state is State.COMPLETED
        assert trial.value == trial.metrics["loss"] == trial.params["x"] ** 2
        assert trial.metrics["auc"] == run.metrics["auc"] == 0.5
        assert run.output == f"at {trial.number}\n"
        assert before <= run.started <= run.ended <= time.time()
        assert (trial.started, trial.ended) == (run.started, run.ended)
        assert run.host
        assert run.pid
        reports = [r for uid, r in study.reports(trial.number) if uid == run.uid]
        assert [(r.step, r.metrics) for r in reports] == [(0, {"loss": 3.0}), (1, {"loss": 2.0})]
        code = study.store.get_code(run.code)
        assert "trial.report(3.0, 0)" in code.source
        environment = study.store.get_environment(run.environment)
        assert environment.packages["optuna"]
    assert len({t.seed for t in study.trials}) == 12
    assert study.info.tags == {"team": "red"}


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["auto", "random", "tpe", "bayesian"])
def test_the_same_seed_makes_the_same_search(tmp_path: Path, optimizer: str) -> None:
    first = search(tmp_path / "a", optimizer=optimizer, n_trials=15)
    second = search(tmp_path / "b", optimizer=optimizer, n_trials=15)
    other = search(tmp_path / "c", optimizer=optimizer, n_trials=3, seed=1)
    tried = [t.params for t in first.trials]
    assert tried == [t.params for t in second.trials]
    assert tried[:3] != [t.params for t in other.trials]
    assert [t.seed for t in first.trials] == [t.seed for t in second.trials]


def test_the_best_trial_has_the_best_value(tmp_path: Path) -> None:
    low = search(tmp_path, study="low")
    high = search(tmp_path, lambda params: -objective(params), study="high", direction="maximize")
    assert low.best_value == min(t.value for t in low.trials)
    assert high.best_value == max(t.value for t in high.trials) == -low.best_value
    assert low.best_params == low.best_trial.params == high.best_params
    assert objective(low.best_params) == low.best_value


def test_a_finite_space_is_tried_once_each(tmp_path: Path) -> None:
    study = search(tmp_path, lambda p: p["n"], {"n": Int(1, 7)}, n_trials=None)
    assert sorted(t.params["n"] for t in study.trials) == list(range(1, 8))


def test_without_a_budget_there_are_a_hundred_trials(tmp_path: Path) -> None:
    study = search(
        tmp_path, lambda p: p["x"], {"x": Float(0, 1)}, n_trials=None, optimizer="random"
    )
    assert len(study.trials) == 100


def test_after_the_timeout_no_trial_starts(tmp_path: Path) -> None:
    def slow(params):
        time.sleep(0.2)
        return params["x"]

    study = search(tmp_path, slow, n_trials=None, timeout=0.5)
    assert 2 <= len(study.trials) <= 4
    assert {t.state for t in study.trials} == {State.COMPLETED}


def test_a_trial_that_takes_too_long_has_failed(tmp_path: Path) -> None:
    def slow(params):
        time.sleep(30 if params["n"] == 2 else 0)
        return params["n"]

    began = time.perf_counter()
    study = search(tmp_path, slow, {"n": Int(1, 4)}, n_trials=4, trial_timeout=0.5)
    assert time.perf_counter() - began < 10
    failed = [t for t in study.trials if t.state is State.FAILED]
    assert [t.params["n"] for t in failed] == [2]
    assert failed[0].error.kind == "Timeout"


def test_failures_are_recorded_and_the_search_goes_on(tmp_path: Path) -> None:
    def fragile(params):
        if params["x"] < 0:
            raise ValueError(f"x is {params['x']}")
        return params["x"]

    study = search(tmp_path, fragile, optimizer="random", n_trials=20)
    failed = [t for t in study.trials if t.state is State.FAILED]
    assert 0 < len(failed) < 20
    for trial in failed:
        assert trial.params["x"] < 0
        assert trial.error.kind == "ValueError"
        assert "raise ValueError" in trial.error.traceback
        assert trial.values == ()
        assert len(study.runs(trial.number)) == 1, "no retry unless asked"
    assert study.best_value >= 0


def test_a_failing_objective_is_tried_again_if_asked(tmp_path: Path) -> None:
    def flaky(params, trial):
        if trial.attempt < 3:
            raise OSError("busy")
        return params["x"]

    study = search(tmp_path, flaky, n_trials=3, max_retries=2)
    assert [t.state for t in study.trials] == [State.COMPLETED] * 3
    for trial in study.trials:
        runs = study.runs(trial.number)
        assert [r.attempt for r in runs] == [1, 2, 3]
        assert [r.state for r in runs] == [State.FAILED, State.FAILED, State.COMPLETED]


def test_a_study_ends_when_all_its_first_trials_fail_alike(tmp_path: Path) -> None:
    def broken(params):
        raise KeyError("column")

    with pytest.raises(tuner.errors.AllTrialsFailed, match=r"'same'.*KeyError: 'column'") as caught:
        search(tmp_path, broken, study="same", n_trials=50)
    assert "test_optimize.py" in str(caught.value)
    assert 'raise KeyError("column")' in caught.value.__notes__[0]
    assert len(tuner.load_study("same", store=tmp_path).trials) == 5


def test_a_failed_study_resumes_after_the_objective_is_fixed(tmp_path: Path) -> None:
    broken = True

    def objective(params):
        if broken:
            raise KeyError("column")
        return params["x"]

    with pytest.raises(tuner.errors.AllTrialsFailed):
        search(tmp_path, objective, study="mended", n_trials=50)
    with pytest.raises(tuner.errors.AllTrialsFailed):
        search(tmp_path, objective, study="mended", n_trials=50)
    assert len(tuner.load_study("mended", store=tmp_path).trials) == 10, "this call's first five"
    broken = False
    study = search(tmp_path, objective, study="mended", n_trials=20)
    assert len(study.trials) == 20
    assert study.best_value < 5


def test_failures_of_several_kinds_do_not_end_a_study(tmp_path: Path) -> None:
    def broken(params, trial):
        raise (KeyError if trial.number % 2 else ValueError)(trial.number)

    study = search(tmp_path, broken, n_trials=12)
    assert len(study.trials) == 12
    with pytest.raises(tuner.errors.NoCompletedTrial, match="no completed trial"):
        _ = study.best_value


def test_initial_points_are_tried_first(tmp_path: Path) -> None:
    points = [{"x": 1.5, "model": ("linear", {})}, {"x": 2, "model": ["linear", {}]}]
    study = search(tmp_path, initial=points)
    assert [t.params["x"] for t in study.trials[:2]] == [1.5, 2.0]
    assert study.trials[1].params["model"] == ("linear", {})


def test_declared_defaults_are_tried_first(tmp_path: Path) -> None:
    study = search(tmp_path, lambda p: p["x"], {"x": Float(0, 1, default=0.125)}, n_trials=3)
    assert study.trials[0].params == {"x": 0.125}


def test_callbacks_see_each_trial_and_may_stop_the_study(tmp_path: Path) -> None:
    seen = []

    def watch(study: tuner.Study, trial: tuner.Trial) -> None:
        seen.append(trial.number)
        if trial.number == 4:
            study.stop()

    study = search(tmp_path, callbacks=[watch])
    assert seen == [0, 1, 2, 3, 4]
    assert len(study.trials) == 5
    with pytest.raises(tuner.errors.StudyError, match="not running"):
        study.stop()


def test_an_error_in_a_callback_loses_no_trial(tmp_path: Path) -> None:
    def watch(study, trial):
        if trial.number == 3:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        search(tmp_path, callbacks=[watch], study="watched")
    assert [t.state for t in tuner.load_study("watched", store=tmp_path)] == [State.COMPLETED] * 4


def test_a_scheduler_stops_bad_trials(tmp_path: Path) -> None:
    def objective(params, trial):
        for step in range(20):
            trial.report(params["x"], step)
            if trial.should_stop():
                break
        return params["x"]

    study = search(
        tmp_path, objective, {"x": Float(0, 1)}, n_trials=40, scheduler="asha", optimizer="random"
    )
    states = [t.state for t in study.trials]
    assert states.count(State.STOPPED) > 5
    assert study.best_trial.state is State.COMPLETED
    assert study.best_value == min(t.value for t in study.trials)


def test_the_record_is_shown_as_a_table(tmp_path: Path) -> None:
    study = search(tmp_path)
    frame = study.trials_dataframe()
    assert len(frame) == 12
    assert {"number", "state", "value", "x", "model", "model.deep.layers"} <= set(frame.columns)
    path = study.export(tmp_path / "trials.csv")
    assert len(path.read_text().splitlines()) == 13


@pytest.mark.process
def test_import_and_call_print_nothing(tmp_path: Path) -> None:
    code = f"""
import sys, tuner
tuner.optimize(lambda p: p["x"], {{"x": tuner.Float(0, 1)}}, n_trials=5, backend="serial",
               optimizer="random", store={str(tmp_path)!r}, progress=False)
unneeded = {{"ray", "matplotlib", "sklearn", "pandas", "optuna", "scipy"}}
assert not unneeded & set(sys.modules), unneeded & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


@pytest.mark.process
def test_import_tuner_imports_nothing_heavy() -> None:
    code = """
import sys, tuner
heavy = {"ray", "matplotlib", "sklearn", "pandas", "optuna", "sqlalchemy", "scipy", "numpy"}
print(sorted(heavy & set(sys.modules)))
from tuner import Float, Int, Choice, optimize
print(sorted((heavy - {"numpy"}) & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n[]\n"
