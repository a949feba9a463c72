"""The computed value of a trial is recorded even if other parts of it cannot be."""

from __future__ import annotations

import math
import textwrap
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from sklearn.linear_model import LinearRegression

import tuner
from tuner import Float, State
from tuner.backends import SimulatedBackend
from tuner.cli.commands import cli
from tuner.errors import AllTrialsFailed, ArgumentError, RegistryError
from tuner.records import NOT_SAVED

SPACE = {"x": Float(0, 1)}


def search(objective: Callable[..., Any], store: Path, **options: Any) -> tuner.Study:
    given = {
        "n_trials": 1,
        "backend": "serial",
        "optimizer": "random",
        "seed": 0,
        "study": "s",
        **options,
    }
    return tuner.optimize(objective, SPACE, store=store, progress=False, **given)


@pytest.mark.parametrize("backend", ["serial", "simulated"])
def test_nonfinite_side_metrics_are_recorded_unchanged(tmp_path: Path, backend: str) -> None:
    def objective(params: Any, trial: Any) -> dict[str, Any]:
        trial.log_metric("grad_norm", math.inf)
        trial.log_metrics({"lr": -math.inf, "clip": np.ma.masked}, step=0)
        trial.report({"value": 1.0, "seen": math.nan}, step=1)
        return {"value": params["x"], "auc": math.nan}

    where = SimulatedBackend(workers=2) if backend == "simulated" else backend
    study = search(objective, tmp_path, n_trials=2, backend=where)
    for trial in study:
        assert (trial.state, trial.error) == (State.COMPLETED, None)
        assert trial.value == trial.params["x"]
        assert trial.metrics["grad_norm"] == math.inf
        assert math.isnan(trial.metrics["auc"])
    reports = [report.metrics for _, report in study.reports(0)]
    assert reports[0]["lr"] == -math.inf
    assert math.isnan(reports[0]["clip"])
    assert math.isnan(reports[1]["seen"])
    assert study.find("metrics.grad_norm > 1e300").count() == 2
    assert len(study.trials_dataframe()) == 2
    assert study.export(tmp_path / "t.json").read_text().count('"NaN"') == 2
    study.plot.learning_curves(metric="lr")
    study.plot.importances()


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
@pytest.mark.parametrize("scheduler", ["asha", "median"])
def test_reports_that_are_not_finite_are_the_worst_and_give_a_stopped_trial_no_value(
    tmp_path: Path, direction: str, scheduler: str
) -> None:
    """The first trials are sound; then some diverge, in the good direction as well."""
    diverged = [math.nan, math.inf, -math.inf]

    def objective(params: Any, trial: Any) -> float | None:
        late = trial.number >= 6
        for step in range(3):
            trial.report(diverged[trial.number % 3] if late else params["x"], step)
            if trial.should_stop():
                return None
        return params["x"]

    study = search(objective, tmp_path, n_trials=9, direction=direction, scheduler=scheduler)
    for trial in study.trials[6:]:
        assert (trial.state, trial.values) == (State.STOPPED, ())
        assert not math.isfinite(trial.metrics["value"])
    assert study.best_trial.number < 6


def cannot_save(folder: Path) -> dict[str, tuple[Callable[[Any], Any], str]]:
    """Return calls that cannot save something, and the record of each failure."""
    (folder / "pipe").unlink(missing_ok=True)
    return {
        "model": (lambda t: t.log_model(object()), "model model: RegistryError"),
        "format": (lambda t: t.log_model([1], format="no"), "model model: "),
        "pickle": (lambda t: t.log_model([1], format="pickle"), "needs allow_pickle=True"),
        "lambda": (lambda t: t.log_model(lock(), allow_pickle=True), "model model: "),
        "missing": (lambda t: t.log_artifact(folder / "no"), "no does not exist"),
        "device": (lambda t: t.log_artifact("/dev/null"), "artifact /dev/null: ArgumentError"),
        "long": (lambda t: t.log_artifact(__file__, "a" * 2800), "artifact aaa"),
        "name": (lambda t: t.log_artifact(__file__, 3), "artifact 3: "),
        "path": (lambda t: t.log_artifact(None), "artifact None: TypeError"),
        "note": (lambda t: t.set_note("n", object()), "note n: ArgumentError"),
        "size": (lambda t: t.set_note("n", "x" * 2**21), "note n: ArgumentError"),
    }


def lock() -> Any:
    import threading

    return threading.Lock()


