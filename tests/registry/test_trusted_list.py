"""The list of trusted names is what fitted estimators of scikit-learn are made of."""

from __future__ import annotations

import inspect
import io
import json
import warnings
import zipfile
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import pytest
import sklearn
from sklearn.datasets import load_iris
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler
from sklearn.utils import all_estimators

from support.skops_nodes import names
from tuner.errors import UntrustedModel
from tuner.registry import skops_library
from tuner.registry.skops_format import load_skops
from tuner.registry.trusted import ESTIMATORS, TRUSTED

skops_io = skops_library.skops_io()

X, y = load_iris(return_X_y=True)
X, y = X[::3], y[::3]
OF_SKLEARN = tuple(map(int, sklearn.__version__.split(".")[:2]))

NOT_KEPT = {
    "Birch": "skops cannot keep it",
    "SplineTransformer": "its splines are evaluated by compiled code of SciPy that is not checked",
}
ON_NUMBERS = ("RegressorChain", "MultiOutputRegressor", "RANSACRegressor")
PARAMETERS: dict[str, dict[str, Any]] = {
    "CCA": {"n_components": 1},
    "ColumnTransformer": {"transformers": [("a", StandardScaler(), [0, 1])]},
    "FeatureUnion": {"transformer_list": [("a", StandardScaler())]},
    "FrozenEstimator": {"estimator": LogisticRegression().fit(X, y > 0)},
    "GaussianRandomProjection": {"n_components": 2},
    "GridSearchCV": {"estimator": LogisticRegression(), "param_grid": {"C": [1.0]}},
    "PLSCanonical": {"n_components": 1},
    "PLSSVD": {"n_components": 1},
    "Pipeline": {"steps": [("a", LogisticRegression())]},
    "RandomizedSearchCV": {
        "estimator": LogisticRegression(),
        "param_distributions": {"C": [1.0, 2.0]},
        "n_iter": 2,
    },
    "SparseCoder": {"dictionary": np.eye(4)},
    "SparseRandomProjection": {"n_components": 2},
}


def estimators() -> Iterator[tuple[str, Any]]:
    for name, kind in all_estimators():
        if name.startswith("Halving"):  # experimental; listed once another test has enabled them
            continue
        given = PARAMETERS.get(name)
        if given is None:
            parameters = inspect.signature(kind).parameters
            given = {}
            if "estimator" in parameters and not name.startswith(("Bagging", "AdaBoost")):
                given["estimator"] = (
                    LinearRegression() if name in ON_NUMBERS else LogisticRegression()
                )
            if "n_estimators" in parameters:
                given["n_estimators"] = 10  # more trees have no other types
            if name.startswith("HistGradientBoosting"):
                given["max_iter"] = 10
            if "estimators" in parameters:
                members = (LogisticRegression(), LogisticRegression(C=0.1))
                if "Regressor" in name:
                    members = (LinearRegression(), Ridge())
                given["estimators"] = list(zip("ab", members, strict=True))
        yield name, kind(**given)


def fit(name: str, model: Any) -> Any:
    """Fit to the first of some data that the model takes."""
    target = y > 0 if "Threshold" in name else y
    two = np.c_[y > 0, y > 1].astype(int)
    words = ["a b c", "b c d", "x y z"] * 5
    attempts = (
        lambda: model.fit(X, target),
        lambda: model.fit(X, two),
        lambda: model.fit(X[:, 0], y),
        lambda: model.fit(y),
        lambda: model.fit(words),
        lambda: model.fit([{"a": 1, "b": 2}, {"a": 2}] * 3),
        lambda: model.fit([(1, 2), (3,)]),
    )
    for attempt in attempts:
        try:
            return attempt()
        except Exception:
            continue
    return model


@cache
def files() -> dict[str, bytes]:
    found = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, model in estimators():
            if name != "Birch":
                found[name] = skops_io.dumps(fit(name, model))
    return found


@pytest.mark.slow
def test_every_scikit_learn_estimator_loads_without_opt_in() -> None:
    refused = {}
    for name, content in files().items():
        try:
            load_skops(content, frozenset())
        except UntrustedModel as error:
            refused[name] = str(error)
    assert refused.keys() == NOT_KEPT.keys() - {"Birch"}, refused


@pytest.mark.slow
@pytest.mark.skipif(OF_SKLEARN < (1, 9), reason="the list has estimators of later versions")
def test_the_list_has_no_unneeded_estimator() -> None:
    used: set[str] = set()
    for content in files().values():
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            used |= set(names(json.loads(archive.read("schema.json"))))
    assert set(ESTIMATORS) - used == set()
    needed = {name for name in used if name.startswith("sklearn.") and "_bsplines" not in name}
    assert needed - TRUSTED == set()
