"""A model version that is loaded and ready to predict."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tuner.errors import ArgumentError, RegistryError, SignatureError, TunerError
from tuner.records import ModelVersion
from tuner.registry import Registry
from tuner.registry.card import model_card
from tuner.registry.prediction import METHODS, predictor
from tuner.serving.failures import RequestFailure, mismatch


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A loaded version with the function that predicts.

    Attributes
    ----------
    version : ModelVersion
        The version.
    predict : callable
        The function of the model.
    classes : list or None
        The classes of a classifier, in the order of its probabilities.
    card : dict
        The model card.
    """

    version: ModelVersion
    predict: Callable[[Any], Any]
    classes: list[Any] | None
    card: dict[str, Any]

    @property
    def ref(self) -> str:
        """The reference of the version."""
        return f"{self.version.name}@{self.version.version}"

    def inputs(self, data: Any) -> Any:
        """Return decoded rows as the model takes them.

        Raises
        ------
        RequestFailure
            422 if they do not match the signature.
        """
        signature = self.version.signature
        if signature is None:
            return _unchecked(data)
        try:
            return signature.check_inputs(data)
        except SignatureError as error:
            raise mismatch(error) from None


def _unchecked(data: Any) -> Any:
    """Return rows in the form in which most models take them."""
    import numpy as np
    import pandas as pd

    try:
        if isinstance(data, dict) or (data and isinstance(data[0], dict)):
            return pd.DataFrame(data)
        return np.array(data)
    except (ValueError, TypeError) as error:
        raise RequestFailure(422, f"the rows are not a table: {error!s:.200}") from None


def load(
    registry: Registry,
    version: ModelVersion,
    *,
    method: str = "predict",
    allow_pickle: bool = False,
    trusted: Sequence[str] = (),
) -> ServedModel:
    """Load a version to serve it.

    Raises
    ------
    RegistryError
        If it is a configuration without a model, cannot be loaded, or lacks the method.
    ArgumentError
        If `method` is unknown.
    """
    if method not in METHODS:
        raise ArgumentError(f"method={method!r}; write one of {', '.join(METHODS)}")
    ref = f"{version.name}@{version.version}"
    if version.artifact is None:
        raise RegistryError(
            f"model {ref!r} holds a configuration only, which predicts nothing; log a model with "
            f"trial.log_model(model), or register one with study.register(refit=...)"
        )
    model = registry.load(ref, allow_pickle=allow_pickle, trusted=trusted)
    predict = predictor(model, method)
    if predict is None:
        raise RegistryError(
            f"model {ref!r} is a {type(model).__name__}, which has no method {method!r}"
        )
    card = model_card(ref, store=registry.store)
    return ServedModel(version, predict, _classes(model, method), card.to_json())


def _classes(model: Any, method: str) -> list[Any] | None:
    if method != "predict_proba":
        return None
    with contextlib.suppress(Exception):  # a model that computes them may fail
        return list(model.classes_.tolist())
    return None


def check(new: ServedModel, rows: Any, old: ServedModel) -> None:
    """Check that a version predicts rows that the version before it predicted.

    Nothing is checked if the signatures differ.

    Raises
    ------
    RegistryError
        If it does not.
    """
    if rows is None or new.version.signature != old.version.signature:
        return
    try:
        new.predict(rows)
    except Exception as error:  # of the model's library
        raise RegistryError(
            f"model {new.ref!r} cannot predict rows that {old.ref!r} predicts: "
            f"{type(error).__name__}: {error}"
        ) from error


def reason(error: Exception) -> str:
    """Return the reason for which a version is not served."""
    return str(error) if isinstance(error, TunerError) else f"{type(error).__name__}: {error}"
