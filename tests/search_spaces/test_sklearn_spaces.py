"""The ready-made spaces, each by fitting samples of it."""

from __future__ import annotations

import inspect
import warnings

import numpy as np
import pytest
from sklearn.datasets import load_diabetes, load_iris
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

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


@pytest.mark.parametrize(("task", "name"), MODELS)
def test_samples_fit(task: str, name: str) -> None:
    params, (X, y) = TASKS[task]
    if task == "regressor":
        y = (y - y.mean()) / y.std()
    space = Space(params).freeze({"model": name})
    if name == "hist_gradient_boosting":
        space = space.narrow({"model.hist_gradient_boosting.max_iter": (20, 30)})
    rng = np.random.default_rng(0)
    for point in space.sample(rng, 6):
        model = ready.build(point["model"], task, random_state=0)
        with warnings.catch_warnings(), threadpool_limits(1):
            warnings.simplefilter("error")
            # A network is stopped after 200 epochs whatever it has learned, and coordinate
            # descent may want more where hardly anything is penalised: the search sees the score.
            warnings.simplefilter("ignore", ConvergenceWarning)
            assert len(model.fit(X, y).predict(X)) == len(y)


@pytest.mark.parametrize(("task", "name"), MODELS)
def test_defaults_are_scikit_learns(task: str, name: str) -> None:
    params, _ = TASKS[task]
    domains = params["model"].branches[name]
    model = ready.build((name, _defaults(domains)), task)
    estimator = model[-1] if hasattr(model, "steps") else model
    signature = inspect.signature(type(estimator))
    for parameter, domain in domains.items():
        if domain.default is not None:
            assert getattr(estimator, parameter) == signature.parameters[parameter].default


def _defaults(domains):
    defaults = Space(domains).defaults()
    return defaults if defaults is not None else Space(domains).sample(np.random.default_rng(0))


def test_a_space_is_a_dict_like_any_other() -> None:
    space = Space({**ready.svc(), "scaler": Space(ready.knn()).params["weights"]})
    assert "kernel.poly.degree" in [column.path for column in space.columns]


@pytest.mark.parametrize(
    ("model", "task", "says"),
    [
        (("tree", {}), "classifier", "'tree': there is no such classifier"),
        (("ridge", {}), "classifier", "'ridge': there is no such classifier"),
        (("svc", {}), "clustering", "task='clustering'"),
    ],
)
def test_an_unknown_model_or_task_is_named(model, task, says) -> None:
    with pytest.raises(ArgumentError, match=says):
        ready.build(model, task)
