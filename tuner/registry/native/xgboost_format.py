"""XGBoost's estimators and boosters, kept in its JSON format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tuner.registry.native import manifest
from tuner.registry.native.wrappers import (
    class_named,
    constructed,
    is_of,
    plain_params,
    restored_params,
)

FILE = "model.json"
_BOOSTER = "Booster"
_CLASSES = (
    _BOOSTER, "XGBClassifier", "XGBModel", "XGBRFClassifier", "XGBRFRegressor", "XGBRanker",
    "XGBRegressor",
)  # fmt: skip


class XGBoostFormat:
    """Format for `xgboost.Booster` and XGBoost's scikit-learn estimators.

    Predictions after loading are equal bit for bit. An estimator keeps its parameters as well,
    which must be plain values.
    """

    name = "xgboost"
    libraries = ("xgboost",)

    def accepts(self, model: Any) -> bool:
        """Whether it is a booster or an estimator of XGBoost itself, not of a derived class."""
        return is_of(model, "xgboost", _CLASSES)

    def check(self, model: Any) -> None:
        """Check before the training that the parameters can be kept; raises `RegistryError`."""
        with manifest.saving(model, self.name):
            if type(model).__name__ != _BOOSTER:
                plain_params(model.get_params(deep=False))

    def save(self, model: Any, folder: Path) -> None:
        """Write ``model.json`` and ``format.json``.

        Raises
        ------
        RegistryError
            If the model is not fitted, has trees with vectors as leaves, or has a parameter that is
            not a plain value.
        """
        with manifest.saving(model, self.name):
            kind = type(model).__name__
            params = {} if kind == _BOOSTER else plain_params(model.get_params(deep=False))
            booster = model if kind == _BOOSTER else model.get_booster()
            (folder / FILE).write_bytes(booster.save_raw("json"))
            manifest.write(folder, "xgboost", **{"class": kind, "params": params})
            self.load(folder)  # a model that cannot be loaded must not be registered

    def load(self, folder: Path) -> Any:
        """Return the model, after all indices in the file were checked.

        Raises
        ------
        RegistryError
            If the files do not have this format, or an index is out of range.
        MissingExtra
            If XGBoost is not installed.
        """
        xgboost = manifest.required("xgboost", self.name)
        with manifest.reading("the XGBoost model"):
            from tuner.registry.native.xgboost_json import checked

            found = manifest.read(folder, "xgboost")
            (text,) = found.only(FILE)
            kind, params = found.text("class"), restored_params(found.table("params"))
            wrapper = class_named(kind, xgboost, _CLASSES, "XGBoost")
            content = bytearray(checked(text))
            model = wrapper() if kind == _BOOSTER else constructed(wrapper, params)
            model.load_model(content)
            if kind != _BOOSTER:
                model.set_params(**params)  # load_model replaces some
            return model
