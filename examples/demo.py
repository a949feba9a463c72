"""Tune a scikit-learn pipeline on Ray, register the winner, load it in a new process, and resume.

Run it with ``make demo``. It writes only to ``.tuner/`` and ``demo/`` in the current folder.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from sklearn.datasets import load_digits
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score, train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.svm import SVC

import tuner
from tuner import Choice, Float, Int

N_TRIALS = 40
MORE = 4
STUDY = "demo-digits"
MODEL = "digits"

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.4, stratify=y, random_state=0)

SPACE = {
    "scaler": Choice("standard", "minmax", "none"),
    "model": Choice(
        svm={
            "C": Float(1e-2, 1e3, log=True, default=1.0),
            "gamma": Float(1e-5, 1.0, log=True, default=1 / 64),
        },
        neighbours={
            "n_neighbors": Int(1, 30, log=True, default=5),
            "weights": Choice("uniform", "distance"),
        },
        trees={
            "n_estimators": Int(50, 400, log=True, default=100),
            "max_features": Float(0.05, 1.0, default=0.125),
        },
        logistic={"C": Float(1e-3, 1e2, log=True, default=1.0)},
    ),
}

SCALERS = {"standard": StandardScaler(), "minmax": MinMaxScaler(), "none": "passthrough"}


def pipeline(params):
    kind, options = params["model"]
    model = {
        "svm": lambda: SVC(**options),
        "neighbours": lambda: KNeighborsClassifier(**options),
        "trees": lambda: ExtraTreesClassifier(**options, random_state=0),
        "logistic": lambda: LogisticRegression(**options, max_iter=300),
    }[kind]()
    return Pipeline([("scale", SCALERS[params["scaler"]]), ("model", model)])


def objective(params, trial):
    scores = cross_val_score(pipeline(params), X_train, y_train, cv=5)
    trial.log_metric("spread", scores.std())
    return {"accuracy": scores.mean()}


def refit(params):
    return pipeline(params).fit(X_train, y_train)


def search(n_trials):
    return tuner.optimize(
        objective,
        SPACE,
        direction="maximize",
        metric="accuracy",
        n_trials=n_trials,
        study=STUDY,
        register=MODEL,
        refit=refit,
        seed=0,
        data=(X_train, y_train),
    )


def main():
    began = time.perf_counter()
    study = search(N_TRIALS)
    print(f"\n{len(study.trials)} trials in {time.perf_counter() - began:.0f} s")
    print(f"best: {study.best_params}, cross-validated accuracy {study.best_value:.4f}")

    default = refit(tuner.Space(SPACE).defaults())
    print(f"\non the held-out test set of {len(y_test)} digits:")
    print(f"  default  {default.score(X_test, y_test):.4f}  (standard scaler, SVC)")
    print(f"  tuned    {predict_in_a_new_process():.4f}  (loaded from the registry)")

    folder = Path("demo")
    folder.mkdir(exist_ok=True)
    study.plot.history(save=folder / "history.png")
    study.plot.parallel_coordinates(save=folder / "parallel_coordinates.png")
    study.plot.importances(save=folder / "importances.png")
    study.plot.slice(save=folder / "slice.png")
    study.plot.timeline(save=folder / "timeline.png")
    print(f"\nplots: {', '.join(sorted(str(p) for p in folder.glob('*.png')))}")

    before = len(study.trials)
    print(f"\nthe same call again, for {before + MORE} trials: it goes on where it stopped")
    study = search(before + MORE)
    print(f"{before} trials were there, {len(study.trials) - before} were run")


def predict_in_a_new_process():
    """Load the champion in a new process and return its test accuracy."""
    code = (
        "import tuner; from demo import MODEL, X_test, y_test;"
        "print(tuner.load_model(f'{MODEL}@champion').score(X_test, y_test))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
    )
    return float(done.stdout)


if __name__ == "__main__":
    main()