@pytest.mark.parametrize("name", cannot_save(Path("/nowhere")))
def test_a_trial_that_cannot_save_something_keeps_its_outcome(tmp_path: Path, name: str) -> None:
    call, says = cannot_save(tmp_path)[name]

    def objective(params: Any, trial: Any) -> float:
        call(trial)
        return params["x"]

    with pytest.warns(UserWarning, match="1 trial .*not saved"):
        study = search(objective, tmp_path)
    (trial,) = study.trials
    assert (trial.state, trial.value) == (State.COMPLETED, trial.params["x"])
    assert trial.error is not None
    assert trial.error.kind == NOT_SAVED
    assert says in trial.error.message
    (run,) = study.runs()
    assert run.error == trial.error
    assert study.best_trial.number == 0


def test_a_checkpoint_that_cannot_be_read_leaves_the_outcome(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    def objective(params: Any, trial: Any) -> float:
        with trial.checkpoint() as folder:
            (folder / "state").write_text("1")
        return params["x"]

    monkeypatch.setattr("tuner.engine.worker.trial.send_checkpoint", full)
    with pytest.warns(UserWarning, match="checkpoint 1: OSError: .*No space left"):
        study = search(objective, tmp_path)
    assert study.trials[0].state is State.COMPLETED


def test_each_unsaved_item_is_reported_once(tmp_path: Path) -> None:
    def objective(params: Any, trial: Any) -> float:
        for _ in range(3):
            trial.log_artifact("no/such/plot.png")
        trial.log_model(object())
        trial.log_model(LinearRegression().fit([[0], [1]], [0, 1]), "good")
        return params["x"]

    with pytest.warns(UserWarning, match="2 trials .*not saved") as warned:
        study = search(objective, tmp_path, n_trials=2)
    (end,) = [w for w in warned if "not saved" in str(w.message)]
    assert end.filename == __file__
    assert "plot.png" in str(end.message)
    error = study.trials[0].error
    assert error is not None
    assert error.message.count("plot.png does not exist") == 1
    assert "model model: RegistryError" in error.message
    assert "trial.log_artifact" in error.traceback
    assert error.place.startswith(__file__)
    assert "not saved" in study.runs()[0].output
    assert [a.name for a in study.artifacts()] == ["good", "good"]
    assert study.find("state = 'completed' and error.kind = 'NotSaved'").count() == 2

    shown = CliRunner().invoke(cli, ["show", "s", "--store", str(tmp_path)]).output
    assert "not saved 2x" in shown
    assert "plot.png" in shown
    one = CliRunner().invoke(cli, ["show", "s", "--trial", "0", "--store", str(tmp_path)]).output
    assert "plot.png" in one


def test_a_search_that_saved_everything_gives_no_warning(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        search(lambda params: params["x"], tmp_path)


def test_a_format_is_checked_before_the_training(tmp_path: Path) -> None:
    def objective(params: Any, trial: Any) -> float:
        trial.check_model(LinearRegression())  # not fitted yet
        with pytest.raises(RegistryError, match="none of the formats"):
            trial.check_model(object())
        trial.check_model(object(), allow_pickle=True)
        trial.check_model(object())
        raise AssertionError("the training began")

    with pytest.raises(AllTrialsFailed, match="none of the formats"):
        search(objective, tmp_path)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("format='onyx'", "format='onyx'.*no format has this name"),
        ("format='pickle'", "needs allow_pickle=True"),
        ("format='pickle', allow_pickle=False", "needs allow_pickle=True"),
        ("format='pickle', allow_pickle=True", ""),
        ("format=kind, allow_pickle=True", ""),
        ("format='skops'", ""),
    ],
)
def test_a_format_that_the_objective_names_is_checked_before_anything_runs(
    tmp_path: Path, options: str, says: str
) -> None:
    source = f"""
        def objective(params, trial):
            kind = "json"
            if params["x"] > 2:
                trial.log_model(None, {options})
            return params["x"]
    """
    file = tmp_path / "script.py"
    file.write_text(textwrap.dedent(source))
    names: dict[str, Any] = {}
    exec(compile(file.read_text(), file, "exec"), names)
    if says:
        with pytest.raises(ArgumentError, match=f"line 5: .*{says}"):
            search(names["objective"], tmp_path / "store")
        assert not (tmp_path / "store").exists()
    else:
        search(names["objective"], tmp_path / "store")


def test_unsaved_items_of_an_asked_trial_are_recorded_with_its_value(tmp_path: Path) -> None:
    study = tuner.create_study(SPACE, store=tmp_path, seed=0)
    trial = study.ask()
    trial.log_model(object())
    trial.log_metric("auc", math.nan)
    told = study.tell(trial, {"value": 0.5, "device": "cpu"})
    assert (told.state, told.value, told.notes) == (State.COMPLETED, 0.5, {"device": "cpu"})
    assert told.error is not None
    assert told.error.kind == NOT_SAVED
    assert study.trials == [told] or math.isnan(study.trials[0].metrics["auc"])
