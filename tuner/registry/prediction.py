"""Prediction by a model of any library, and the signature of a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tuner.errors import ArgumentError, RegistryError
from tuner.signatures import Signature

METHODS = ("predict", "predict_proba")

N_PREDICTED = 5
"""Number of rows of an example that are predicted to find the outputs."""


def predictor(model: Any, method: str = "predict") -> Callable[[Any], Any] | None:
    """Return the function that predicts by a model, None if it has none.

    Parameters
    ----------
    model
        A model with a method of this name. Boosters of XGBoost get their own matrix; modules of
        PyTorch are called without gradients.
    method
        ``"predict"`` or ``"predict_proba"``.
    """
    found: Callable[[Any], Any] | None = getattr(model, method, None)
    package = type(model).__module__.partition(".")[0]
    if package == "xgboost" and type(model).__name__ == "Booster" and found is not None:
        return _of_booster(found)
    if found is None and method == "predict" and _is_module(model):
        return _of_module(model)
    return found if callable(found) else None


def _of_booster(predict: Callable[[Any], Any]) -> Callable[[Any], Any]:
    from xgboost import DMatrix

    return lambda data: predict(DMatrix(data, enable_categorical=True))


def _is_module(model: Any) -> bool:
    return any(
        base.__module__ == "torch.nn.modules.module" and base.__name__ == "Module"
        for base in type(model).__mro__
    )


def _of_module(model: Any) -> Callable[[Any], Any]:
    import torch

    def predict(data: Any) -> Any:
        with torch.inference_mode():
            return model(torch.as_tensor(data))

    return predict


def signature_of(model: Any, example: Any, signature: Signature | None) -> Signature | None:
    """Return the signature of a model, None if neither an example nor a signature is given.

    Parameters
    ----------
    model
        The fitted model.
    example
        Some rows that it takes, or None. The first `N_PREDICTED` are predicted to find the outputs.
    signature
        A signature, which replaces the inferred one.

    Raises
    ------
    ArgumentError
        If both are given, or `signature` has another type.
    RegistryError
        If the model cannot predict the example.
    """
    if signature is not None:
        if example is not None:
            raise ArgumentError("pass example= or signature=, not both")
        if not isinstance(signature, Signature):
            raise ArgumentError(
                f"signature={signature!r:.80} is not a Signature; write Signature.infer(...) or "
                f"Signature.from_dict(...)"
            )
        return signature
    if example is None:
        return None
    inputs = Signature.infer(example)
    predict = predictor(model)
    if predict is None:
        return inputs
    try:
        outputs = predict(_first(example))
    except Exception as error:  # of the model's library
        raise RegistryError(
            f"model {type(model).__name__} cannot predict the rows of example=: "
            f"{type(error).__name__}: {error}; pass rows as the model takes them"
        ) from error
    try:
        return Signature.infer(example, outputs)
    except ArgumentError:  # outputs of a type that a signature does not describe
        return inputs


def _first(data: Any) -> Any:
    if hasattr(data, "iloc"):
        return data.iloc[:N_PREDICTED]
    if isinstance(data, Mapping):
        return {name: values[:N_PREDICTED] for name, values in data.items()}
    return data[:N_PREDICTED]
