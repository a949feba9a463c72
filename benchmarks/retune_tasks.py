"""Shifted versions of tasks that scikit-learn ships, each with a cheap model and its space.

The first half of the rows is the data of the old study. The second half, shifted, is the new data.
The loss is the log loss or the squared error of three folds, so it is smooth in the params.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import log_softmax
from sklearn import datasets
from sklearn.ensemble import ExtraTreesClassifier, GradientBoostingRegressor, RandomForestRegressor
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import ElasticNet, LogisticRegression
from sklearn.model_selection import KFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, SVR
from sklearn.tree import DecisionTreeClassifier

from tuner import Choice, Float, Int, Space

Data = tuple[np.ndarray, np.ndarray]
Params = dict[str, Any]

# --- models -----------------------------------------------------------------------------------


def svc(params: Params) -> Any:
    return make_pipeline(StandardScaler(), SVC(**params, decision_function_shape="ovr"))


def logistic(params: Params) -> Any:
    weights = params.pop("balanced")
    model = LogisticRegression(
        **params, max_iter=60, class_weight="balanced" if weights == "yes" else None
    )
    return make_pipeline(StandardScaler(), model)


def neighbors(params: Params) -> Any:
    return make_pipeline(StandardScaler(), KNeighborsClassifier(**params))


def tree(params: Params) -> Any:
    return DecisionTreeClassifier(**params, random_state=0)


def extra_trees(params: Params) -> Any:
    return ExtraTreesClassifier(**params, n_estimators=15, random_state=0)


def kernel_ridge(params: Params) -> Any:
    return make_pipeline(StandardScaler(), KernelRidge(kernel="rbf", **params))


def svr(params: Params) -> Any:
    return make_pipeline(StandardScaler(), SVR(**params))


def boosting(params: Params) -> Any:
    return GradientBoostingRegressor(**params, random_state=0)


def forest(params: Params) -> Any:
    return RandomForestRegressor(**params, n_estimators=15, random_state=0)


def elastic_net(params: Params) -> Any:
    return make_pipeline(StandardScaler(), ElasticNet(**params, max_iter=500))


SPACES: dict[Callable[[Params], Any], dict[str, Any]] = {
    svc: {"C": Float(1e-3, 1e4, log=True), "gamma": Float(1e-6, 10.0, log=True)},
    logistic: {"C": Float(1e-5, 1e3, log=True), "balanced": Choice("no", "yes")},
    neighbors: {
        "n_neighbors": Int(1, 30, log=True),
        "p": Float(1.0, 5.0),
        "weights": Choice("uniform", "distance"),
    },
    tree: {
        "max_depth": Int(1, 20),
        "min_samples_leaf": Int(1, 60, log=True),
        "max_features": Float(0.05, 1.0),
        "ccp_alpha": Float(1e-5, 0.1, log=True),
    },
    extra_trees: {
        "max_depth": Int(1, 20),
        "min_samples_leaf": Int(1, 30, log=True),
        "max_features": Float(0.02, 1.0),
        "criterion": Choice("gini", "entropy"),
    },
    kernel_ridge: {"alpha": Float(1e-4, 1e2, log=True), "gamma": Float(1e-6, 10.0, log=True)},
    svr: {
        "C": Float(1e-2, 1e4, log=True),
        "gamma": Float(1e-6, 10.0, log=True),
        "epsilon": Float(1e-3, 100.0, log=True),
    },
    boosting: {
        "learning_rate": Float(1e-3, 1.0, log=True),
        "n_estimators": Int(5, 80, log=True),
        "max_depth": Int(1, 6),
        "subsample": Float(0.3, 1.0),
        "min_samples_leaf": Int(1, 40, log=True),
    },
    forest: {
        "max_depth": Int(1, 15),
        "min_samples_leaf": Int(1, 40, log=True),
        "max_features": Float(0.1, 1.0),
        "max_samples": Float(0.2, 1.0),
    },
    elastic_net: {"alpha": Float(1e-4, 1e2, log=True), "l1_ratio": Float(0.0, 1.0)},
}

# --- shifts -----------------------------------------------------------------------------------


def scaled(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> Data:
    """Scale every feature by its own factor between 1/3 and 3, and add an offset."""
    factors = np.exp(rng.uniform(-math.log(3), math.log(3), x.shape[1]))
    return x * factors + 0.5 * x.std(axis=0) * rng.normal(size=x.shape[1]), y


def rotated(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> Data:
    """Rotate the standardized features by a random rotation near the identity."""
    z = (x - x.mean(axis=0)) / (x.std(axis=0) + 1e-9)
    q, _ = np.linalg.qr(np.eye(x.shape[1]) + 0.3 * rng.normal(size=(x.shape[1],) * 2))
    return z @ q, y


def noisy(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> Data:
    """Add noise of 0.7 standard deviations to every feature."""
    return x + 0.7 * x.std(axis=0) * rng.normal(size=x.shape), y


def mixed(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> Data:
    """Keep a fifth of the rows of half of the classes."""
    classes = np.unique(y)
    rare = rng.choice(classes, len(classes) // 2, replace=False)
    kept = ~np.isin(y, rare) | (rng.random(len(y)) < 0.2)
    return x[kept], y[kept]


def quantile(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> Data:
    """Keep the rows in the upper 60 % of a random projection."""
    z = (x - x.mean(axis=0)) / (x.std(axis=0) + 1e-9)
    side = z @ rng.normal(size=x.shape[1])
    kept = side > np.quantile(side, 0.4)
    return x[kept], y[kept]


def mislabeled(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> Data:
    """Replace 15 % of the labels by labels of other rows."""
    y = y.copy()
    wrong = rng.random(len(y)) < 0.15
    y[wrong] = rng.permutation(y)[wrong]
    return x, y


# --- tasks ------------------------------------------------------------------------------------

LOAD = {
    "digits": datasets.load_digits,
    "cancer": datasets.load_breast_cancer,
    "wine": datasets.load_wine,
    "diabetes": datasets.load_diabetes,
}


@dataclass(frozen=True)
class Task:
    """A model on the old and on the shifted new data of a data set."""

    data: str
    model: Callable[[Params], Any]
    shift: Callable[[np.ndarray, np.ndarray, np.random.Generator], Data]

    @property
    def name(self) -> str:
        """The data, the model and the shift."""
        return f"{self.data} {self.model.__name__} {self.shift.__name__}"

    @property
    def space(self) -> Space:
        """The search space of the model."""
        return Space(SPACES[self.model])

    def losses(self, seed: int) -> tuple[Loss, Loss]:
        """Return the loss on the old and on the new data, each of params."""
        x, y = LOAD[self.data](return_X_y=True)
        rng = np.random.default_rng([seed, 19])
        rows = rng.permutation(len(y))[:700]
        first, second = rows[: len(rows) // 2], rows[len(rows) // 2 :]
        new = self.shift(x[second], y[second], rng)
        return Loss(self.model, (x[first], y[first])), Loss(self.model, new)


class Loss:
    """The mean loss of params over the rows of three folds; computed once."""

    def __init__(self, model: Callable[[Params], Any], data: Data) -> None:
        self._model, self._data = model, data
        self._known: dict[str, np.ndarray] = {}

    def __call__(self, params: Params) -> float:
        """Return the mean."""
        return float(self._rows(params).mean())

    def error(self, params: Params) -> float:
        """Return the standard error of the mean over the rows."""
        rows = self._rows(params)
        return float(rows.std() / math.sqrt(len(rows)))

    def _rows(self, params: Params) -> np.ndarray:
        key = repr(sorted(params.items()))
        if key not in self._known:
            x, y = self._data
            folds = KFold(3, shuffle=True, random_state=0).split(x)
            parts = [_of_fold(self._model(dict(params)), x, y, *fold) for fold in folds]
            self._known[key] = np.concatenate(parts)
        return self._known[key]


def _of_fold(
    model: Any, x: np.ndarray, y: np.ndarray, train: np.ndarray, test: np.ndarray
) -> np.ndarray:
    """Return the loss of each test row."""
    fitted = model.fit(x[train], y[train])
    if not hasattr(fitted, "classes_"):
        return np.asarray((fitted.predict(x[test]) - y[test]) ** 2 / y.var())
    if hasattr(fitted, "predict_proba"):
        shares = fitted.predict_proba(x[test])
        scores = np.log(0.98 * shares + 0.02 / shares.shape[1])  # a share of 0 has no logarithm
    else:
        margins = fitted.decision_function(x[test])
        margins = np.column_stack([-margins, margins]) if margins.ndim == 1 else margins
        scores = log_softmax(2.0 * margins, axis=1)
    classes = list(fitted.classes_)
    known = np.isin(y[test], classes)
    lost = np.full(len(test), math.log(100.0))
    places = np.searchsorted(classes, y[test][known])
    lost[known] = -scores[np.flatnonzero(known), places]
    return lost


CHOSEN = (
    Task("digits", svc, noisy),
    Task("cancer", svc, rotated),
    Task("wine", neighbors, scaled),
    Task("diabetes", kernel_ridge, quantile),
    Task("digits", extra_trees, mixed),
    Task("cancer", tree, mislabeled),
    Task("diabetes", boosting, noisy),
)
"""Tasks on which the re-tune was chosen."""

ASIDE = (
    Task("diabetes", forest, rotated),
    Task("digits", neighbors, quantile),
    Task("cancer", logistic, mixed),
    Task("wine", svc, mislabeled),
    Task("diabetes", svr, scaled),
    Task("digits", tree, noisy),
    Task("diabetes", elastic_net, quantile),
)
"""Tasks that confirm it."""
