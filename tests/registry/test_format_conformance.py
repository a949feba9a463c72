"""Every built-in format, and one of a user's own, through the conformance class."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tuner.errors import RegistryError
from tuner.registry.skops_format import SkopsFormat
from tuner.registry.value_formats import JsonFormat, PickleFormat
from tuner.testing import ModelFormatConformance

X, y = load_iris(return_X_y=True)


class TestSkopsFormat(ModelFormatConformance):
    def make(self) -> SkopsFormat:
        return SkopsFormat()

    def models(self) -> list[Any]:
        return fitted_models()

    def foreign(self) -> list[Any]:
        return [*super().foreign(), LogisticRegression, {"C": 1.0}, None, X]

    def same(self, model: Any, loaded: Any) -> bool:
        return bool(np.array_equal(model.predict_proba(X), loaded.predict_proba(X)))


class TestJsonFormat(ModelFormatConformance):
    def make(self) -> JsonFormat:
        return JsonFormat()

    def models(self) -> list[Any]:
        return [
            {"C": 1.0, "kernel": ("poly", {"degree": 3}), "sizes": [1, 2.5, None, True, "é\ud800"]},
            {},
            [],
            (),
            "text",
            "",
            0,
            -1.5,
            2**70,
            True,
            None,
            float("inf"),
            {"a": {"b": [{"c": (1, (2,))}]}},
        ]

    def foreign(self) -> list[Any]:
        cycle: list[Any] = []
        cycle.append(cycle)
        inside = [{1: 2}, [object()], ({"x": {1, 2}},), b"bytes", 1j, np.float64(1.0), cycle]
        return [*super().foreign(), *inside]


class TestPickleFormat(ModelFormatConformance):
    def make(self) -> PickleFormat:
        return PickleFormat(allowed=True)

    def make_careful(self) -> PickleFormat:
        return PickleFormat()

    def models(self) -> list[Any]:
        return [Threshold(0.5), {"any": {1, 2}}, Threshold(-1.0)]

    def foreign(self) -> list[Any]:
        return []  # it tries everything


class Threshold:
    def __init__(self, at: float) -> None:
        self.at = at

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Threshold) and self.at == other.at

    __hash__ = None


class ThresholdFormat:
    """A format of a user's own."""

    name = "threshold"

    def accepts(self, model: Any) -> bool:
        return isinstance(model, Threshold)

    def save(self, model: Any, folder: Path) -> None:
        (folder / "at.txt").write_text(f"at {model.at.hex()};")

    def load(self, folder: Path) -> Any:
        try:
            text = (folder / "at.txt").read_text()
            if not (text.startswith("at ") and text.endswith(";")):
                raise ValueError(text[:20])
            return Threshold(float.fromhex(text[3:-1]))
        except (OSError, ValueError) as error:
            raise RegistryError(f"at.txt is no threshold: {error}") from error


class TestOwnFormat(ModelFormatConformance):
    def make(self) -> ThresholdFormat:
        return ThresholdFormat()

    def models(self) -> list[Any]:
        return [Threshold(0.5), Threshold(0.1)]


@cache
def fitted_models() -> list[Any]:
    return [
        make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y),
        RandomForestClassifier(5, random_state=np.random.RandomState(0)).fit(X, y),
    ]
