"""Ready-made spaces for scikit-learn estimators, and the estimators that their points stand for.

Each function returns a plain dict of domains under the estimator's own argument names, with its
own defaults where they are fixed numbers, so a space can be taken as it is, changed like any dict,
or be a branch of a `Choice`. The ranges follow what is known to matter: Probst, Boulesteix and
Bischl (2019, JMLR 20, "Tunability", table 1), van Rijn and Hutter (2018, "Hyperparameter
importance across datasets") and the user guide of scikit-learn.

Importing this module does not import scikit-learn; `build` does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeAlias

from tuner.errors import ArgumentError
from tuner.search_spaces.categorical import Choice
from tuner.search_spaces.domains import Bool, Domain
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
    """Return the space of ``LogisticRegression``, for features of a like scale.

    The penalty is the default, l2: the others need other solvers, and are called otherwise from
    scikit-learn 1.8 on.
    """
    return {
        "C": Float(1e-4, 1e4, log=True, default=1.0),
        "class_weight": Choice(None, "balanced"),
    }


def svc() -> Params:
    """Return the space of ``SVC``, for features of a like scale.

    The kernel's own parameters are its branch; `arguments` makes plain arguments of a point.
    """
    return {**_support_vectors(), "class_weight": Choice(None, "balanced")}


def svr() -> Params:
    """Return the space of ``SVR``, for features and a target of a like scale; see `svc`."""
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

    For 50 rows to fit on, or more; for fewer, write a smaller ``n_neighbors`` in its place.
    """
    return {
        "n_neighbors": Int(1, 50, log=True, default=5),
        "weights": Choice("uniform", "distance"),
        "p": Choice(1, 2, default=2),
    }


def mlp() -> Params:
    """Return the space of ``MLPClassifier`` and ``MLPRegressor``.

    For features, and a target of a regression, of a like scale. Where an epoch more would still
    help after ``max_iter`` of them, scikit-learn warns that the fit has not converged.
    """
    return {
        "hidden_layer_sizes": Choice((100,), (50,), (200,), (50, 50), (100, 100)),
        "activation": Choice("relu", "tanh"),
        "alpha": Float(1e-7, 1.0, log=True, default=1e-4),
        "learning_rate_init": Float(1e-4, 1e-1, log=True, default=1e-3),
    }


def ridge() -> Params:
    """Return the space of ``Ridge``, for features of a like scale."""
    return {"alpha": Float(1e-5, 1e5, log=True, default=1.0)}


def elastic_net() -> Params:
    """Return the space of ``ElasticNet``, for features of a like scale."""
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
"""Arguments that are not searched, so that fits converge."""

_SCALED = {"logistic_regression", "svc", "svr", "knn", "mlp", "ridge", "elastic_net"}
_TARGET_SCALED = {"svr", "mlp"}
_RANDOM = {"hist_gradient_boosting", "random_forest", "extra_trees", "mlp"}


def classifier() -> Params:
    """Return a space with one parameter, ``model``: a choice of all the classifiers here.

    Examples
    --------
    >>> from tuner.search_spaces import Space
    >>> Space(classifier()).columns[0].domain.options[:3]
    ('hist_gradient_boosting', 'random_forest', 'extra_trees')
    """
    return {"model": Choice(**{name: make() for name, make in _SPACES["classifier"].items()})}


def regressor() -> Params:
    """Return a space with one parameter, ``model``: a choice of all the regressors here."""
    return {"model": Choice(**{name: make() for name, make in _SPACES["regressor"].items()})}


def arguments(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return plain arguments: a pair gives its option, and what is in its branch beside it.

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
    """Return the estimator that a value of ``model`` stands for, unfitted.

    Models that need features of a like scale come in a pipeline behind a ``StandardScaler``, and
    those whose fit depends on the scale of a regression's target in a
    ``TransformedTargetRegressor`` around it.

    Parameters
    ----------
    model
        Its name, as in `classifier` or `regressor`, and a point of its space.
    task
        ``"classifier"`` or ``"regressor"``.
    random_state
        For those models that draw random numbers.

    Raises
    ------
    ArgumentError
        If there is no such task or model.

    Examples
    --------
    >>> build(("knn", {"n_neighbors": 3, "weights": "uniform", "p": 2}))[-1].n_neighbors
    3
    """
    name, params = model
    if task not in _SPACES:
        raise ArgumentError(f"task={task!r}: write one of {', '.join(map(repr, _SPACES))}")
    if name not in _SPACES[task]:
        known = ", ".join(_SPACES[task])
        raise ArgumentError(f"model {name!r}: there is no such {task}; there are {known}")
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
