"""scikit-learn's models load without anybody having to list their types."""

from __future__ import annotations

import importlib
import re
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sklearn
from scipy import sparse
from sklearn import (
    calibration,
    compose,
    decomposition,
    ensemble,
    feature_selection,
    linear_model,
    model_selection,
    naive_bayes,
    neural_network,
    svm,
)
from sklearn import gaussian_process as gp
from sklearn import preprocessing as pre
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.gaussian_process import kernels
from sklearn.impute import KNNImputer, SimpleImputer
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline

import tuner.search_spaces.sklearn as ready
from tuner.registry.formats import load_files, save_model
from tuner.registry.trusted import TRUSTED
from tuner.search_spaces import Space

X, y = load_iris(return_X_y=True)
TABLE = pd.DataFrame(X, columns=list("abcd")).assign(
    e=np.where(y > 0, "u", "v"), f=pd.Categorical(np.where(X[:, 0] > 5, "s", "t"))
)
TEXTS = [f"{'short' if x[0] < 5 else 'long'} {'wide' if x[1] > 3 else 'thin'} leaf" for x in X]

MODELS = [
    (task, name)
    for task, space in (("classifier", ready.classifier()), ("regressor", ready.regressor()))
    for name in Space(space).columns[0].domain.options
]


def again(model: Any) -> Any:
    return load_files(*save_model(model))


@pytest.fixture(autouse=True)
def unfinished_fits() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield


@pytest.mark.slow
@pytest.mark.parametrize("n", [1, pytest.param(5, marks=pytest.mark.soak)])
@pytest.mark.parametrize(("task", "name"), MODELS)
def test_models_of_the_predefined_spaces_load(task: Any, name: str, n: int) -> None:
    params = ready.classifier() if task == "classifier" else ready.regressor()
    space = Space(params).freeze({"model": name})
    for size, few in (("n_estimators", 50), ("max_iter", 20)):
        path = f"model.{name}.{size}"
        if path in [column.path for column in space.columns]:
            space = space.narrow({path: (few, few + 5)})
    for point in space.sample(np.random.default_rng(1), n):
        model = ready.build(point["model"], task, random_state=0).fit(X, y)
        assert np.array_equal(again(model).predict(X), model.predict(X))


def columns(*others: Any) -> Any:
    return compose.make_column_transformer(
        (pre.StandardScaler(), ["a", "b"]),
        (pre.OneHotEncoder(handle_unknown="ignore"), ["e", "f"]),
        (pre.KBinsDiscretizer(3, quantile_method="averaged_inverted_cdf"), ["c"]),
        *others,
        remainder="passthrough",
    )


PIPELINES: dict[str, Callable[[], tuple[Any, Any]]] = {
    "columns": lambda: (make_pipeline(columns(), linear_model.LogisticRegression()), TABLE),
    "columns by type": lambda: (
        make_pipeline(
            compose.make_column_transformer(
                (SimpleImputer(), compose.make_column_selector(dtype_include="number"))
            ),
            ensemble.RandomForestClassifier(3),
        ),
        TABLE,
    ),
    "categories": lambda: (
        ensemble.HistGradientBoostingClassifier(max_iter=5, early_stopping=True),
        TABLE.drop(columns="e"),
    ),
    "targets": lambda: (
        make_pipeline(pre.TargetEncoder(), linear_model.LogisticRegression()),
        TABLE[["e", "f"]],
    ),
    "texts": lambda: (make_pipeline(TfidfVectorizer(), linear_model.SGDClassifier()), TEXTS),
    "sparse neighbours": lambda: (KNeighborsClassifier(), sparse.csr_array(X)),
    "sparse vectors": lambda: (svm.SVC(), sparse.csr_matrix(X)),
    "calibrated": lambda: (calibration.CalibratedClassifierCV(svm.SVC(), method="isotonic"), X),
    "stacked": lambda: (
        ensemble.StackingClassifier(
            [("a", naive_bayes.GaussianNB()), ("b", ensemble.ExtraTreesClassifier(3))]
        ),
        X,
    ),
    "searched": lambda: (
        model_selection.GridSearchCV(
            svm.SVC(),
            {"C": [1.0, 2.0]},
            scoring="accuracy",
            cv=model_selection.RepeatedStratifiedKFold(n_splits=2, n_repeats=2),
        ),
        X,
    ),
    "selected": lambda: (
        make_pipeline(
            KNNImputer(),
            pre.FunctionTransformer(np.log1p),
            feature_selection.SelectKBest(feature_selection.chi2, k=3),
            decomposition.PCA(2),
            linear_model.RidgeClassifier(),
        ),
        X,
    ),
    "boosted": lambda: (ensemble.GradientBoostingClassifier(n_estimators=3), X),
    "adaptive": lambda: (ensemble.AdaBoostClassifier(n_estimators=3), X),
    "bagged": lambda: (ensemble.BaggingClassifier(n_estimators=3, max_features=0.5), X),
    "isolated": lambda: (ensemble.IsolationForest(n_estimators=3, max_features=0.5), X),
    "network": lambda: (
        neural_network.MLPClassifier(max_iter=5, solver="sgd", early_stopping=True),
        X,
    ),
    "processes": lambda: (
        gp.GaussianProcessClassifier(1.0 * kernels.RBF() + kernels.WhiteKernel(), optimizer=None),
        X,
    ),
    "counts": lambda: (linear_model.TweedieRegressor(power=1.5), X),
    "random state": lambda: (
        ensemble.RandomForestClassifier(3, random_state=np.random.RandomState(1)),
        X,
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("make", PIPELINES.values(), ids=PIPELINES.keys())
def test_common_pipelines_load(make: Callable[[], tuple[Any, Any]]) -> None:
    model, data = make()
    model.fit(data, y + 1)
    assert np.array_equal(again(model).predict(data), model.predict(data))


OF_SKLEARN_1_8 = {"sklearn.calibration._TemperatureScaling"}


@pytest.mark.parametrize("name", sorted(TRUSTED))
def test_each_trusted_type_exists(name: str) -> None:
    if name in OF_SKLEARN_1_8 and tuple(map(int, sklearn.__version__.split(".")[:2])) < (1, 8):
        pytest.skip("a later scikit-learn has it")
    module, _, attribute = name.rpartition(".")
    assert hasattr(importlib.import_module(module), attribute)


def test_types_that_call_their_arguments_are_not_trusted() -> None:
    dangerous = r"builtins|os|posix|sys|subprocess|pickle|importlib|operator|ctypes|shutil|socket"
    assert [name for name in TRUSTED if re.match(rf"_?({dangerous})\.", name)] == []
    assert [name for name in TRUSTED if re.search("load|exec|eval|open|PyFunc", name)] == []


def test_an_unfitted_model_is_saved_too(tmp_path: Path) -> None:
    model = make_pipeline(pre.StandardScaler(), ensemble.RandomForestClassifier())
    assert again(model).get_params().keys() == model.get_params().keys()
