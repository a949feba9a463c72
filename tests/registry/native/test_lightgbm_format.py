"""LightGBM models: equal predictions after loading, and crafted files."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_iris

from support.model_files import forged
from tuner.errors import RegistryError
from tuner.registry.formats import load_files, save_model
from tuner.registry.native.lightgbm_format import FILE, LightGBMFormat
from tuner.testing import ModelFormatConformance

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:The argument 'eval_set'"),  # new names since 4.7
]

X, y = load_iris(return_X_y=True)
TABLE = pd.DataFrame(
    {
        "a b": X[:, 0],
        "b": pd.Categorical(np.where(X[:, 1] > 3, "x", "yy")),
        "c": pd.Categorical(X[:, 2].astype(int)),
    }
)
NAMES = np.array(["setosa", "versicolor", "é"])[y]


@cache
def fitted() -> list[tuple[Any, Any]]:
    """Models, each with data for its predictions."""
    import lightgbm as lgb

    few: dict[str, Any] = {"n_estimators": 4, "num_leaves": 5, "verbose": -1, "n_jobs": 1}
    classifier = lgb.LGBMClassifier(**few).fit(TABLE, NAMES)
    forest = {"boosting_type": "rf", "bagging_freq": 1, "bagging_fraction": 0.5}
    stop = lgb.early_stopping(1, verbose=False)
    return [
        (classifier, TABLE),
        (classifier.booster_, TABLE),
        (lgb.LGBMClassifier(**few).fit(TABLE, pd.Series(NAMES, dtype=object)), TABLE),
        (lgb.LGBMClassifier(class_weight={0: 1, 1: 2.0, 2: 1}, **few).fit(X, y), X),
        (lgb.LGBMClassifier(**few).fit(X, y > 0, eval_set=[(X, y > 0)], callbacks=[stop]), X),
        (lgb.LGBMClassifier(objective="multiclassova", **few).fit(X, y), X),
        (lgb.LGBMRegressor(linear_tree=True, **few).fit(X, y), X),
        (lgb.LGBMRegressor(**forest, **few).fit(X, y), X),
        (lgb.LGBMRegressor(monotone_constraints=[1, 0, 0, -1], **few).fit(X, np.zeros(150)), X),
        (lgb.LGBMRegressor(boosting_type="dart", objective="quantile", **few).fit(X, y), X),
        (lgb.LGBMRanker(**few).fit(X, y, group=[150]), X),
    ]


class TestLightGBMFormat(ModelFormatConformance):
    def make(self) -> LightGBMFormat:
        return LightGBMFormat()

    def models(self) -> list[Any]:
        return [model for model, _ in fitted()]

    def same(self, model: Any, loaded: Any) -> bool:
        data = next(data for each, data in fitted() if each is model)
        predictions = [np.array_equal(model.predict(data), loaded.predict(data))]
        if hasattr(model, "predict_proba"):
            both = model.predict_proba(data), loaded.predict_proba(data)
            predictions += [np.array_equal(*both), model.classes_.dtype == loaded.classes_.dtype]
        if hasattr(model, "get_params"):
            predictions.append(model.get_params() == loaded.get_params())
        return type(model) is type(loaded) and all(predictions)


def test_it_is_the_format_of_a_model_of_lightgbm() -> None:
    model = fitted()[0][0]
    name, files = save_model(model)
    assert name == "lightgbm"
    assert np.array_equal(load_files(name, files).predict(TABLE), model.predict(TABLE))


def line(name: str, value: str) -> Callable[[str], str]:
    """Return a change of the first line of a name."""

    def change(text: str) -> str:
        before = re.search(rf"\n{name}=[^\n]*", text)
        assert before is not None
        changed = text.replace(before[0], f"\n{name}={value}", 1)
        tree = re.search(r"\nTree=0.*?(?=Tree=1)", changed, re.DOTALL)
        assert tree is not None
        if name == "tree_sizes":
            return changed
        return re.sub(r"tree_sizes=\d+", f"tree_sizes={len(tree[0]) - 1}", changed)

    return change


CRAFTED: dict[str, tuple[Callable[[str], str], str]] = {
    "a child far away": (line("left_child", "9999999 -1 -1"), "tree 0"),
    "a leaf far away": (line("left_child", "-99999 1 -1"), "does not exist"),
    "a cycle": (line("left_child", "0 0 0"), "child of several"),
    "a feature far away": (line("split_feature", "99999 0 0"), "feature out of range"),
    "more leaves than listed": (line("num_leaves", "2000000000"), "numbers instead of"),
    "fewer leaves than listed": (line("num_leaves", "2"), "numbers instead of"),
    "negative leaves": (line("num_leaves", "-5"), "num_leaves"),
    "leaves as text": (line("leaf_value", "a b c d e"), "line 'leaf_value=a b"),
    "other sizes of trees": (line("tree_sizes", "1 2 3"), "Tree|tree"),
    "sizes beyond the text": (line("tree_sizes", "999999999"), "tree_sizes is out of range"),
    "more classes": (line("num_class", "1000000"), "num_class"),
    "more classes of the objective": (
        line("objective", "multiclass num_class:99999"),
        "another number of classes",
    ),
    "more features": (line("max_feature_idx", "99999999"), "not one for each feature"),
    "a line that is not LightGBM's": (
        lambda text: text.replace("tree\n", "tree\ninput_model=/etc/passwd\n", 1),
        "not one of LightGBM's",
    ),
    "sets of categories out of range": (line("cat_boundaries", "0 9"), "categories"),
    "a line that stands twice": (
        lambda text: text.replace("\nnum_leaves=", "\nnum_leaves=5\nnum_leaves=", 1),
        "tree",
    ),
    "a carriage return": (lambda text: text.replace("\nnum_cat", "\rnum_cat", 1), "not a text"),
    "an unreadable parameter": (
        lambda text: text.replace("parameters:", "parameters:\nx", 1),
        "unreadable",
    ),
    "categories that are not lists": (
        lambda text: re.sub(r"pandas_categorical:.*", "pandas_categorical:{}", text),
        "not a list of lists",
    ),
    "a category that stands twice": (
        lambda text: re.sub(r"pandas_categorical:.*", 'pandas_categorical:[["x", "x"]]', text),
        "distinct values",
    ),
}


@pytest.mark.parametrize("name", CRAFTED)
def test_a_crafted_model_is_refused(name: str, tmp_path: Path) -> None:
    edit, says = CRAFTED[name]
    LightGBMFormat().save(fitted()[0][0], tmp_path)
    before = (tmp_path / FILE).read_text()
    after = edit(before)
    assert after != before
    forged(tmp_path, {FILE: after.encode()})
    with pytest.raises(RegistryError, match=says):
        LightGBMFormat().load(tmp_path)


@pytest.mark.parametrize(
    ("facts", "says"),
    [
        ({"class": "Dataset"}, "'Dataset' is not one of"),
        ({"best_iteration": 99}, "best_iteration is 99"),
        ({"params": {"n_jobs": 10**6}}, "asks for 1000000 threads"),
        ({"params": {"fit": 1}}, "no parameter 'fit'"),
        ({"classes": None}, "no classes"),
        ({"classes": {"type": "O", "labels": [1, 2, 3]}}, "not a list of numbers or texts"),
        ({"classes": {"type": "<U9", "labels": ["a"]}}, "1 classes for 3 outputs"),
    ],
)
def test_crafted_facts_are_refused(facts: dict[str, Any], says: str, tmp_path: Path) -> None:
    LightGBMFormat().save(fitted()[0][0], tmp_path)
    forged(tmp_path, {}, **facts)
    with pytest.raises(RegistryError, match=says):
        LightGBMFormat().load(tmp_path)


def test_models_that_cannot_be_kept_are_refused() -> None:
    import lightgbm as lgb

    for model, says in [
        (lgb.LGBMRegressor(), "fit it first"),
        (lgb.LGBMRegressor(random_state=np.random.RandomState(0)), "parameter random_state="),
    ]:
        with pytest.raises(RegistryError, match=says):
            save_model(model, format="lightgbm")
