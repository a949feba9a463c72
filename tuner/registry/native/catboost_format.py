"""CatBoost's models, kept in its binary format."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

from tuner.registry.limits import Refused
from tuner.registry.native import manifest
from tuner.registry.native.wrappers import (
    class_named,
    constructed,
    is_of,
    plain_params,
    restored_params,
)

FILE = "model.cbm"
_CLASSES = ("CatBoost", "CatBoostClassifier", "CatBoostRanker", "CatBoostRegressor")
_MAGIC, _HEADER = b"CBM1", struct.Struct("<4sI")


class CatBoostFormat:
    """Format for `catboost.CatBoost` and CatBoost's scikit-learn estimators.

    Predictions after loading are equal bit for bit. CatBoost verifies the structure of the file,
    but not the indices in it, and neither can tuner: load files of authors whom you trust.
    """

    name = "catboost"
    libraries = ("catboost",)

    def accepts(self, model: Any) -> bool:
        """Whether it is a model of CatBoost itself, not of a derived class."""
        return is_of(model, "catboost", _CLASSES)

    def check(self, model: Any) -> None:
        """Check before the training that the parameters can be kept; raises `RegistryError`."""
        with manifest.saving(model, self.name):
            plain_params(model.get_params())

    def save(self, model: Any, folder: Path) -> None:
        """Write ``model.cbm`` and ``format.json``.

        Raises
        ------
        RegistryError
            If the model is not fitted, or has a parameter that is not a plain value.
        """
        with manifest.saving(model, self.name):
            if not model.is_fitted():
                raise Refused("it is not fitted: fit it first")
            params = plain_params(model.get_params())
            model.save_model(str(folder / FILE), format="cbm")
            kind = type(model).__name__
            manifest.write(folder, "catboost", **{"class": kind, "params": params})
            self.load(folder)  # a model that cannot be loaded must not be registered

    def load(self, folder: Path) -> Any:
        """Return the model.

        Raises
        ------
        RegistryError
            If the files do not have this format.
        MissingExtra
            If CatBoost is not installed.
        """
        catboost = manifest.required("catboost", self.name)
        with manifest.reading("the CatBoost model"):
            found = manifest.read(folder, "catboost")
            (content,) = found.only(FILE)
            kind, params = found.text("class"), restored_params(found.table("params"))
            wrapper = class_named(kind, catboost, _CLASSES, "CatBoost")
            _check(content)
            is_plain = kind == "CatBoost"  # its constructor has one argument, a dict
            model = wrapper(params) if is_plain else constructed(wrapper, params)
            model.load_model(blob=content)
            return model


def _check(content: bytes) -> None:
    """Check the header, which has the size of the first part."""
    if len(content) < _HEADER.size or content[:4] != _MAGIC:
        raise Refused(f"{FILE} is not a file of CatBoost")
    _, size = _HEADER.unpack_from(content)
    if size > len(content) - _HEADER.size:
        raise Refused(f"{FILE} declares {size} bytes and has {len(content)}: it is truncated")
