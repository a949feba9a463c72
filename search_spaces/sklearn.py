"""Predefined spaces for scikit-learn estimators, and the construction of estimators from points.

Each function returns a plain dict of domains, keyed by the estimator's argument names. Defaults
are the estimator's defaults where these are fixed numbers. A space can be used unchanged, edited
like any dict, or used as a branch of a `Choice`. The ranges follow studies of hyperparameter
importance: Probst, Boulesteix and Bischl (2019, JMLR 20, "Tunability", table 1), van Rijn and
Hutter (2018, "Hyperparameter importance across datasets"), and the user guide of scikit-learn.

Importing this module does not import scikit-learn; `build` does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeAlias

from tuner.errors import ArgumentError
from tuner.search_spaces.categorical import Bool, Choice
from tuner.search_spaces.domains import Domain
from tuner.search_spaces.numeric import Float, Int

Params: TypeAlias = dict[str, Domain]
Task: TypeAlias = Literal["classifier", "regressor"]


def hist_gradient_boosting() -> Params:
    """Return the space of ``HistGradientBoostingClassifier`` and ``...Regressor``."""
    return {
        "learning_rate": Float(1e-3, 1.0, log=True, default=0.1),
        "max_iter": Int(20, 500, log=True, default=100),
        "max_leaf_nodes": Int(4, 256, log=True, default=31),
        "min_samples_leaf": Int(1, 100, log=True, default=20),
        "l2_regularization": Float(1e-10, 10.0, log=True),
        "max_features": Float(0.1, 1.0, default=1.0),
    }


def random_forest() -> Params:
    """Return the space of ``RandomForestClassifier`` and ``RandomForestRegressor``."""
    return {
        "n_estimators": Int(50, 500, log=True, default=100),
        "max_features": Float(0.05, 1.0),
        "min_samples_leaf": Int(1, 20, log=True, default=1),
        "bootstrap": Bool(default=True),
    }


def extra_trees() -> Params:
    """Return the space of ``ExtraTreesClassifier`` and ``ExtraTreesRegressor``."""
    return {**random_forest(), "bootstrap": Bool(default=False)}


def logistic_regression() -> Params:
    """Return the space of ``LogisticRegression``, for scaled features.

    The penalty is the default, l2: the other penalties need other solvers, and scikit-learn 1.8
    renames them.
    """
    return {
        "C": Float(1e-4, 1e4, log=True, default=1.0),
        "class_weight": Choice(None, "balanced"),
    }


def svc() -> Params:
    """Return the space of ``SVC``, for scaled features.

    The parameters of a kernel are its branch; `arguments` converts a point to plain arguments.
    """
    return {**_support_vectors(), "class_weight": Choice(None, "balanced")}


def svr() -> Params:
    """Return the space of ``SVR``, for scaled features and a scaled target; see `svc`."""
    return {**_support_vectors(), "epsilon": Float(1e-3, 1.0, log=True, default=0.1)}


def _support_vectors() -> Params:
    gamma = Float(1e-5, 10.0, log=True)
    return {
        "C": Float(1e-2, 1e3, log=True, default=1.0),
        "kernel": Choice(
            rbf={"gamma": gamma},
            linear={},
            poly={"gamma": gamma, "degree": Int(2, 4, default=3), "coef0": Float(0.0, 1.0)},
            sigmoid={"gamma": gamma, "coef0": Float(-1.0, 1.0)},
        ),
    }


def knn() -> Params:
    """Return the space of ``KNeighborsClassifier`` and ``KNeighborsRegressor``.

    Requires at least 50 rows for fitting; for fewer rows, replace ``n_neighbors`` by a smaller
    range.
    """
    return {
        "n_neighbors": Int(1, 50, log=True, default=5),
        "weights": Choice("uniform", "distance"),
        "p": Choice(1, 2, default=2),
    }


def mlp() -> Params:
    """Return the space of ``MLPClassifier`` and ``MLPRegressor``.

    Requires scaled features and, for regression, a scaled target. If training would still improve
    after ``max_iter`` epochs, scikit-learn warns that the fit has not converged.
    """
    return {
        "hidden_layer_sizes": Choice((100,), (50,), (200,), (50, 50), (100, 100)),
        "activation": Choice("relu", "tanh"),
        "alpha": Float(1e-7, 1.0, log=True, default=1e-4),
        "learning_rate_init": Float(1e-4, 1e-1, log=True, default=1e-3),
    }


def ridge() -> Params:
    """Return the space of ``Ridge``, for scaled features."""
    return {"alpha": Float(1e-5, 1e5, log=True, default=1.0)}


def elastic_net() -> Params:
    """Return the space of ``ElasticNet``, for scaled features."""
    return {
        "alpha": Float(1e-5, 1e2, log=True, default=1.0),
        "l1_ratio": Float(0.01, 1.0, default=0.5),
    }


_SPACES: dict[str, dict[str, Callable[[], Params]]] = {
    "classifier": {
        "hist_gradient_boosting": hist_gradient_boosting,
        "random_forest": random_forest,
        "extra_trees": extra_trees,
        "logistic_regression": logistic_regression,
        "svc": svc,
        "knn": knn,
        "mlp": mlp,
    },
    "regressor": {
        "hist_gradient_boosting": hist_gradient_boosting,
        "random_forest": random_forest,
        "extra_trees": extra_trees,
        "ridge": ridge,
        "elastic_net": elastic_net,
        "svr": svr,
        "knn": knn,
        "mlp": mlp,
    },
}

_FIXED: dict[str, dict[str, Any]] = {
    "logistic_regression": {"max_iter": 1_000},
    "elastic_net": {"max_iter": 10_000},
    "mlp": {"early_stopping": True},
}
"""Fixed arguments that let fits converge."""

_SCALED = {"logistic_regression", "svc", "svr", "knn", "mlp", "ridge", "elastic_net"}
_TARGET_SCALED = {"svr", "mlp"}
_RANDOM = {"hist_gradient_boosting", "random_forest", "extra_trees", "mlp"}


def classifier() -> Params:
    """Return a space with one parameter, ``model``: a choice of all classifiers in this module.

    Examples
    --------
    >>> from tuner.search_spaces import Space
    >>> Space(classifier()).columns[0].domain.options[:3]
    ('hist_gradient_boosting', 'random_forest', 'extra_trees')
    """
    return {"model": Choice(**{name: make() for name, make in _SPACES["classifier"].items()})}


def regressor() -> Params:
    """Return a space with one parameter, ``model``: a choice of all regressors in this module."""
    return {"model": Choice(**{name: make() for name, make in _SPACES["regressor"].items()})}


def arguments(params: Mapping[str, Any]) -> dict[str, Any]:
    """Flatten a point to plain arguments: a pair becomes its option and the items of its branch.

    Examples
    --------
    >>> arguments({"C": 1.0, "kernel": ("poly", {"degree": 3})})
    {'C': 1.0, 'kernel': 'poly', 'degree': 3}
    """
    plain: dict[str, Any] = {}
    for name, value in params.items():
        match value:
            case (option, dict() as branch):
                plain[name] = option
                plain |= arguments(branch)
            case _:
                plain[name] = value
    return plain


def build(
    model: tuple[str, Mapping[str, Any]],
    task: Task = "classifier",
    *,
    random_state: int | None = None,
) -> Any:
    """Return the unfitted estimator for a value of ``model``.

    Models that need scaled features are returned as a pipeline with a ``StandardScaler``.
    Regressors that need a scaled target are wrapped in a ``TransformedTargetRegressor``.

    Parameters
    ----------
    model
        The name of the model, as in `classifier` or `regressor`, and a point of its space.
    task
        ``"classifier"`` or ``"regressor"``.
    random_state
        The seed of models that draw random numbers.

    Raises
    ------
    ArgumentError
        If the task or the model is unknown.

    Examples
    --------
    >>> build(("knn", {"n_neighbors": 3, "weights": "uniform", "p": 2}))[-1].n_neighbors
    3
    """
    name, params = model
    if task not in _SPACES:
        raise ArgumentError(f"task={task!r} must be one of {', '.join(map(repr, _SPACES))}")
    if name not in _SPACES[task]:
        known = ", ".join(_SPACES[task])
        raise ArgumentError(f"model {name!r}: unknown {task}; write one of {known}")
    given = arguments(params) | _FIXED.get(name, {})
    if name in _RANDOM:
        given["random_state"] = random_state
    estimator = _estimator_class(name, task)(**given)
    if name not in _SCALED:
        return estimator
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    pipeline = make_pipeline(StandardScaler(), estimator)
    if task == "regressor" and name in _TARGET_SCALED:
        return TransformedTargetRegressor(pipeline, transformer=StandardScaler())
    return pipeline


def _estimator_class(name: str, task: Task) -> Any:
    from sklearn import ensemble, linear_model, neighbors, neural_network, svm

    ending = "Classifier" if task == "classifier" else "Regressor"
    return {
        "hist_gradient_boosting": lambda: getattr(ensemble, f"HistGradientBoosting{ending}"),
        "random_forest": lambda: getattr(ensemble, f"RandomForest{ending}"),
        "extra_trees": lambda: getattr(ensemble, f"ExtraTrees{ending}"),
        "logistic_regression": lambda: linear_model.LogisticRegression,
        "svc": lambda: svm.SVC,
        "svr": lambda: svm.SVR,
        "knn": lambda: getattr(neighbors, f"KNeighbors{ending}"),
        "mlp": lambda: getattr(neural_network, f"MLP{ending}"),
        "ridge": lambda: linear_model.Ridge,
        "elastic_net": lambda: linear_model.ElasticNet,
    }[name]()


__all__ = [
    "arguments",
    "build",
    "classifier",
    "elastic_net",
    "extra_trees",
    "hist_gradient_boosting",
    "knn",
    "logistic_regression",
    "mlp",
    "random_forest",
    "regressor",
    "ridge",
    "svc",
    "svr",
]
