"""A sweep that runs where it is started: on a laptop, or as a job on a Ray cluster.

The record goes where TUNER_STORE says. The study has a name, so that a job that is started again,
on a new cluster after the old one was lost, goes on where it stopped.
"""

import argparse

from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import cross_val_score

import tuner
from tuner import Float, Int

SPACE = {
    "n_estimators": Int(10, 200, log=True),
    "max_features": Float(0.05, 1.0, log=True),
    "min_samples_leaf": Int(1, 20, log=True),
}


def objective(params):
    X, y = load_digits(return_X_y=True)
    return cross_val_score(RandomForestClassifier(**params, random_state=0), X, y, cv=3).mean()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--n-trials", type=int, default=100)
    parser.add_argument("--study", default="digits-forest")
    options = parser.parse_args()
    study = tuner.optimize(
        objective, SPACE, direction="maximize", n_trials=options.n_trials, study=options.study
    )
    print(f"{len(study.trials)} trials, best {study.best_value:.4f}: {study.best_params}")
