"""Held-out problems: they evaluate designs, and no design is chosen by them.

    python -m benchmarks.quality --aside --contestants auto,optuna-gp

Their difficulties differ from the other problems: plateaus, steps, optima at corners, many columns
of which few matter, deep branches, and real models on data that the benchmark uses only here.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from benchmarks.quality import learning
from benchmarks.quality.models import Kept, cross_validated
from benchmarks.quality.problem import Problem
from tuner.records import Params
from tuner.search_spaces import Bool, Choice, Float, Int, Ordinal, Space


def problems() -> list[Problem]:
    """Return all held-out problems."""
    return [
        *smooth_and_stepped(),
        *many_columns(),
        *mixed_and_conditional(),
        *small_data(),
        *learning.held_out(),
    ]


# --- numbers ----------------------------------------------------------------------------------


def smooth_and_stepped() -> list[Problem]:
    """Return functions of three to six numbers."""
    return [
        _numbers("styblinski-tang 5", _styblinski_tang, 5, -5.0, 5.0, -39.16616570377142 * 5),
        _numbers("michalewicz 4", _michalewicz, 4, 0.0, math.pi, -3.6988570985),
        _numbers("griewank 6", _griewank, 6, -40.0, 60.0, 0.0),
        _numbers("steps 5", _steps, 5, 0.0, 1.0, 0.0),
        _numbers("corner 6", _corner, 6, 0.0, 1.0, 0.0),
        _numbers("ridge 3", _ridge, 3, 0.0, 1.0, 0.0),
    ]


def many_columns() -> list[Problem]:
    """Return functions of 20 to 40 numbers."""
    return [
        _numbers("levy 30", _levy, 30, -5.0, 5.0, 0.0, "many columns"),
        _numbers("bowl 25", _bowl, 25, 0.0, 1.0, 0.0, "many columns"),
        _numbers("five of 40", _five, 40, 0.0, 1.0, 0.0, "many columns"),
    ]


def _numbers(
    name: str,
    function: Callable[[np.ndarray], float],
    d: int,
    low: float,
    high: float,
    best: float,
    family: str = "smooth and stepped",
) -> Problem:
    space = Space({f"x{i}": Float(low, high) for i in range(d)})

    def loss(params: Params) -> float:
        return float(function(np.array(list(params.values()))))

    return Problem(name, family, space, loss, best)


def _styblinski_tang(x: np.ndarray) -> float:
    return float(0.5 * np.sum(x**4 - 16 * x**2 + 5 * x))


def _michalewicz(x: np.ndarray) -> float:
    steep = np.sin(np.arange(1, len(x) + 1) * x**2 / math.pi) ** 20
    return -float(np.sum(np.sin(x) * steep))


def _griewank(x: np.ndarray) -> float:
    waves = np.prod(np.cos(x / np.sqrt(np.arange(1, len(x) + 1))))
    return float(np.sum(x**2) / 200 - waves + 1)


def _steps(x: np.ndarray) -> float:
    """Return a bowl whose sides are staircases of seven steps each."""
    centre = np.array([0.31, 0.62, 0.17, 0.84, 0.48])
    return float(np.sum(np.floor(7 * np.abs(x - centre)) ** 2))


def _corner(x: np.ndarray) -> float:
    """Return a slope that falls towards a corner, by a factor of ten in the last tenth."""
    return float(np.log1p(100 * np.mean(x[::2]) + 100 * np.mean(1 - x[1::2])))


def _ridge(x: np.ndarray) -> float:
    """Return a narrow valley along a line that is oblique to all axes."""
    along = np.array([0.3, 0.7, 0.65]) / math.sqrt(0.09 + 0.49 + 0.4225)
    z = x - np.array([0.35, 0.45, 0.3])
    across = z - (z @ along) * along
    return float(math.sqrt(across @ across) + 0.1 * (z @ along) ** 2)


def _levy(x: np.ndarray) -> float:
    w = 1.0 + (x - 1.0) / 4.0
    middle = np.sum((w[:-1] - 1) ** 2 * (1 + 10 * np.sin(math.pi * w[:-1] + 1) ** 2))
    last = (w[-1] - 1) ** 2 * (1 + math.sin(2 * math.pi * w[-1]) ** 2)
    return float(math.sin(math.pi * w[0]) ** 2 + middle + last)


def _bowl(x: np.ndarray) -> float:
    """Return a bowl in which the weight of a column decreases with its index."""
    centre = np.random.default_rng(25).uniform(0.1, 0.9, len(x))
    return float(np.sum((x - centre) ** 2 / np.arange(1, len(x) + 1)))


def _five(x: np.ndarray) -> float:
    """Return a function of five columns in pairs; the other columns do nothing."""
    a, b, c, d, e = x[[3, 11, 19, 27, 35]] - np.array([0.7, 0.2, 0.55, 0.35, 0.8])
    return float((a + b) ** 2 + (a - 2 * c) ** 2 + abs(d) * (1 + 2 * abs(b)) + e**2)


# --- mixed and conditional --------------------------------------------------------------------


def mixed_and_conditional() -> list[Problem]:
    """Return functions of numbers and categories, three of them with branches."""
    schedule = Space(
        {
            "optimizer": Choice(
                sgd={"rate": Float(1e-4, 1.0, log=True), "momentum": Float(0.0, 0.99)},
                adam={"rate": Float(1e-6, 1e-1, log=True), "beta": Float(0.8, 0.999)},
            ),
            "warmup": Choice("none", linear={"share": Float(0.01, 0.5)}),
            "batch": Int(8, 512, log=True),
            "augment": Choice("none", "flip", "crop", "both"),
        }
    )
    deep = Space(
        {
            "a": Choice(
                l={"b": Choice(l={"x": Float(0, 1)}, r={"x": Float(0, 1), "y": Float(0, 1)})},
                r={"b": Choice("s", "t", u={"n": Int(0, 20)})},
            ),
            "z": Float(-1.0, 1.0),
        }
    )
    switches = Space({f"s{i}": Bool() for i in range(14)})
    table = Space(
        {
            "row": Choice(*"abcdefg"),
            "column": Choice(*"pqrstuvw"),
            "level": Ordinal(*range(12)),
            "x": Float(0.0, 1.0),
        }
    )
    family = "mixed and conditional"
    return [
        Problem("schedule", family, schedule, _schedule, 0.0),
        Problem("deep", family, deep, _deep, 0.0),
        Problem("switches", family, switches, _switches, 0.0),
        Problem("table", family, table, _table, 0.0),
    ]


def _schedule(p: Params) -> float:
    kind, o = p["optimizer"]
    batch = math.log2(p["batch"] / 64)
    if kind == "sgd":
        loss = 0.05 + 0.3 * (math.log10(o["rate"]) + 1 - 0.15 * batch) ** 2
        loss += 0.5 * (o["momentum"] - 0.9) ** 2
    else:
        loss = 0.4 * (math.log10(o["rate"]) + 3 - 0.1 * batch) ** 2 + 2 * (o["beta"] - 0.9) ** 2
    warmup, inner = p["warmup"]
    loss += 0.2 if warmup == "none" else abs(inner["share"] - 0.1)
    loss += {"none": 0.3, "flip": 0.1, "crop": 0.12, "both": 0.0}[p["augment"]]
    return loss + 0.02 * batch**2


def _deep(p: Params) -> float:
    side, o = p["a"]
    loss = (p["z"] - 0.25) ** 2
    if side == "l":
        kind, inner = o["b"]
        if kind == "l":
            return float(loss + 0.15 + (inner["x"] - 0.3) ** 2)
        return float(loss + (inner["x"] - 0.8) ** 2 + (inner["y"] - inner["x"] + 0.4) ** 2)
    kind, inner = o["b"]
    loss += {"s": 0.3, "t": 0.5, "u": 0.1}[kind]
    return float(loss + (0.02 * abs(inner["n"] - 13) if kind == "u" else 0.0))


def _switches(p: Params) -> float:
    """Return a loss over fourteen switches; neighboring switches should match a pattern."""
    wrong = np.array([p[f"s{i}"] != (i % 3 == 0) for i in range(14)], dtype=float)
    return float(wrong.sum() + 2 * np.sum(wrong[1:] * wrong[:-1]))


def _table(p: Params) -> float:
    rng = np.random.default_rng(41)
    base = rng.uniform(0.0, 1.0, (7, 1)) + rng.uniform(0.0, 1.0, (1, 8))
    base += rng.uniform(0.0, 0.4, (7, 8))
    places = rng.integers(0, 12, 7)
    row, column = "abcdefg".index(p["row"]), "pqrstuvw".index(p["column"])
    loss = base[row, column] - base.min() + 0.05 * abs(p["level"] - places[row])
    return float(loss + (p["x"] - 0.5 + 0.05 * column) ** 2)


# --- real models ------------------------------------------------------------------------------


def small_data() -> list[Problem]:
    """Return tasks on scikit-learn's wine and iris data, trained on demand."""
    forest = Space(
        {
            "criterion": Choice("gini", "entropy"),
            "max_features": Float(0.05, 1.0),
            "min_samples_split": Float(0.005, 0.5, log=True),
            "max_samples": Float(0.1, 1.0),
            "ccp_alpha": Float(1e-4, 0.3, log=True),
        }
    )
    scaled = Space(
        {
            "scaler": Choice("none", "standard", "robust"),
            "reduce": Choice("none", pca={"n": Int(1, 10)}),
            "model": Choice(
                logistic={"C": Float(1e-4, 1e4, log=True)},
                discriminant={"shrinkage": Float(0.0, 1.0)},
                svm={"C": Float(1e-3, 1e3, log=True), "gamma": Float(1e-5, 1e1, log=True)},
            ),
        }
    )
    network = Space(
        {
            "alpha": Float(1e-7, 1e1, log=True),
            "learning_rate_init": Float(1e-5, 1.0, log=True),
            "batch_size": Int(4, 64, log=True),
            "units": Int(2, 64, log=True),
            "layers": Int(1, 3),
            "activation": Choice("relu", "tanh", "logistic"),
        }
    )
    family = "small data"
    return [
        Problem("forest on wine", family, forest, Kept("forest-wine", _forest), FOREST_BEST),
        Problem(
            "pipeline on wine", family, scaled, Kept("pipeline-wine", _pipeline), PIPELINE_BEST
        ),
        Problem("network on iris", family, network, Kept("network-iris", _network), NETWORK_BEST),
    ]


