"""Loader of LightGBM's boosters and estimators."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from .facts import facts_of

REQUIRES = ("lightgbm", "scikit-learn")
SYSTEM = ("libgomp1",)


def load(folder: Path, settings: dict[str, Any]) -> Callable[[Any], Any]:  # noqa: ARG001
    """Return the predictions of the model: of an estimator, labels for a classifier."""
    import lightgbm

    facts = facts_of(folder)
    booster = lightgbm.Booster(model_file=folder / "model.txt")
    booster.best_iteration = facts["best_iteration"]
    if facts.get("classes") is None:
        return booster.predict  # type: ignore[no-any-return]
    labels = _labels(facts["classes"])

    def classes(data: Any) -> Any:
        import numpy as np

        scores = np.asarray(booster.predict(data))
        chosen = scores.argmax(axis=1) if scores.ndim == 2 else (scores > 0.5).astype(int)
        return labels[chosen]

    return classes


def _labels(facts: dict[str, Any]) -> Any:
    import numpy as np

    kind = object if facts["type"] == "O" else facts["type"]
    return np.array(facts["labels"], dtype=kind)
