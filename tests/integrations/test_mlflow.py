"""The mirror to a real MLflow server, read by MLflow's client, and the import from it."""

from __future__ import annotations

import logging
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import tuner
from support.mlflow_server import MlflowServer
from tuner import Choice, Float, Int
from tuner.errors import ForeignRecordError, StudyMismatch
from tuner.integrations import MlflowMirror, import_mlflow
from tuner.records import State

if TYPE_CHECKING:  # its import takes a second, in each process that collects tests
    from mlflow import MlflowClient

SPACE = {
    "rate": Float(1e-3, 1, log=True),
    "model": Choice(svm={"C": Float(0.1, 10)}, forest={"trees": Int(1, 9)}),
}


def objective(params, trial) -> dict[str, float]:
    for step in range(3):
        trial.report(params["rate"] * step, step)
    if trial.number == 2:
        raise ValueError("no luck")
    return {"value": params["rate"] * 2, "size": 7.0}


def searched(store: Path, callbacks=(), n_trials: int = 6, **options) -> tuner.Study:
    return tuner.optimize(
        objective,
        SPACE,
        study="digits",
        store=store,
        n_trials=n_trials,
        callbacks=callbacks,
        backend="serial",
        optimizer="random",
        progress=False,
        seed=3,
        tags={"team": "vision"},
        **options,
    )


def client_of(server: MlflowServer) -> MlflowClient:
    from mlflow import MlflowClient

    return MlflowClient(server.uri)


def child_runs(client: MlflowClient, experiment: str) -> dict[int, object]:
    found = client.get_experiment_by_name(experiment)
    runs = client.search_runs([found.experiment_id], "tags.`tuner.trial` != ''")
    assert len({run.data.tags["tuner.trial"] for run in runs}) == len(runs), (
        "a trial is twice there"
    )
    return {int(run.data.tags["tuner.trial"]): run for run in runs}


def test_mlflows_client_reads_what_was_mirrored(mlflow_server, tmp_path: Path) -> None:
    with MlflowMirror(mlflow_server.uri, "mirrored") as mirror:
        study = searched(tmp_path, [mirror])
        assert mirror.flush(60)
    client = client_of(mlflow_server)
    experiment = client.get_experiment_by_name("mirrored")
    [parent] = client.search_runs([experiment.experiment_id], "tags.`tuner.name` = 'digits'")
    assert parent.info.status == "FINISHED"
    assert parent.data.tags["team"] == "vision"
    assert parent.data.metrics["best.value"] == study.best_value
    children = child_runs(client, "mirrored")
    assert sorted(children) == [t.number for t in study.trials]
    for trial in study.trials:
        run = children[trial.number]
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        expected = {k: str(v) for k, v in study.space.flatten(trial.params).items()}
        assert run.data.params == expected
        history = client.get_metric_history(run.info.run_id, "value")
        curve = [(m.step, m.value) for m in history][:3]
        assert curve == [(step, trial.params["rate"] * step) for step in range(3)]
        if trial.state is State.COMPLETED:
            assert run.info.status == "FINISHED"
            assert run.data.metrics == trial.metrics
    assert children[2].info.status == "FAILED"
    assert "no luck" in children[2].data.tags["tuner.error"]


def registered(store: Path, **options) -> tuner.Study:
    def fitted(params, trial) -> float:
        from sklearn.dummy import DummyClassifier

        trial.log_model(DummyClassifier(strategy="constant", constant=3).fit([[0.0]], [3]))
        (store.parent / "notes.txt").write_text("seen")
        trial.log_artifact(store.parent / "notes.txt")
        return params["x"]

    return tuner.optimize(
        fitted, {"x": Float(0, 1)}, study="digits", register="digits.of mine", n_trials=2,
        store=store, backend="serial", progress=False, seed=1, **options,
    )  # fmt: skip


@pytest.mark.slow
def test_the_winner_becomes_a_model_of_mlflow_with_its_alias(
    mlflow_server, tmp_path: Path, monkeypatch
) -> None:
    import numpy as np
    from mlflow import pyfunc, set_registry_uri, set_tracking_uri

    with MlflowMirror(mlflow_server.uri, "models") as mirror:
        study = registered(tmp_path / "store", callbacks=[mirror])
        assert mirror.flush(60)
    client = client_of(mlflow_server)
    [version] = client.search_model_versions("name = 'digits_of mine'")
    assert version.run_id == child_runs(client, "models")[study.winner.trial.number].info.run_id
    kept = [entry.path for entry in client.list_artifacts(version.run_id, "artifacts/notes.txt")]
    assert kept == ["artifacts/notes.txt/notes.txt"]
    set_tracking_uri(mlflow_server.uri)
    set_registry_uri(mlflow_server.uri)
    try:
        model = pyfunc.load_model("models:/digits_of mine@champion")
        assert model.predict(np.zeros((2, 1))).tolist() == [3, 3]
    finally:
        set_tracking_uri(None)
        set_registry_uri(None)
    tuner.set_alias("digits.of mine@1", "staging", store=tmp_path / "store")
    MlflowMirror(mlflow_server.uri, "models").catch_up(study)
    [again] = client.search_model_versions("name = 'digits_of mine'")
    assert client.get_model_version_by_alias("digits_of mine", "staging").version == again.version


