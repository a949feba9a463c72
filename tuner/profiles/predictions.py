"""Predictions of a model for rows of a table, in the form in which the model takes rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tuner.errors import ArgumentError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


def predictions_of(
    model: Any, frame: pd.DataFrame, features: Sequence[str], *, array: bool = False
) -> np.ndarray[Any, Any] | None:
    """Return one prediction for each row, None if the model predicts several numbers for a row.

    Parameters
    ----------
    model
        A fitted model with `predict`.
    frame
        The rows.
    features
        Names of the columns that the model takes, if it does not name them itself.
    array
        Whether the model was fitted to an array without names.

    Raises
    ------
    ArgumentError
        If the table lacks a feature, or the model fails.
    """
    import numpy as np

    rows = model_input(model, frame, features, array=array)
    try:
        found = np.asarray(model.predict(rows))
    except Exception as error:
        raise ArgumentError(
            f"drift: the model fails on this data: {type(error).__name__}: {error}; its columns "
            f"must be those that the model was fitted to"
        ) from error
    if found.ndim == 2 and found.shape[1] == 1:
        found = found[:, 0]
    return found if found.shape == (len(frame),) else None


def model_input(
    model: Any, frame: pd.DataFrame, features: Sequence[str], *, array: bool = False
) -> Any:
    """Return the rows of a table as a model takes them: a table of its columns, or an array.

    Raises
    ------
    ArgumentError
        If the table lacks a feature.
    """
    own = getattr(model, "feature_names_in_", None)
    if own is not None and not array:
        features = [str(name) for name in own]
    missing = [name for name in features if name not in frame.columns]
    if missing:
        raise ArgumentError(
            f"drift: the model needs the column {missing[0]!r}; the table has "
            f"{', '.join(map(str, frame.columns[:20]))}"
        )
    rows = frame[list(features)]
    # An estimator of scikit-learn without names of its features was fitted to an array.
    nameless = own is None and hasattr(model, "n_features_in_")
    return rows.to_numpy() if array or nameless else rows
