"""Loader of XGBoost's boosters and estimators."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from .facts import estimator, facts_of, params_of

REQUIRES = ("xgboost", "scikit-learn")


def load(folder: Path, settings: dict[str, Any]) -> Callable[[Any], Any]:  # noqa: ARG001
    """Return the predictions of the model."""
    import xgboost

    facts = facts_of(folder)
    if facts["class"] == "Booster":
        booster = xgboost.Booster(model_file=folder / "model.json")
        return lambda data: booster.predict(xgboost.DMatrix(data, enable_categorical=True))
    model = estimator(xgboost, facts)
    model.load_model(folder / "model.json")
    model.set_params(**params_of(facts))  # load_model replaces some
    predict: Callable[[Any], Any] = model.predict
    return predict
