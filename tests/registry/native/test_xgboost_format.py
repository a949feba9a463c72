"""XGBoost models: equal predictions after loading, and crafted files."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_iris

from support.model_files import edited, forged
from tuner.errors import RegistryError, TunerWarning
from tuner.registry.formats import load_files, save_model
from tuner.registry.native.xgboost_format import FILE, XGBoostFormat
from tuner.testing import ModelFormatConformance

pytestmark = pytest.mark.slow

X, y = load_iris(return_X_y=True)
TABLE = pd.DataFrame(
    {
        "a": X[:, 0],
        "b": pd.Categorical(np.where(X[:, 1] > 3, "x", "yy")),
        "c": pd.Categorical(X[:, 2].astype(int)),
    }
)


@cache
def fitted() -> list[tuple[Any, Any]]:
    """Models, each with data for its predictions."""
    import xgboost as xgb

    few: dict[str, Any] = {"n_estimators": 4, "n_jobs": 1}
    classifier = xgb.XGBClassifier(learning_rate=np.float32(0.3), **few).fit(X, y)
    stopped = xgb.XGBRegressor(n_estimators=9, early_stopping_rounds=2, n_jobs=1)
    return [
        (classifier, X),
        (classifier.get_booster(), xgb.DMatrix(X)),
        (xgb.XGBClassifier(gamma=0.5, tree_method="exact", **few).fit(X, y > 1), X),
        (
            xgb.XGBRegressor(enable_categorical=True, max_cat_to_onehot=1, **few).fit(TABLE, y),
            TABLE,
        ),
        (xgb.XGBRegressor(booster="dart", rate_drop=0.5, **few).fit(X, y), X),
        (xgb.XGBRegressor(booster="gblinear", **few).fit(X, y), X),
        (xgb.XGBRegressor(**few).fit(X, X[:, :2]), X),
        (xgb.XGBRFClassifier(**few).fit(X, y), X),
        (xgb.XGBRanker(lambdarank_unbiased=True, **few).fit(X, y, qid=np.zeros(150)), X),
        (stopped.fit(X, y, eval_set=[(X[::-1], y)], verbose=False), X),
    ]


class TestXGBoostFormat(ModelFormatConformance):
    def make(self) -> XGBoostFormat:
        return XGBoostFormat()

    def models(self) -> list[Any]:
        return [model for model, _ in fitted()]

    def same(self, model: Any, loaded: Any) -> bool:
        data = next(data for each, data in fitted() if each is model)
        predictions = [np.array_equal(model.predict(data), loaded.predict(data))]
        if hasattr(model, "predict_proba"):
            both = model.predict_proba(data), loaded.predict_proba(data)
            predictions.append(np.array_equal(*both))
        if hasattr(model, "get_params"):
            before, after = model.get_params(), loaded.get_params()
            predictions.append(before.keys() == after.keys())
            predictions += [after[k] == v or v != v for k, v in before.items()]
        return type(model) is type(loaded) and all(predictions)


def test_it_is_the_format_of_a_model_of_xgboost() -> None:
    model = fitted()[0][0]
    name, files = save_model(model)
    assert name == "xgboost"
    assert np.array_equal(load_files(name, files).predict(X), model.predict(X))


def trees(model: Any) -> list[Any]:
    found: list[Any] = model["learner"]["gradient_booster"]["model"]["trees"]
    return found


def change(name: str, place: int, value: Any) -> Callable[[Any], None]:
    """Return a change of one number of the first tree."""

    def edit(model: Any) -> None:
        trees(model)[0][name][place] = value

    return edit


def of_learner(name: str, value: str) -> Callable[[Any], None]:
    return lambda model: model["learner"]["learner_model_param"].update({name: value})


def of_model(name: str, value: Any) -> Callable[[Any], None]:
    return lambda model: model["learner"]["gradient_booster"]["model"].update({name: value})


CRAFTED: dict[str, tuple[Callable[[Any], None], str]] = {
    "a child far away": (change("left_children", 0, 2**30), "does not exist"),
    "a negative child": (change("left_children", 0, -7), "one child"),
    "a cycle": (change("left_children", 0, 0), "child of several"),
    "a shared child": (change("left_children", 0, 2), "child of several"),
    "a number as text": (change("left_children", 0, "1"), "list of numbers"),
    "a feature far away": (change("split_indices", 0, 2**31 - 1), "feature"),
    "a negative feature": (change("split_indices", 0, -1), "feature"),
    "another parent": (change("parents", 1, 2**30), "parent"),
    "a categorical node without a set": (change("split_type", 0, 1), "categories"),
    "a short list": (lambda m: trees(m)[0]["split_conditions"].pop(), "split_conditions"),
    "an id far away": (lambda m: trees(m)[0].update(id=2**40), "another id"),
    "more nodes than listed": (
        lambda m: trees(m)[0]["tree_param"].update(num_nodes="2000000000"),
        "instead of 2000000000",
    ),
    "an output far away": (of_model("tree_info", [9] * 12), "tree_info"),
    "rounds out of range": (of_model("iteration_indptr", [0, 2**31 - 1]), "iteration_indptr"),
    "more classes": (of_learner("num_class", "1000000000"), "num_class|classes|base_score"),
    "fewer features": (of_learner("num_feature", "1"), "other features"),
    "a huge number of features": (of_learner("num_feature", "2000000000"), "unpacks to more"),
    "a base score that is not a number": (of_learner("base_score", "[x]"), "could not convert"),
    "an iteration far away": (
        lambda m: m["learner"]["attributes"].update(best_iteration="99"),
        "best_iteration",
    ),
    "an unknown entry": (lambda m: m["learner"].update(new=1), "unknown entry 'new'"),
    "no learner": (lambda m: m.clear(), "lacks 'learner'"),
}


@pytest.mark.parametrize("name", CRAFTED)
def test_a_crafted_model_is_refused(name: str, tmp_path: Path) -> None:
    edit, says = CRAFTED[name]
    XGBoostFormat().save(fitted()[0][0], tmp_path)
    forged(tmp_path, {FILE: edited((tmp_path / FILE).read_bytes(), edit)})
    with pytest.raises(RegistryError, match=says):
        XGBoostFormat().load(tmp_path)


@pytest.mark.parametrize(
    ("facts", "says"),
    [
        ({"class": "DMatrix"}, "'DMatrix' is not one of"),
        ({"class": ["Booster"]}, "no text 'class'"),
        ({"params": {"n_jobs": 10**6}}, "asks for 1000000 threads"),
        ({"params": {"predict": 1}}, "no parameter 'predict'"),
        ({"params": {"__class__": 1}}, "no parameter '__class__'"),
        ({"params": [1]}, "no table 'params'"),
        ({"package": "os"}, "does not describe a model of xgboost"),
    ],
)
def test_crafted_facts_are_refused(facts: dict[str, Any], says: str, tmp_path: Path) -> None:
    XGBoostFormat().save(fitted()[0][0], tmp_path)
    forged(tmp_path, {}, **facts)
    with pytest.raises(RegistryError, match=says):
        XGBoostFormat().load(tmp_path)


def test_a_key_that_stands_twice_has_one_meaning_for_the_check_and_xgboost(tmp_path: Path) -> None:
    model = fitted()[0][0]
    XGBoostFormat().save(model, tmp_path)
    content = (tmp_path / FILE).read_bytes()
    twice = content.replace(b'"split_indices":[', b'"split_indices":[999999999],"split_indices":[')
    forged(tmp_path, {FILE: twice})
    assert np.array_equal(XGBoostFormat().load(tmp_path).predict(X), model.predict(X))


def test_another_major_version_is_named(tmp_path: Path) -> None:
    XGBoostFormat().save(fitted()[0][0], tmp_path)
    forged(tmp_path, {}, version="1.7.6")
    with pytest.warns(TunerWarning, match=r"saved with xgboost 1\.7\.6, and here is xgboost"):
        XGBoostFormat().load(tmp_path)


def test_models_that_cannot_be_kept_are_refused(tmp_path: Path) -> None:
    import xgboost as xgb

    for model, says in [
        (xgb.XGBRegressor(), "fit it first"),
        (xgb.XGBRegressor(objective=lambda y, p: (p - y, y)), "parameter objective=.*plain value"),
        (
            xgb.XGBRegressor(multi_strategy="multi_output_tree", n_estimators=1).fit(X, X[:, :2]),
            "vectors as leaves.*allow_pickle=True",
        ),
    ]:
        with pytest.raises(RegistryError, match=says):
            save_model(model, format="xgboost")
