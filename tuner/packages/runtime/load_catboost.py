"""Loader of CatBoost's models."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from .facts import facts_of, params_of

REQUIRES = ("catboost",)


def load(folder: Path, settings: dict[str, Any]) -> Callable[[Any], Any]:  # noqa: ARG001
    """Return the predictions of the model."""
    import catboost

    facts = facts_of(folder)
    made, params = getattr(catboost, facts["class"]), params_of(facts)
    # The class CatBoost takes one argument, a dict.
    model = made(params) if facts["class"] == "CatBoost" else made(**params)
    model.load_model(str(folder / "model.cbm"))
    predict: Callable[[Any], Any] = model.predict
    return predict
