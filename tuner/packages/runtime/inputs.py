"""Form of the data that a model's library takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def predictions_of(model: Any) -> Callable[[Any], Any]:
    """Return the predictions, or the transformed data, of an object with scikit-learn's methods.

    A model that was fitted without names of columns takes tables as arrays.
    """
    predict: Callable[[Any], Any] = model.predict if hasattr(model, "predict") else model.transform
    if hasattr(model, "feature_names_in_") or not hasattr(model, "n_features_in_"):
        return predict
    return lambda data: predict(as_array(data))


def as_array(data: Any) -> Any:
    """Return a table as an array, and other data unchanged."""
    return data.to_numpy() if hasattr(data, "to_numpy") else data
