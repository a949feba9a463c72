"""LightGBM's estimators and boosters, kept in its text format."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tuner.registry.limits import Refused
from tuner.registry.native import manifest
from tuner.registry.native.forests import whole
from tuner.registry.native.wrappers import (
    class_named,
    constructed,
    is_of,
    labels_of,
    plain_labels,
    plain_params,
    restored_params,
)

FILE = "model.txt"
_BOOSTER = "Booster"
_CLASSES = (_BOOSTER, "LGBMClassifier", "LGBMModel", "LGBMRanker", "LGBMRegressor")


class LightGBMFormat:
    """Format for `lightgbm.Booster` and LightGBM's scikit-learn estimators.

    Predictions after loading are equal bit for bit. An estimator keeps its parameters and classes
    as well; the parameters must be plain values.
    """

    name = "lightgbm"
    libraries = ("lightgbm",)

    def accepts(self, model: Any) -> bool:
        """Whether it is a booster or an estimator of LightGBM itself, not of a derived class."""
        return is_of(model, "lightgbm", _CLASSES)

    def check(self, model: Any) -> None:
        """Check before the training that the parameters can be kept; raises `RegistryError`."""
        with manifest.saving(model, self.name):
            if type(model).__name__ != _BOOSTER:
                plain_params(model.get_params(deep=False))

    def save(self, model: Any, folder: Path) -> None:
        """Write ``model.txt`` and ``format.json``.

        Raises
        ------
        RegistryError
            If the model is not fitted, or has a parameter that is not a plain value.
        """
        with manifest.saving(model, self.name):
            kind = type(model).__name__
            facts: dict[str, Any] = {"class": kind}
            if kind != _BOOSTER:
                facts |= _facts(model)
            booster = model if kind == _BOOSTER else model.booster_
            text = booster.model_to_string(num_iteration=-1)
            (folder / FILE).write_text(text, encoding="utf-8", newline="")
            manifest.write(folder, "lightgbm", best_iteration=booster.best_iteration, **facts)
            self.load(folder)  # a model that cannot be loaded must not be registered

    def load(self, folder: Path) -> Any:
        """Return the model, after all counts and indices in the file were checked.

        Raises
        ------
        RegistryError
            If the files do not have this format, or an index is out of range.
        MissingExtra
            If LightGBM is not installed.
        """
        lightgbm = manifest.required("lightgbm", self.name)
        with manifest.reading("the LightGBM model"):
            from tuner.registry.native.lightgbm_text import check

            found = manifest.read(folder, "lightgbm")
            (text,) = found.only(FILE)
            kind = found.text("class")
            wrapper = class_named(kind, lightgbm, _CLASSES, "LightGBM")
            check(text)
            booster = lightgbm.Booster(model_str=text.decode())
            best = found.facts.get("best_iteration")
            booster.best_iteration = whole(best, "best_iteration", -1, booster.current_iteration())
            return booster if kind == _BOOSTER else _wrapped(wrapper, booster, found)


def _facts(model: Any) -> dict[str, Any]:
    """Return the values of an estimator that its booster lacks."""
    return {
        "params": plain_params(model.get_params(deep=False)),
        "objective": model.objective_,
        "named_features": bool(getattr(model, "_fitted_with_feature_names", False)),
        "classes": plain_labels(model.classes_) if hasattr(model, "classes_") else None,
    }


def _wrapped(wrapper: type, booster: Any, found: manifest.Manifest) -> Any:
    """Return a fitted estimator around a booster."""
    model = constructed(wrapper, restored_params(found.table("params")))
    state: dict[str, Any] = {
        "_Booster": booster,
        "_best_iteration": booster.best_iteration,
        "_best_score": {},
        "_evals_result": {},
        "_fitted_with_feature_names": found.facts.get("named_features") is True,
        "_n_features": booster.num_feature(),
        "_n_features_in": booster.num_feature(),
        "_objective": found.text("objective"),
        "fitted_": True,
    }
    classes = found.facts.get("classes")
    if wrapper.__name__ == "LGBMClassifier":
        if not isinstance(classes, Mapping):
            raise Refused(f"{manifest.FILE} has no classes")
        state |= _state_of_classes(labels_of(classes), booster)
    vars(model).update(state)
    return model


def _state_of_classes(labels: Any, booster: Any) -> dict[str, Any]:
    from sklearn.preprocessing import LabelEncoder

    outputs = booster.num_model_per_iteration()
    if len(labels) != outputs and not (outputs == 1 and len(labels) <= 2):
        raise Refused(f"{manifest.FILE} has {len(labels)} classes for {outputs} outputs")
    encoder = LabelEncoder()
    encoder.classes_ = labels
    return {
        "_class_map": dict(zip(labels, np.arange(len(labels)), strict=True)),
        "_classes": labels,
        "_le": encoder,
        "_n_classes": len(labels),
    }
