"""Small learning tasks of seven numeric parameters, trained at every trial in a few milliseconds.

The data ship with scikit-learn or are made by it. The loss is deterministic: the split and the seed
are fixed. Two of the tasks judge only; see `benchmarks.quality.aside`.
"""

from __future__ import annotations

import math
import warnings
from functools import cache

import numpy as np

from benchmarks.quality.problem import Problem
from tuner.records import Params
from tuner.search_spaces import Float, Int, Space

FAMILY = "learning tasks"

Split = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""Train and test data: X, y, X of the test, y of the test."""


def problems() -> list[Problem]:
    """Return the tasks that may be used to choose designs."""
    return [
        Problem("kernel ridge on diabetes", FAMILY, KERNEL, _kernel, KERNEL_BEST),
        Problem("random features on digits", FAMILY, FEATURES, _features, FEATURES_BEST),
        Problem("boosting on friedman 1", FAMILY, BOOSTING, _boosting, BOOSTING_BEST),
        Problem("extra trees on breast cancer", FAMILY, TREES, _trees, TREES_BEST),
    ]


def held_out() -> list[Problem]:
    """Return the tasks that only judge designs."""
    return [
        Problem("network on wine", FAMILY, NETWORK, _network, NETWORK_BEST),
        Problem("local regression on friedman 2", FAMILY, LOCAL, _local, LOCAL_BEST),
    ]


KERNEL_BEST, FEATURES_BEST, BOOSTING_BEST, TREES_BEST = 0.456, 0.22, 0.145, 0.095
NETWORK_BEST, LOCAL_BEST = 0.0067, 0.0455
"""Losses just below the minimum of some thousand trials of several optimizers."""


@cache
def _split(name: str) -> Split:
    """Return the standardized rows of a data set, 200 to train and at most 300 to test."""
    from sklearn import datasets

    if name == "friedman1":
        X, y = datasets.make_friedman1(500, noise=1.0, random_state=0)
    elif name == "friedman2":
        X, y = datasets.make_friedman2(500, noise=100.0, random_state=0)
    else:
        X, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(X))[:500]
    X, y = X[order].astype(float), y[order]
    n = min(200, 2 * len(X) // 3)
    X = (X - X[:n].mean(axis=0)) / (X[:n].std(axis=0) + 1e-9)
    if y.dtype.kind == "f":
        y = (y - y[:n].mean()) / y[:n].std()
    return X[:n], y[:n], X[n:], y[n:]


def _log_loss(probabilities: np.ndarray, y: np.ndarray) -> float:
    """Return the mean log loss; probabilities are mixed with 1 % of the uniform distribution."""
    k = probabilities.shape[1]
    mixed = 0.99 * probabilities[np.arange(len(y)), y] + 0.01 / k
    return float(-np.mean(np.log(mixed)))


def _squares(X: np.ndarray, Z: np.ndarray) -> np.ndarray:
    squares = np.sum(X**2, axis=1)[:, None] + np.sum(Z**2, axis=1) - 2.0 * X @ Z.T
    return np.asarray(np.maximum(squares, 0.0))


# --- kernel ridge regression ------------------------------------------------------------------

KERNEL = Space(
    {
        "scale": Float(1e-4, 1e2, log=True),
        "ridge": Float(1e-5, 1e3, log=True),
        "exponent": Float(0.3, 2.0),
        "linear": Float(1e-4, 1e1, log=True),
        "components": Int(1, 10),
        "clip": Float(0.5, 4.0),
        "whitening": Float(0.0, 1.0),
    }
)


def _kernel(p: Params) -> float:
    """Return the mean squared error of kernel ridge regression on principal components."""
    X, y, Z, t = _split("diabetes")
    X, Z = np.clip(X, -p["clip"], p["clip"]), np.clip(Z, -p["clip"], p["clip"])
    _, s, V = np.linalg.svd(X, full_matrices=False)
    axes = V[: p["components"]].T * (s[: p["components"]] / s[0]) ** -p["whitening"]
    X, Z = X @ axes, Z @ axes

    def kernel(A: np.ndarray) -> np.ndarray:
        distance = p["scale"] * _squares(A, X) / p["components"]
        return np.exp(-(distance ** (p["exponent"] / 2.0))) + p["linear"] * A @ X.T

    weights = np.linalg.solve(kernel(X) + p["ridge"] * np.eye(len(X)), y)
    return float(min(np.mean((kernel(Z) @ weights - t) ** 2), 10.0))


# --- softmax regression on random features ------------------------------------------------------

FEATURES = Space(
    {
        "rate": Float(1e-3, 1e1, log=True),
        "momentum": Float(0.0, 0.99),
        "decay": Float(1e-6, 1e0, log=True),
        "batch": Int(8, 128, log=True),
        "epochs": Int(1, 20, log=True),
        "features": Int(8, 256, log=True),
        "scale": Float(1e-3, 1e0, log=True),
    }
)


def _features(p: Params) -> float:
    """Return the log loss of softmax regression on cosine features, trained by momentum SGD."""
    X, y, Z, t = _split("digits")
    rng = np.random.default_rng(1)
    W = rng.standard_normal((X.shape[1], 256))[:, : p["features"]] * p["scale"]
    shift = rng.uniform(0.0, 2.0 * math.pi, 256)[: p["features"]]
    A, B = np.cos(X @ W + shift), np.cos(Z @ W + shift)
    targets = np.eye(10)[y]
    weights = np.zeros((p["features"], 10))
    speed = np.zeros_like(weights)
    for _ in range(p["epochs"]):
        order = rng.permutation(len(A))
        for first in range(0, len(A), p["batch"]):
            rows = order[first : first + p["batch"]]
            error = _softmax(A[rows] @ weights) - targets[rows]
            gradient = A[rows].T @ error / len(rows) + p["decay"] * weights
            speed = p["momentum"] * speed - p["rate"] * gradient
            weights = np.clip(weights + speed, -1e3, 1e3)
    return _log_loss(_softmax(B @ weights), t)


def _softmax(scores: np.ndarray) -> np.ndarray:
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


# --- trees --------------------------------------------------------------------------------------

BOOSTING = Space(
    {
        "learning_rate": Float(1e-3, 1.0, log=True),
        "n_estimators": Int(3, 40, log=True),
        "max_depth": Int(1, 5),
        "subsample": Float(0.2, 1.0),
        "max_features": Float(0.1, 1.0),
        "min_samples_leaf": Int(1, 50, log=True),
        "alpha": Float(0.5, 0.99),
    }
)


def _boosting(p: Params) -> float:
    """Return the mean squared error of gradient boosting with the Huber loss."""
    from sklearn.ensemble import GradientBoostingRegressor

    X, y, Z, t = _split("friedman1")
    model = GradientBoostingRegressor(loss="huber", random_state=0, **p).fit(X, y)
    return float(np.mean((model.predict(Z) - t) ** 2))


TREES = Space(
    {
        "n_estimators": Int(2, 20, log=True),
        "max_depth": Int(1, 12),
        "min_samples_split": Float(0.005, 0.5, log=True),
        "min_samples_leaf": Float(0.002, 0.2, log=True),
        "max_features": Float(0.03, 1.0),
        "max_samples": Float(0.1, 1.0),
        "ccp_alpha": Float(1e-5, 0.1, log=True),
    }
)


def _trees(p: Params) -> float:
    """Return the log loss of extremely randomized trees."""
    from sklearn.ensemble import ExtraTreesClassifier

    X, y, Z, t = _split("breast_cancer")
    model = ExtraTreesClassifier(bootstrap=True, random_state=0, **p).fit(X, y)
    return _log_loss(model.predict_proba(Z), t)


# --- held out -----------------------------------------------------------------------------------

NETWORK = Space(
    {
        "learning_rate_init": Float(1e-4, 1.0, log=True),
        "momentum": Float(0.0, 0.99),
        "alpha": Float(1e-6, 1e1, log=True),
        "batch_size": Int(8, 100, log=True),
        "max_iter": Int(2, 30, log=True),
        "units": Int(2, 40, log=True),
        "power_t": Float(0.05, 1.0),
    }
)


def _network(p: Params) -> float:
    """Return the log loss of a network of one hidden layer, trained with falling rates."""
    from sklearn.neural_network import MLPClassifier

    X, y, Z, t = _split("wine")
    rest = {k: v for k, v in p.items() if k != "units"}
    model = MLPClassifier(
        (p["units"],), solver="sgd", learning_rate="invscaling", random_state=0, **rest
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that some do not converge is part of their loss
        try:
            model.fit(X, y)
        except ValueError:  # the weights overflowed
            return _log_loss(np.full((len(t), 3), 1.0 / 3.0), t)
    return _log_loss(np.nan_to_num(model.predict_proba(Z), nan=1.0 / 3.0), t)


LOCAL = Space(
    {
        "neighbors": Int(2, 150, log=True),
        "power": Float(0.0, 4.0),
        "norm": Float(0.5, 4.0),
        "weighting": Float(0.0, 3.0),
        "ridge": Float(1e-4, 1e3, log=True),
        "shrinkage": Float(0.0, 1.0),
        "curvature": Float(0.0, 1.0),
    }
)


def _local(p: Params) -> float:
    """Return the mean squared error of locally weighted ridge regression."""
    X, y, Z, t = _split("friedman2")
    relevance = np.abs(X.T @ y / len(y)) ** p["weighting"]
    relevance = relevance / relevance.max()
    apart = np.abs(Z[:, None, :] - X[None, :, :]) * relevance
    distance = np.sum(apart ** p["norm"], axis=2) ** (1.0 / p["norm"])
    near = np.argsort(distance, axis=1)[:, : p["neighbors"]]
    d = np.take_along_axis(distance, near, axis=1)
    w = (1.0 - 0.99 * d / d[:, -1:]) ** p["power"]
    A = X[near] - Z[:, None, :]
    A = np.concatenate([np.ones_like(A[..., :1]), A, p["curvature"] * A**2], axis=2)
    gram = np.einsum("ink,in,inl->ikl", A, w, A)
    gram += p["ridge"] * np.diag([1e-6] + [1.0] * (A.shape[2] - 1))
    mean = y.mean()
    fitted = np.linalg.solve(gram, np.einsum("ink,in->ik", A, w * (y[near] - mean))[..., None])
    predicted = mean + (1.0 - p["shrinkage"]) * np.clip(fitted[:, 0, 0], -5.0, 5.0)
    return float(np.mean((predicted - t) ** 2))
