"""The predefined spaces; samples of each are fitted."""

from __future__ import annotations

import inspect
import subprocess
import sys
import warnings

import numpy as np
import pytest
from sklearn.datasets import load_diabetes, load_iris
from sklearn.exceptions import ConvergenceWarning

import tuner.search_spaces.sklearn as ready
from tuner.errors import ArgumentError
from tuner.search_spaces import Space

TASKS = {
    "classifier": (ready.classifier(), load_iris(return_X_y=True)),
    "regressor": (ready.regressor(), load_diabetes(return_X_y=True)),
}
MODELS = [
    (task, name)
    for task, (space, _) in TASKS.items()
    for name in Space(space).columns[0].domain.options
]


@pytest.mark.slow
@pytest.mark.process  # scikit-learn runs lscpu to count cores
@pytest.mark.parametrize("n", [2, pytest.param(15, marks=pytest.mark.soak)])
@pytest.mark.parametrize(("task", "name"), MODELS)
def test_sampled_params_fit_a_model(task: str, name: str, n: int) -> None:
    params, (X, y) = TASKS[task]
    for point in fast(Space(params).freeze({"model": name})).sample(np.random.default_rng(0), n):
        model = ready.build(point["model"], task, random_state=0)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            if name == "mlp":
                # It is stopped after 200 epochs even if not converged: the search sees the score.
                warnings.simplefilter("ignore", ConvergenceWarning)
            predicted = model.fit(X, y).predict(X)
        assert predicted.shape == y.shape
        assert np.isfinite(predicted).all()


def fast(space: Space) -> Space:
    """Limit the numbers of trees and iterations, for speed."""
    return space.narrow(
        {
            column.path: (column.domain.low, column.domain.low + 10)
            for column in space.columns
            if column.path.endswith((".n_estimators", ".max_iter"))
        }
    )


@pytest.mark.parametrize("name", ["svr", "mlp", "ridge", "knn", "random_forest"])
def test_the_unit_of_a_target_does_not_change_the_space(name: str) -> None:
    X, y = load_diabetes(return_X_y=True)
    point = _defaults(ready.regressor()["model"].branches[name])
    in_one, in_other = (
        ready.build((name, point), "regressor", random_state=0).fit(X, y * unit).predict(X) / unit
        for unit in (1.0, 2.0**20)
    )
    assert np.allclose(in_one, in_other, rtol=1e-3)


@pytest.mark.parametrize("name", ["svr", "mlp", "ridge", "elastic_net", "hist_gradient_boosting"])
def test_a_point_of_a_regressors_space_beats_the_mean(name: str) -> None:
    X, y = load_diabetes(return_X_y=True)
    space = fast(Space(ready.regressor()).freeze({"model": name}))
    points = space.sample(np.random.default_rng(0), 5)
    scores = [
        ready.build(p["model"], "regressor", random_state=0).fit(X, y).score(X, y) for p in points
    ]
    assert max(scores) > 0.3


@pytest.mark.parametrize(("task", "name"), MODELS)
def test_defaults_equal_those_of_scikit_learn(task: str, name: str) -> None:
    params, _ = TASKS[task]
    domains = params["model"].branches[name]
    model = ready.build((name, _defaults(domains)), task)
    pipeline = getattr(model, "regressor", model)
    estimator = pipeline[-1] if hasattr(pipeline, "steps") else pipeline
    signature = inspect.signature(type(estimator))
    for parameter, domain in domains.items():
        if domain.default is not None:
            assert getattr(estimator, parameter) == signature.parameters[parameter].default


def _defaults(domains):
    defaults = Space(domains).defaults()
    return defaults if defaults is not None else Space(domains).sample(np.random.default_rng(0))


def test_a_predefined_space_is_a_plain_dict() -> None:
    space = Space({**ready.svc(), "scaler": Space(ready.knn()).params["weights"]})
    assert "kernel.poly.degree" in [column.path for column in space.columns]


@pytest.mark.parametrize(
    ("model", "task", "says"),
    [
        (("tree", {}), "classifier", "'tree': unknown classifier"),
        (("ridge", {}), "classifier", "'ridge': unknown classifier"),
        (("svc", {}), "clustering", "task='clustering'"),
    ],
)
def test_an_unknown_model_or_task_is_named(model, task, says) -> None:
    with pytest.raises(ArgumentError, match=says):
        ready.build(model, task)


@pytest.mark.process
def test_sklearn_is_imported_where_it_is_used() -> None:
    code = """
import sys
import tuner.search_spaces.sklearn as ready
ready.classifier(), ready.regressor()
assert "sklearn" not in sys.modules
ready.build(("knn", {"n_neighbors": 1}))
assert "sklearn" in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)
