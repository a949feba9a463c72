"""Real scikit-learn tasks on the data it ships: recorded tables, and models trained in the search.

The recorded ones are whole grids of a pipeline with branches, trained and cross-validated once::

    python -m benchmarks.quality.models      # records them again, a few minutes

The others train at every trial; results are cached on this machine for later runs.
"""

from __future__ import annotations

import gzip
import json
import sys
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.quality.problem import Problem
from tuner.records import Params
from tuner.search_spaces import Choice, Float, Int, Ordinal, Space

RECORDED = Path(__file__).parent / "recorded"
DATA_SETS = ("digits", "breast_cancer", "diabetes")
REGRESSION = ("diabetes",)
ROOT_MEAN_SQUARE = "neg_root_mean_squared_error"

GRID = Space(
    {
        "scaler": Choice("none", "standard", "quantile"),
        "model": Choice(
            linear={"C": Ordinal(*np.geomspace(1e-4, 1e4, 9).tolist())},
            neighbors={
                "n_neighbors": Ordinal(1, 2, 3, 4, 6, 9, 13, 19, 28, 40),
                "weights": Choice("uniform", "distance"),
                "p": Ordinal(1, 2),
            },
            svm={
                "C": Ordinal(*np.geomspace(1e-3, 1e3, 7).tolist()),
                "kernel": Choice(
                    "linear",
                    rbf={"gamma": Ordinal(*np.geomspace(1e-4, 1e1, 6).tolist())},
                    poly={"degree": Ordinal(2, 3, 4), "coef0": Ordinal(0.0, 0.5, 1.0)},
                ),
            },
            forest={
                "max_features": Ordinal(0.05, 0.1, 0.2, 0.4, 0.7, 1.0),
                "min_samples_leaf": Ordinal(1, 2, 4, 8, 16),
                "max_depth": Ordinal(2, 4, 8, 16),
            },
            network={
                "activation": Choice("relu", "tanh"),
                "units": Ordinal(4, 8, 16, 32),
                "alpha": Ordinal(1e-5, 1e-3, 1e-1, 10.0),
                "rate": Ordinal(1e-4, 1e-3, 1e-2, 1e-1),
            },
        ),
    }
)
"""What is recorded of each data set: 1,227 pipelines."""


def problems() -> list[Problem]:
    """Return the recorded tables and the tasks that train."""
    return recorded() + trained()


# --- recorded ---------------------------------------------------------------------------------


def recorded() -> list[Problem]:
    """Return one problem for each data set: any pipeline of `GRID`, its loss looked up."""
    return [_recorded(data) for data in DATA_SETS]


def _recorded(data: str) -> Problem:
    with gzip.open(RECORDED / f"{data}.json.gz", "rt") as file:
        losses: dict[str, float] = json.load(file)
    return Problem(
        f"recorded/{data}",
        "recorded pipelines",
        GRID,
        lambda params: losses[_key(params)],
        min(losses.values()),
    )


def _key(params: Params) -> str:
    return json.dumps(GRID.flatten(params))


def record(data: str) -> None:
    """Train every pipeline of the grid on one data set."""
    losses: dict[str, float] = {}
    trees: dict[str, float] = {}  # which no scaler changes by more than chance
    for params in GRID.grid(100):
        kind, options = params["model"]
        if kind == "forest":
            shared = json.dumps(options)
            trees[shared] = trees.get(shared) or pipeline_loss(data, params)
            losses[_key(params)] = trees[shared]
        else:
            losses[_key(params)] = pipeline_loss(data, params)
    RECORDED.mkdir(exist_ok=True)
    with gzip.GzipFile(RECORDED / f"{data}.json.gz", "wb", mtime=0) as file:
        file.write(json.dumps({k: round(v, 6) for k, v in losses.items()}).encode())
    print(data, len(losses), "pipelines, best", min(losses.values()), file=sys.stderr)


def pipeline_loss(data: str, params: Params) -> float:
    """Return the cross-validated error: share of wrong classes, or the root mean square."""
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import QuantileTransformer, StandardScaler

    regression = data in REGRESSION
    scaler = {
        "none": "passthrough",
        "standard": StandardScaler(),
        "quantile": QuantileTransformer(n_quantiles=100),
    }[params["scaler"]]
    model = make_pipeline(scaler, _model(regression, *params["model"]))
    return cross_validated(model, data, ROOT_MEAN_SQUARE if regression else "accuracy")


