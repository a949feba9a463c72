"""The profile of the data of a model, with predictions that can be compared with those of new data.

A model predicts the rows that it was fitted to better than new ones. If labels are given, the
predictions of the profile are therefore made by copies of the model, each fitted without the rows
that it predicts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tuner.errors import ArgumentError
from tuner.errors.notices import warn
from tuner.profiles import Profile
from tuner.profiles.predictions import model_input, predictions_of
from tuner.profiles.profile import TARGET, sampled_rows
from tuner.profiles.tables import as_frame, split_labels

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

FOLDS = 5
"""Number of copies of a model; one copy is enough if more rows are given than are sampled."""

MOST_COLUMNS = 5000
"""Largest number of columns of a profile of a model."""

CHEAP = 30.0
"""Largest duration of a trial in seconds so that copies of its model are fitted."""


FEWEST_ROWS = 30
"""Smallest number of rows of an example of which a profile is kept."""


def profiled(data: Any, example: Any) -> Any:
    """Return the data of which a version keeps a profile: `data`, else an example of many rows."""
    if data is not None:
        return data
    rows = getattr(example, "shape", ())[:1]
    return example if rows and rows[0] >= FEWEST_ROWS else None


def profile_of(
    data: Any, model: Callable[[], Any] | None = None, *, seconds: float = 0.0
) -> Profile | None:
    """Return the profile of the data of a model, None if the data is not a table.

    Parameters
    ----------
    data
        A table that `Profile.of` accepts, or a pair of a table and its labels. A `Profile` is
        returned unchanged. A file is given as a `Path`.
    model
        Returns the fitted model. None makes no predictions.
    seconds
        Duration of the model's trial. Copies of a model that takes long are not fitted.
    """
    import numpy as np

    if isinstance(data, Profile):
        return data
    table, labels = split_labels(data)
    if isinstance(table, str):
        return None
    try:
        frame = as_frame(table)
    except ArgumentError:
        return None
    if frame.shape[1] > MOST_COLUMNS:
        return None
    fitted = None if model is None else model()
    target = _target(frame, labels, fitted)
    if labels is not None and target is not None:
        frame = frame.assign(**{target: np.asarray(labels)})
    profile = Profile.of(frame, target=target, array=isinstance(table, np.ndarray))
    if not callable(getattr(fitted, "predict", None)):
        return profile
    try:
        predictions = _predictions(fitted, frame, profile, seconds <= CHEAP)
    except Exception as error:
        # Any exception of the user's model leaves the profile without predictions.
        named = "" if isinstance(error, ArgumentError) else f"{type(error).__name__}: "
        warn(
            f"profile: predictions are left out, as the model does not predict its data: "
            f"{named}{error}"
        )
        return profile
    return profile if predictions is None else profile.with_predictions(predictions)


def _target(frame: pd.DataFrame, labels: Any, model: Any) -> str | None:
    """Return the name of the labels: of a column, or a new name for labels that are given apart."""
    if labels is None:
        features = {str(name) for name in getattr(model, "feature_names_in_", ())}
        others = [name for name in frame.columns if name not in features]
        return others[0] if features and len(others) == 1 else None
    if len(labels) != len(frame):
        return None
    name = getattr(labels, "name", None)
    name = TARGET if name is None else str(name)
    while name in frame.columns:
        name += "_"
    return name


def _predictions(
    model: Any, frame: pd.DataFrame, profile: Profile, cheap: bool
) -> np.ndarray[Any, Any] | None:
    """Return the predictions of the sampled rows, None if none can be compared with new ones."""
    import numpy as np
    from sklearn.base import BaseEstimator, clone

    chosen = sampled_rows(len(frame), frame.shape[1])
    features = profile.features
    if profile.target is None:
        return predictions_of(model, frame.iloc[chosen], features, array=profile.array)
    if not isinstance(model, BaseEstimator) or not cheap or len(frame) < 2 * FOLDS:
        return None
    shuffled = np.random.default_rng(0).permutation(chosen)
    found: dict[int, Any] = {}
    for group in np.array_split(shuffled, FOLDS if len(chosen) == len(frame) else 1):
        kept = np.ones(len(frame), dtype=bool)
        kept[group] = False
        others = frame.iloc[kept]
        copy = clone(model).fit(
            model_input(model, others, features, array=profile.array),
            others[profile.target].to_numpy(),
        )
        held_out = predictions_of(copy, frame.iloc[group], features, array=profile.array)
        if held_out is None:
            return None
        found |= zip(group.tolist(), held_out, strict=True)
    return np.array([found[row] for row in chosen.tolist()])
