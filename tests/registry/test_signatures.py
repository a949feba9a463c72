"""Signatures of registered models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

import tuner
from tuner.errors import ArgumentError, RegistryError, SignatureError
from tuner.registry import Registry
from tuner.signatures import Signature

X = pd.DataFrame({"a": [0.0, 1.0, 2.0, 3.0], "b": [1, 0, 1, 0]})
y = np.array(["no", "no", "yes", "yes"])


def searched(store: Path, objective: Any = None, **arguments: Any) -> tuner.Study:
    def logs(params: dict[str, float], trial: tuner.LiveTrial) -> float:
        trial.log_model(LogisticRegression(C=params["x"]).fit(X, y), example=X)
        return params["x"]

    return tuner.optimize(
        objective or logs,
        {"x": tuner.Float(0.1, 1)},
        n_trials=1,
        seed=1,
        backend="serial",
        store=store,
        study="s",
        progress=False,
        **arguments,
    )


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("store")
    searched(folder, register="m")
    return folder


def test_a_model_logged_with_an_example_has_a_signature(store: Path):
    version = Registry(store).get("m")
    assert version.signature == Signature.infer(X, y)
    assert version.artifact is not None
    assert version.artifact.signature == version.signature
    assert type(version).from_json(version.to_json()) == version


def test_a_validated_model_checks_its_rows(store: Path):
    model = tuner.load_model("m", store=store, validate=True)
    assert model.predict(X[["b", "a"]]).tolist() == y.tolist()
    assert model.predict_proba([{"a": 1, "b": 0}]).shape == (1, 2)
    assert model.score(X, y) == 1
    assert list(model.classes_) == ["no", "yes"]
    with pytest.raises(SignatureError, match=r"column 'b', row 1: 0\.5 is not allowed"):
        model.predict([{"a": 1, "b": 0}, {"a": 1, "b": 0.5}])
    with pytest.raises(AttributeError):
        _ = model.missing


def test_a_card_and_its_markdown_have_the_signature(store: Path):
    card = tuner.model_card("m", store=store)
    assert card.signature["inputs"] == "a: a number (float64); b: an integer (int64)"
    assert "## Signature" in card.to_markdown()


def test_a_version_without_a_signature_is_not_validated_and_gets_one(tmp_path: Path):
    def logs(params: dict[str, float], trial: tuner.LiveTrial) -> float:
        trial.log_model(LogisticRegression().fit(X, y))
        return 1.0

    study = searched(tmp_path, logs, register="m")
    assert Registry(tmp_path).get("m").signature is None
    with pytest.raises(RegistryError, match=r"'m@1' has no signature.*set_signature"):
        tuner.load_model("m", store=tmp_path, validate=True)
    assert study.register("m", example=X).signature == Signature.infer(X, y)
    other = study.register("other", signature=Signature.infer(X, categories=["b"]))
    assert other.signature is not None
    assert other.signature.inputs.fields[1].categories == (0, 1)
    refitted = study.register("refitted", refit=lambda _: LogisticRegression().fit(X, y), example=X)
    assert refitted.signature == Signature.infer(X, y)
    with pytest.raises(ArgumentError, match="not both"):
        study.register("third", example=X, signature=other.signature)
    with pytest.raises(ArgumentError, match="not a Signature"):
        study.register("third", signature={})
    with pytest.raises(RegistryError, match="cannot predict the rows of example="):
        study.register("third", example=[[1, 2, 3]])
    assert Registry(tmp_path).versions("third") == []


def test_an_example_that_fails_keeps_the_model(tmp_path: Path):
    def logs(params: dict[str, float], trial: tuner.LiveTrial) -> float:
        trial.log_model(LogisticRegression().fit(X, y), example=np.zeros((2, 5)))
        return 1.0

    study = searched(tmp_path, logs, register="m")
    assert "signature of model model" in str(study.trials[0].to_json())
    version = Registry(tmp_path).get("m")
    assert version.signature is None
    assert tuner.load_model("m", store=tmp_path).predict(X).tolist() == y.tolist()


def test_a_configuration_takes_a_given_signature(tmp_path: Path):
    study = searched(tmp_path, lambda params: 1.0, register="m")
    assert study.register("m", example=X).signature == Signature.infer(X)
