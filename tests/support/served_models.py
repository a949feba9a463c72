"""A store with models to serve."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression

import tuner

X = pd.DataFrame({"a": [0.0, 1.0, 2.0, 3.0], "b": [1, 0, 1, 0]})
Y = np.array(["no", "no", "yes", "yes"])


def make_store(folder: Path) -> Path:
    """Register two versions of the model m, another model, and a configuration."""

    def objective(params: dict[str, float], trial: tuner.LiveTrial) -> float:
        model = LogisticRegression(C=10.0).fit(X, Y if params["x"] == 1 else Y[::-1])
        trial.log_model(model, example=X)
        return params["x"]

    study = tuner.optimize(
        objective,
        {"x": tuner.Int(1, 2)},
        n_trials=2,
        optimizer="grid",
        backend="serial",
        store=folder,
        study="s",
        register=False,
        progress=False,
    )
    first, second = sorted(study.trials, key=lambda trial: trial.params["x"])
    study.register("m", trial=first)
    study.register("m", trial=second)
    wrong = tuner.Signature.infer(pd.DataFrame({"a": [1.0]}))
    study.register("wrong", trial=first, signature=wrong)
    other = tuner.create_study({"x": tuner.Int(1, 2)}, study="params", store=folder)
    other.tell(other.ask(), 1.0)
    other.register("configuration")
    return folder
