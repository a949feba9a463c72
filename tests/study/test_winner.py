"""The winner of every study becomes a model version, by itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import tuner
from tuner import Float, errors

X, y = load_iris(return_X_y=True)
SPACE = {"C": Float(1e-3, 1e3, log=True)}


def fit(params: dict[str, Any]):
    return make_pipeline(StandardScaler(), LogisticRegression(**params, max_iter=500)).fit(X, y)


def objective(params, trial):
    model = fit(params)
    trial.log_model(model)
    return model.score(X, y)


def search(folder: Path, objective: Any = objective, **options: Any) -> tuner.Study:
    call: dict[str, Any] = {"direction": "maximize", "n_trials": 6, "seed": 0, "study": "iris"}
    return tuner.optimize(
        objective, SPACE, backend="serial", store=folder, progress=False, **(call | options)
    )


def test_the_best_model_is_registered_with_its_lineage(tmp_path: Path) -> None:
    study = search(tmp_path, data=(X, y), register="flowers")
    (version,) = tuner.list_models(store=tmp_path)
    best = study.best_trial
    (run,) = study.runs(best.number)
    assert (version.name, version.version, version.aliases) == ("flowers", 1, ("champion",))
    assert (version.study, version.trial, version.run) == (study.name, best.number, run.uid)
    assert version.params == study.best_params
    assert version.value == study.best_value
    assert version.goal == study.goals[0]
    assert (version.code, version.environment) == (run.code, run.environment)
    assert version.data == study.info.data != ""
    model = tuner.load_model("flowers@champion", store=tmp_path)
    assert model.score(X, y) == study.best_value


@pytest.mark.process
def test_another_process_predicts_the_same(tmp_path: Path) -> None:
    study = search(tmp_path)
    code = f"""
import tuner
from sklearn.datasets import load_iris
model = tuner.load_model("iris@champion", store={str(tmp_path)!r})
print(model.predict_proba(load_iris().data).tobytes().hex())
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    expected = fit(study.best_params).predict_proba(X)
    assert np.array_equal(np.frombuffer(bytes.fromhex(done.stdout.strip())), expected.ravel())


def test_an_objective_that_logs_no_model_registers_its_configuration(tmp_path: Path) -> None:
    study = search(tmp_path, lambda params: fit(params).score(X, y))
    assert tuner.load_model("iris", store=tmp_path) == study.best_params


def test_refit_makes_the_model(tmp_path: Path) -> None:
    study = search(tmp_path, lambda params: fit(params).score(X, y), refit=fit)
    model = tuner.load_model("iris@champion", store=tmp_path)
    assert study.best_params["C"] == model[-1].C


def test_a_failed_refit_leaves_the_study_complete(tmp_path: Path) -> None:
    def broken(params):
        raise MemoryError("too large")

    with pytest.raises(errors.RegistryError, match=r"'iris': refit failed.*MemoryError: too large"):
        search(tmp_path, lambda params: fit(params).score(X, y), refit=broken)
    study = tuner.load_study("iris", store=tmp_path)
    assert len(study.trials) == 6
    assert tuner.list_models(store=tmp_path) == []
    assert study.register(refit=fit).version == 1


def test_an_unsavable_refitted_model_leaves_the_study_complete(tmp_path: Path) -> None:
    says = r"'iris': model object: .*the study itself is recorded.*study\.register\(refit="
    with pytest.raises(errors.RegistryError, match=says):
        search(tmp_path, lambda params: fit(params).score(X, y), refit=lambda params: object())
    assert len(tuner.load_study("iris", store=tmp_path).trials) > 0


def test_a_refitted_model_is_pickled_if_allowed(tmp_path: Path) -> None:
    study = search(tmp_path, lambda params: params["C"], register=False)
    with pytest.raises(errors.RegistryError, match="allow_pickle=True"):
        study.register(refit=lambda params: Own(params["C"]))
    study.register(refit=lambda params: Own(params["C"]), allow_pickle=True)
    model = tuner.load_model("iris", store=tmp_path, allow_pickle=True)
    assert study.best_params["C"] == model.C


def test_nothing_is_registered_with_register_false(tmp_path: Path) -> None:
    search(tmp_path, register=False)
    assert tuner.list_models(store=tmp_path) == []


def test_the_same_winner_is_one_version(tmp_path: Path) -> None:
    search(tmp_path)
    search(tmp_path)
    study = tuner.load_study("iris", store=tmp_path)
    assert study.register().version == 1
    assert len(tuner.list_models(store=tmp_path)) == 1


def test_the_champion_is_replaced_only_by_a_better_one(tmp_path: Path) -> None:
    for n, value in enumerate([0.5, 0.4, 0.6, 0.6], start=1):
        search(tmp_path, lambda params, value=value: value, study=f"s{n}", register="m", n_trials=1)
    versions = tuner.list_models(store=tmp_path)
    assert [v.value for v in versions] == [0.5, 0.4, 0.6, 0.6]
    assert [v.aliases for v in versions] == [(), (), ("champion",), ("challenger",)]


def test_a_champion_of_another_metric_is_not_replaced(tmp_path: Path) -> None:
    search(tmp_path, lambda params: 0.5, study="a", register="m", n_trials=1)
    search(tmp_path, lambda params: {"auc": 0.9}, metric="auc", study="b", register="m", n_trials=1)
    assert [v.aliases for v in tuner.list_models(store=tmp_path)] == [
        ("champion",),
        ("challenger",),
    ]


def test_a_missing_model_is_an_error(tmp_path: Path) -> None:
    search(tmp_path)
    with pytest.raises(errors.ModelNotFound, match=r"'iriss'.*'iris'"):
        tuner.load_model("iriss", store=tmp_path)
    with pytest.raises(errors.ModelNotFound, match="staging"):
        tuner.load_model("iris@staging", store=tmp_path)


def test_a_model_whose_file_was_changed_is_not_loaded(tmp_path: Path) -> None:
    search(tmp_path)
    (version,) = tuner.list_models(store=tmp_path)
    (file,) = (
        p for p in (tmp_path / "artifacts" / version.artifact.path).rglob("*") if p.is_file()
    )
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(errors.ChecksumMismatch):
        tuner.load_model("iris@champion", store=tmp_path)


def test_a_pickle_needs_permission_on_saving_and_loading(tmp_path: Path) -> None:
    def objective(params, trial):
        trial.log_model(Own(params["C"]), allow_pickle=True)
        return params["C"]

    study = search(tmp_path, objective)
    with pytest.raises(errors.UntrustedModel, match="allow_pickle"):
        tuner.load_model("iris@champion", store=tmp_path)
    model = tuner.load_model("iris@champion", store=tmp_path, allow_pickle=True)
    assert study.best_params["C"] == model.C


class Own:
    def __init__(self, C: float) -> None:
        self.C = C