FOREST_BEST, PIPELINE_BEST, NETWORK_BEST = 0.109, 0.048, 0.058
"""Log losses just below the minimum of some thousand trials."""


def _forest(params: Params) -> float:
    from sklearn.ensemble import RandomForestClassifier

    return cross_validated(
        RandomForestClassifier(n_estimators=15, random_state=0, **params), "wine", "neg_log_loss"
    )


def _pipeline(params: Params) -> float:
    from sklearn.decomposition import PCA
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import RobustScaler, StandardScaler
    from sklearn.svm import SVC

    kind, options = params["model"]
    made = {
        "logistic": lambda: LogisticRegression(max_iter=200, **options),
        "discriminant": lambda: LinearDiscriminantAnalysis(solver="lsqr", **options),
        "svm": lambda: SVC(probability=True, random_state=0, **options),
    }
    scaler = {"none": "passthrough", "standard": StandardScaler(), "robust": RobustScaler()}
    reduce, inner = params["reduce"]
    pca = "passthrough" if reduce == "none" else PCA(inner["n"])
    model = make_pipeline(scaler[params["scaler"]], pca, made[kind]())
    return cross_validated(model, "wine", "neg_log_loss")


def _network(params: Params) -> float:
    from sklearn.neural_network import MLPClassifier

    shape = (params["units"],) * params["layers"]
    rest = {k: v for k, v in params.items() if k not in ("units", "layers")}
    model = MLPClassifier(hidden_layer_sizes=shape, max_iter=25, random_state=0, **rest)
    return cross_validated(model, "iris", "neg_log_loss")
