"""CatBoost models: equal predictions after loading, and crafted files."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_iris

from support.model_files import forged
from tuner.errors import RegistryError
from tuner.registry.formats import load_files, save_model
from tuner.registry.native.catboost_format import FILE, CatBoostFormat
from tuner.testing import ModelFormatConformance

pytestmark = pytest.mark.slow

X, y = load_iris(return_X_y=True)
NAMES = np.array(["setosa", "versicolor", "é"])[y]


@cache
def fitted() -> list[Any]:
    import catboost as cb

    few: dict[str, Any] = {
        "iterations": 4, "verbose": 0, "thread_count": 1, "allow_writing_files": False,
    }  # fmt: skip
    weighted = {"class_weights": {0: 1.0, 1: 2.0}}
    mixed = X.astype(object)
    mixed[:, 1] = np.where(X[:, 1] > 3, "x", "y")
    return [
        cb.CatBoostClassifier(**few).fit(X, NAMES),
        cb.CatBoostClassifier(**weighted, **few).fit(X, (y > 1).astype(int)),
        cb.CatBoostRegressor(depth=np.int64(3), **few).fit(X, y),
        cb.CatBoostRegressor(cat_features=[1], **few).fit(mixed, y),
        cb.CatBoostRegressor(grow_policy="Lossguide", **few).fit(X, y),
        cb.CatBoost({"loss_function": "Logloss", "class_weights": {0: 1.0, 1: 2.0}, **few}).fit(
            X, (y > 1).astype(int)
        ),
    ]


class TestCatBoostFormat(ModelFormatConformance):
    def make(self) -> CatBoostFormat:
        return CatBoostFormat()

    def models(self) -> list[Any]:
        return fitted()

    def same(self, model: Any, loaded: Any) -> bool:
        data = X.astype(object) if model.get_cat_feature_indices() else X
        if model.get_cat_feature_indices():
            data[:, 1] = np.where(X[:, 1] > 3, "x", "y")
        equal = [np.array_equal(model.predict(data), loaded.predict(data))]
        if hasattr(model, "predict_proba"):
            equal.append(np.array_equal(model.predict_proba(data), loaded.predict_proba(data)))
        return (
            type(model) is type(loaded) and model.get_params() == loaded.get_params() and all(equal)
        )


def test_it_is_the_format_of_a_model_of_catboost() -> None:
    model = fitted()[0]
    name, files = save_model(model)
    assert name == "catboost"
    assert np.array_equal(load_files(name, files).predict(X), model.predict(X))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"CBM1", "not a file of CatBoost"),
        (b"CBM1\xff\xff\xff\xff" + bytes(100), "truncated"),
        (b"CBM1\x40\x00\x00\x00" + bytes(100), "verification failed"),
        (b"CBM1\x40\x00\x00\x00" + b"\xff" * 100, "verification failed"),
    ],
)
def test_a_crafted_model_is_refused(content: bytes, says: str, tmp_path: Path) -> None:
    CatBoostFormat().save(fitted()[0], tmp_path)
    forged(tmp_path, {FILE: content})
    with pytest.raises(RegistryError, match=says):
        CatBoostFormat().load(tmp_path)


@pytest.mark.process
def test_damage_inside_of_the_file_does_not_end_the_process(tmp_path: Path) -> None:
    model = fitted()[0]
    CatBoostFormat().save(model, tmp_path)
    content, generator = (tmp_path / FILE).read_bytes(), np.random.default_rng(0)
    if not (child := os.fork()):
        for _ in range(40):
            damaged = bytearray(content)
            damaged[generator.integers(8, len(damaged))] ^= int(generator.integers(1, 256))
            forged(tmp_path, {FILE: bytes(damaged)})
            try:
                CatBoostFormat().load(tmp_path).predict(X[:2])
            except Exception:
                continue
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize(
    ("facts", "says"),
    [({"class": "Pool"}, "'Pool' is not one"), ({"params": {"fit": 1}}, "no parameter 'fit'")],
)
def test_crafted_facts_are_refused(facts: dict[str, Any], says: str, tmp_path: Path) -> None:
    CatBoostFormat().save(fitted()[0], tmp_path)
    forged(tmp_path, {}, **facts)
    with pytest.raises(RegistryError, match=says):
        CatBoostFormat().load(tmp_path)


def test_models_that_cannot_be_kept_are_refused() -> None:
    import catboost as cb

    class Metric:
        pass

    for model, says in [
        (cb.CatBoostRegressor(), "not fitted: fit it first"),
        (cb.CatBoostRegressor(iterations=1, verbose=0, allow_writing_files=False), None),
    ]:
        if says is None:
            model.fit(X, y)
            model._init_params["eval_metric"] = Metric()
            says = "parameter eval_metric="
        with pytest.raises(RegistryError, match=says):
            save_model(model, format="catboost")
