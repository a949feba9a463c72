"""Compare TunerSearchCV with the searches of scikit-learn and Optuna at the same number of fits.

Every data set ships with scikit-learn or is made by it. Half of each is held out. On the other half
each search has the same number of fits, in turn and in one process, for a support vector machine
and for an ensemble of trees. Two scores of the best params are compared: the mean of a
cross-validation with the folds of the search, and the score on the held-out half. Scores are
accuracies, or R² of regressions. Then the overhead of a fit over RandomizedSearchCV is measured
with a trivial estimator. Prints a table, then one line of JSON::

    python -m benchmarks.search_cv [--quick] [--candidates 30] [--seeds 3]

OptunaSearchCV takes part if the package optuna-integration is installed; otherwise a loop of Optuna
around cross_val_score does.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

for threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(threads, "1")

import numpy as np  # noqa: E402
import optuna  # noqa: E402
from scipy.stats import loguniform, randint, uniform  # noqa: E402
from sklearn import datasets  # noqa: E402
from sklearn.base import clone  # noqa: E402
from sklearn.dummy import DummyClassifier  # noqa: E402
from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor  # noqa: E402
from sklearn.experimental import enable_halving_search_cv  # noqa: E402, F401
from sklearn.model_selection import (  # noqa: E402
    HalvingRandomSearchCV,
    RandomizedSearchCV,
    cross_val_score,
    train_test_split,
)
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402
from sklearn.svm import SVC, SVR  # noqa: E402

from tuner.sklearn import TunerSearchCV  # noqa: E402

try:
    from optuna_integration import OptunaSearchCV
except ImportError:
    OptunaSearchCV = None

FOLDS = 3
ROWS = 600
"""Maximum number of rows of a data set."""

Data: TypeAlias = tuple[Any, Any]
Space: TypeAlias = dict[str, Any]


def _made() -> dict[str, Callable[[], Data]]:
    """Return the data sets by name; regressions begin with ``r-``."""
    return {
        "iris": lambda: datasets.load_iris(return_X_y=True),
        "wine": lambda: datasets.load_wine(return_X_y=True),
        "breast-cancer": lambda: datasets.load_breast_cancer(return_X_y=True),
        "digits": lambda: datasets.load_digits(return_X_y=True),
        "moons": lambda: datasets.make_moons(500, noise=0.3, random_state=0),
        "circles": lambda: datasets.make_circles(500, noise=0.2, factor=0.5, random_state=0),
        "hastie": lambda: datasets.make_hastie_10_2(ROWS, random_state=0),
        "clusters": lambda: datasets.make_classification(
            ROWS, 20, n_informative=8, n_classes=4, n_clusters_per_class=2, random_state=0
        ),
        "flipped": lambda: datasets.make_classification(
            ROWS, 10, n_informative=5, flip_y=0.1, class_sep=0.7, random_state=1
        ),
        "r-diabetes": lambda: datasets.load_diabetes(return_X_y=True),
        "r-friedman-1": lambda: datasets.make_friedman1(500, noise=1.0, random_state=0),
        "r-friedman-2": lambda: datasets.make_friedman2(500, noise=50.0, random_state=0),
        "r-friedman-3": lambda: datasets.make_friedman3(500, noise=0.1, random_state=0),
    }


@dataclass(frozen=True)
class Task:
    """An estimator, its space, and a data set of which half is held out."""

    estimator: Any
    space: Space
    data: tuple[Any, Any, Any, Any]

    def scores(self, params: dict[str, Any]) -> tuple[float, float]:
        """Return the cross-validated and the held-out score of params."""
        X, held_X, y, held_y = self.data
        model = clone(self.estimator).set_params(**params)
        mean = cross_val_score(model, X, y, cv=FOLDS).mean()
        return float(mean), float(model.fit(X, y).score(held_X, held_y))


def tasks(names: list[str]) -> dict[str, Task]:
    """Return two tasks for each data set."""
    made, found = _made(), {}
    for name in names:
        X, y = made[name]()
        regression = name.startswith("r-")
        X, y = X[:ROWS], ((y - y.mean()) / y.std() if regression else y)[:ROWS]
        data = train_test_split(
            X, y, test_size=0.5, random_state=0, stratify=None if regression else y
        )
        machine, step = (SVR(), "svr") if regression else (SVC(), "svc")
        trees = (ExtraTreesRegressor if regression else ExtraTreesClassifier)(20, random_state=0)
        found[f"{name}/svm"] = Task(
            make_pipeline(StandardScaler(), machine),
            {f"{step}__C": loguniform(1e-3, 1e3), f"{step}__gamma": loguniform(1e-5, 10)},
            tuple(data),
        )
        found[f"{name}/trees"] = Task(
            trees,
            {
                "max_features": uniform(0.05, 0.95),
                "min_samples_leaf": randint(1, 20),
                "min_samples_split": randint(2, 40),
                "max_depth": randint(2, 20),
            },
            tuple(data),
        )
    return found


Search: TypeAlias = Callable[[Task, int, int], dict[str, Any]]
"""Returns the best params of a task, given the number of candidates and the seed."""


def by_random(task: Task, n: int, seed: int) -> dict[str, Any]:
    search = RandomizedSearchCV(
        task.estimator, task.space, n_iter=n, cv=FOLDS, random_state=seed, refit=False
    )
    return dict(search.fit(task.data[0], task.data[2]).best_params_)


def by_halving(task: Task, n: int, seed: int) -> dict[str, Any]:
    """Search with the smallest number of candidates that leads to `n` evaluations in all rounds."""
    search = HalvingRandomSearchCV(
        task.estimator,
        task.space,
        n_candidates=next(first for first in range(1, n + 1) if _evaluations(first) >= n),
        cv=FOLDS,
        random_state=seed,
        refit=False,
        min_resources="exhaust",  # the last round has all rows
    )
    return dict(search.fit(task.data[0], task.data[2]).best_params_)


def _evaluations(first: int, factor: int = 3) -> int:
    """Return the number of candidates in all rounds of a halving search."""
    rounds = 1 + math.floor(math.log(first, factor))
    return sum(math.ceil(first / factor**k) for k in range(rounds))


def by_tuner(task: Task, n: int, seed: int) -> dict[str, Any]:
    search = TunerSearchCV(
        task.estimator, task.space, n_trials=n, cv=FOLDS, random_state=seed, refit=False
    )
    return dict(search.fit(task.data[0], task.data[2]).best_params_)


def _optuna_space(space: Space) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, distribution in space.items():
        low, high = distribution.support()
        kind = distribution.dist.name
        if kind == "randint":
            found[name] = optuna.distributions.IntDistribution(int(low), int(high))
        else:
            log = kind in ("loguniform", "reciprocal")
            found[name] = optuna.distributions.FloatDistribution(low, high, log=log)
    return found


def by_optuna(task: Task, n: int, seed: int) -> dict[str, Any]:
    X, _, y, _ = task.data
    space = _optuna_space(task.space)
    if OptunaSearchCV is not None:
        search = OptunaSearchCV(
            task.estimator, space, n_trials=n, cv=FOLDS, random_state=seed, refit=False
        )
        return dict(search.fit(X, y).best_params_)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
    for _ in range(n):
        trial = study.ask(space)
        model = clone(task.estimator).set_params(**trial.params)
        study.tell(trial, cross_val_score(model, X, y, cv=FOLDS).mean())
    return dict(study.best_params)


SEARCHES: dict[str, Search] = {
    "tuner": by_tuner,
    "randomized": by_random,
    "halving": by_halving,
    "optuna": by_optuna,
}


def compare(names: list[str], n: int, seeds: int) -> dict[str, Any]:
    """Print a table of the scores of all searches, and return its means."""
    print(f"{'task':22s}" + "".join(f"{name:>18s}" for name in SEARCHES))
    scores: dict[str, list[list[tuple[float, float]]]] = {name: [] for name in SEARCHES}
    for name, task in tasks(names).items():
        for each, search in SEARCHES.items():
            found = [task.scores(search(task, n, seed)) for seed in range(seeds)]
            scores[each].append(found)
        means = (np.mean(scores[each][-1], axis=0) for each in SEARCHES)
        print(f"{name:22s}" + "".join(f"{cv:10.4f}{out:8.4f}" for cv, out in means), flush=True)
    arrays = {each: np.array(found) for each, found in scores.items()}  # tasks, seeds, two scores
    result: dict[str, Any] = {"tasks": len(arrays["tuner"]), "seeds": seeds, "candidates": n}
    for place, kind in enumerate(("cross_validated", "held_out")):
        own = arrays["tuner"][..., place]
        result[kind] = {each: float(found[..., place].mean()) for each, found in arrays.items()}
        for each in [each for each in SEARCHES if each != "tuner"]:
            gain = own - arrays[each][..., place]
            by_task = gain.mean(axis=1)
            result[f"{kind}_gain_over_{each}"] = {
                "mean": float(gain.mean()),
                "standard_error": float(by_task.std(ddof=1) / np.sqrt(len(by_task))),
                "share_of_tasks_not_worse": float((by_task >= -1e-12).mean()),
            }
    for kind in ("cross_validated", "held_out"):
        print(f"{kind:22s}" + "".join(f"{x:18.4f}" for x in result[kind].values()))
    return result


def overhead(n: int, rounds: int = 3) -> dict[str, float]:
    """Return the milliseconds of a fit beyond RandomizedSearchCV, CPU and wall; the best round."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(100, 3)), rng.integers(0, 2, 100)
    space = {"random_state": list(range(1_000)), "strategy": ["prior", "stratified"]}
    model = DummyClassifier()
    searches = {
        "sklearn": RandomizedSearchCV(model, space, n_iter=n, random_state=0),
        "random": TunerSearchCV(model, space, n_trials=n, optimizer="random", random_state=0),
        "auto": TunerSearchCV(model, space, n_trials=n, random_state=0),
    }
    spent: dict[str, list[tuple[float, float]]] = {name: [] for name in searches}
    for _ in range(rounds + 1):  # the first round imports
        for name, search in searches.items():
            wall, cpu = time.perf_counter(), time.process_time()
            search.fit(X, y)
            times = time.process_time() - cpu, time.perf_counter() - wall
            spent[name].append((times[0] * 200 / n, times[1] * 200 / n))  # 5 fits a candidate
    best = {name: np.min(times[1:], axis=0) for name, times in spent.items()}
    found = {"sklearn_fit_ms": float(best["sklearn"][0])}
    for name in ("random", "auto"):
        cpu_ms, wall_ms = best[name] - best["sklearn"]
        print(f"overhead a fit, {name}: {cpu_ms:.2f} ms CPU, {wall_ms:.2f} ms wall")
        found |= {f"{name}_cpu_ms": float(cpu_ms), f"{name}_wall_ms": float(wall_ms)}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two data sets, one seed")
    parser.add_argument("--candidates", type=int, default=30)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    names = ["iris", "r-friedman-1"] if options.quick else list(_made())
    candidates, seeds = (12, 1) if options.quick else (options.candidates, options.seeds)
    result = compare(names, candidates, seeds)
    result["overhead"] = overhead(15 if options.quick else 60)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