def test_only_models_that_can_be_exported_are_registered_in_mlflow(
    mlflow_server, tmp_path: Path, caplog
) -> None:
    study = searched(tmp_path, n_trials=2, register="plain")
    study.register("pickled", trial=0, refit=lambda params: {1}, allow_pickle=True)
    with caplog.at_level(logging.WARNING, "tuner.integrations.mlflow_models"):
        MlflowMirror(mlflow_server.uri, "plain").catch_up(study)
    [record] = caplog.records
    assert "not registered there: this model is a pickle" in record.message
    client = client_of(mlflow_server)
    for name in ("plain", "pickled"):
        assert list(client.search_model_versions(f"name = '{name}'")) == []
    run = child_runs(client, "plain")[0].info.run_id
    assert [entry.path for entry in client.list_artifacts(run, "artifacts")] == ["artifacts/refit"]


def test_a_long_curve_and_many_params_take_several_requests(mlflow_server, tmp_path: Path) -> None:
    space = {f"p{i}": Float(0, 1) for i in range(120)}
    study = tuner.create_study(space, study="long", store=tmp_path, seed=0)
    trial = study.ask()
    for step in range(1500):
        trial.report(float(step), step)
    study.tell(trial, 1.0)
    assert MlflowMirror(mlflow_server.uri, "long").catch_up(study) == 1
    client = client_of(mlflow_server)
    run = child_runs(client, "long")[0]
    assert len(run.data.params) == 120
    history = client.get_metric_history(run.info.run_id, "value")
    assert [m.value for m in history] == [*map(float, range(1500)), 1.0]


def test_a_trial_that_ran_again_is_mirrored_with_its_own_run(mlflow_server, tmp_path: Path) -> None:
    study = searched(tmp_path, n_trials=3)
    own = {run.uid for run in study.runs()}
    study.confirm(objective, 2, backend="serial", progress=False)
    assert len(study.runs()) > len(own)
    MlflowMirror(mlflow_server.uri, "again").catch_up(study)
    runs = child_runs(client_of(mlflow_server), "again")
    assert {run.data.tags["tuner.run"] for run in runs.values()} == own


def test_a_partly_sent_run_is_completed(mlflow_server, tmp_path: Path) -> None:
    study = searched(tmp_path, n_trials=3)
    client = client_of(mlflow_server)
    MlflowMirror(mlflow_server.uri, "half").catch_up(study)
    left = child_runs(client, "half")[1].info.run_id
    client.update_run(left, "RUNNING")
    assert MlflowMirror(mlflow_server.uri, "half").catch_up(study) == 1
    runs = child_runs(client, "half")
    assert len(runs) == 3
    assert (runs[1].info.run_id, runs[1].info.status) == (left, "FINISHED")