def _model(regression: bool, kind: str, options: dict[str, Any]) -> Any:
    from sklearn import ensemble, linear_model, neighbors, neural_network, svm

    if kind == "linear":
        if regression:
            return linear_model.Ridge(alpha=1.0 / options["C"])
        return linear_model.LogisticRegression(C=options["C"], max_iter=200)
    if kind == "neighbors":
        kinds = (neighbors.KNeighborsClassifier, neighbors.KNeighborsRegressor)
        return kinds[regression](**options)
    if kind == "svm":
        kernel = options["kernel"]
        name, inner = kernel if isinstance(kernel, tuple) else (kernel, {})
        return (svm.SVC, svm.SVR)[regression](C=options["C"], kernel=name, max_iter=20_000, **inner)
    if kind == "forest":
        kinds = (ensemble.RandomForestClassifier, ensemble.RandomForestRegressor)
        return kinds[regression](n_estimators=30, random_state=0, **options)
    kinds = (neural_network.MLPClassifier, neural_network.MLPRegressor)
    return kinds[regression](
        hidden_layer_sizes=(options["units"],),
        activation=options["activation"],
        alpha=options["alpha"],
        learning_rate_init=options["rate"],
        max_iter=60,
        random_state=0,
    )


def cross_validated(model: Any, data: str, scoring: str = "accuracy") -> float:
    """Return minus the mean score of three folds; for accuracy, 1 minus the mean."""
    from sklearn.model_selection import cross_val_score

    X, y = data_of(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that some do not converge is part of their loss
        score = float(np.mean(cross_val_score(model, X, y, cv=3, scoring=scoring)))
    return 1.0 - score if scoring == "accuracy" else -score


@cache
def data_of(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return at most 600 rows of a data set that scikit-learn ships, shuffled: X, y."""
    from sklearn import datasets

    X, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(X))[:600]
    X, y = X[order], y[order]
    return X, (y - y.mean()) / y.std() if name in REGRESSION else y


# --- trained ----------------------------------------------------------------------------------


def trained() -> list[Problem]:
    """Return tasks whose models are trained when they are asked for."""
    support = Space(
        {
            "C": Float(1e-3, 1e4, log=True),
            "kernel": Choice(
                rbf={"gamma": Float(1e-6, 1.0, log=True)},
                poly={"degree": Int(2, 6), "gamma": Float(1e-6, 1.0, log=True)},
                sigmoid={"gamma": Float(1e-6, 1.0, log=True), "coef0": Float(-2.0, 2.0)},
            ),
        }
    )
    boosting = Space(
        {
            "learning_rate": Float(1e-3, 1.0, log=True),
            "n_estimators": Int(5, 80, log=True),
            "max_depth": Int(1, 8),
            "subsample": Float(0.2, 1.0),
            "max_features": Float(0.1, 1.0),
            "min_samples_leaf": Int(1, 60, log=True),
        }
    )
    return [
        Problem("svm on digits", "trained", support, Kept("digits", _svm_loss), 0.0216),
        Problem("boosting on diabetes", "trained", boosting, Kept("boosting", _boosting_loss), 0.7),
    ]


class Kept:
    """A loss that is worked out once for each point, on this machine."""

    folder = Path(".build/quality/trained")

    def __init__(self, name: str, loss: Callable[[Params], float]) -> None:
        self._path = self.folder / f"{name}.jsonl"
        self._loss = loss

    def __call__(self, params: Params) -> float:
        """Return the loss at a point."""
        known, key = _kept(self._path), json.dumps(params)
        if key not in known:
            known[key] = self._loss(params)
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a") as file:
                file.write(json.dumps([key, known[key]]) + "\n")
        return known[key]


@cache
def _kept(path: Path) -> dict[str, float]:
    return dict(map(json.loads, path.read_text().splitlines())) if path.exists() else {}


def _svm_loss(params: Params) -> float:
    from sklearn.svm import SVC

    kind, options = params["kernel"]
    return cross_validated(SVC(C=params["C"], kernel=kind, max_iter=20_000, **options), "digits")


def _boosting_loss(params: Params) -> float:
    from sklearn.ensemble import GradientBoostingRegressor

    model = GradientBoostingRegressor(random_state=0, **params)
    return cross_validated(model, "diabetes", ROOT_MEAN_SQUARE)


if __name__ == "__main__":
    for name in DATA_SETS:
        record(name)