def test_runs_are_sent_after_the_server_returns(mlflow_server, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    mlflow_server.stop()
    mirror = MlflowMirror(mlflow_server.uri, "away")
    began = time.monotonic()
    study = searched(tmp_path, [mirror])
    took = time.monotonic() - began
    assert len(study.trials) == 6
    assert took < 60
    assert not mirror.flush(0.1)
    mlflow_server.start()
    assert mirror.flush(120)
    mirror.close()
    assert mirror.dropped == 0
    assert len(child_runs(client_of(mlflow_server), "away")) == 6


def test_runs_that_overflow_the_queue_are_sent_later_with_a_warning(
    mlflow_server, tmp_path: Path, monkeypatch, caplog
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    mlflow_server.stop()
    with caplog.at_level(logging.WARNING, "tuner.integrations.mlflow_mirror"):
        mirror = MlflowMirror(mlflow_server.uri, "short", queue_size=1)
        study = searched(tmp_path, [mirror])
        mirror.close(0.2)
    mlflow_server.start()
    assert mirror.dropped >= 4
    assert "is dropped, as 1 trials wait already" in caplog.text
    late = MlflowMirror(mlflow_server.uri, "short")
    assert late.catch_up(study) == 6
    assert late.catch_up(study) == 0
    assert MlflowMirror(mlflow_server.uri, "short").catch_up(study) == 0
    assert len(child_runs(client_of(mlflow_server), "short")) == 6


def test_a_mirrored_study_can_be_imported(mlflow_server, tmp_path: Path) -> None:
    with MlflowMirror(mlflow_server.uri, "back") as mirror:
        study = searched(tmp_path / "one", [mirror])
        assert mirror.flush(60)
    store = tmp_path / "two"
    done = import_mlflow(mlflow_server.uri, "back", metric="value", space=SPACE, store=store)
    assert (done.added, done.known) == (6, 0)
    ours = {run.notes["tags"]["tuner.trial"]: run for run in done.study.trials}
    for trial in study.trials:
        there = ours[str(trial.number)]
        assert there.params == trial.params
        assert there.values == trial.values
    assert (
        import_mlflow(mlflow_server.uri, "back", metric="value", space=SPACE, store=store).known
        == 6
    )
    assert done.study.best_params == study.best_params


@pytest.fixture
def experiment(mlflow_server: MlflowServer, request) -> tuple[MlflowClient, str, str]:
    client = client_of(mlflow_server)
    name = request.node.name
    return client, client.create_experiment(name), name


def logged(client, experiment, params, losses, status="FINISHED", start=1000, **tags):
    run = client.create_run(experiment, start_time=start, tags=tags)
    for name, value in params.items():
        client.log_param(run.info.run_id, name, value)
    from mlflow.entities import Metric

    points = [Metric("loss", loss, start + i, i) for i, loss in enumerate(losses)]
    client.log_batch(run.info.run_id, metrics=points)
    if status:
        client.set_terminated(run.info.run_id, status, end_time=start + 5000)
    return run.info.run_id


def test_runs_become_trials(experiment, mlflow_server, tmp_path: Path) -> None:
    client, uid, name = experiment
    group = client.create_run(uid)
    inside = {"mlflow.parentRunId": group.info.run_id, "team": "a"}
    logged(client, uid, {"lr": 0.001, "n": 3, "net": "cnn", "drop": 0.5}, [3, 2, 1], **inside)
    logged(client, uid, {"lr": 1.0, "n": 5, "net": "mlp"}, [4.0], start=2000, **inside)
    logged(client, uid, {"lr": 0.1, "n": 4, "net": "mlp"}, [], "FAILED", start=3000, **inside)
    logged(client, uid, {"lr": 0.1, "n": 4, "net": "mlp"}, [math.nan], start=4000, **inside)
    logged(client, uid, {"lr": 0.1}, [], None, start=5000, **inside)
    done = import_mlflow(mlflow_server.uri, name, store=tmp_path)
    assert (done.added, done.unfinished) == (4, 1)
    study = done.study
    assert study.space.params == {
        "lr": Float(0.001, 1, log=True),
        "n": Int(3, 5),
        "net": Choice(cnn={"drop": tuner.Const(0.5)}, mlp={}),
    }
    first, second, failed, unclear = study.trials
    assert first.params == {"lr": 0.001, "n": 3, "net": ("cnn", {"drop": 0.5})}
    assert (first.value, first.started, first.duration) == (1.0, 1.0, 5.0)
    assert first.notes["tags"]["team"] == "a"
    assert [(r.step, r.metrics) for _, r in study.reports(0)] == [
        (0, {"loss": 3.0}),
        (1, {"loss": 2.0}),
        (2, {"loss": 1.0}),
    ]
    assert second.value == 4.0
    assert failed.error.kind == "Failed"
    assert unclear.error.kind == "NotFinite"
    before = repr(study.trials)
    again = import_mlflow(mlflow_server.uri, name, store=tmp_path)
    assert (again.added, again.known, repr(again.study.trials)) == (0, 4, before)
    trial = again.study.ask()
    again.study.tell(trial, 0.5)
    logged(client, uid, {"lr": 50.0, "n": 4, "net": "mlp"}, [1.0], start=9000)
    with pytest.raises(StudyMismatch, match="another name"):
        import_mlflow(mlflow_server.uri, name, store=tmp_path)


def test_an_ambiguous_goal_is_refused(experiment, mlflow_server, tmp_path: Path) -> None:
    client, uid, name = experiment
    run = logged(client, uid, {"lr": 1}, [1.0], None)
    client.log_metric(run, "accuracy", 0.5)
    client.set_terminated(run, "FINISHED")
    with pytest.raises(ForeignRecordError, match="'accuracy', 'loss'; say which"):
        import_mlflow(mlflow_server.uri, name, store=tmp_path)
    with pytest.raises(ForeignRecordError, match="no experiment 'nothing'"):
        import_mlflow(mlflow_server.uri, "nothing", store=tmp_path)
