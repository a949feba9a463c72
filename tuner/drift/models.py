"""Drift of the data of a registered model: its features, predictions, labels and metric."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuner.drift.comparison import compare
from tuner.drift.report import DriftReport
from tuner.errors import ArgumentError, RegistryError
from tuner.errors.boundary import public
from tuner.errors.notices import warn
from tuner.profiles import Profile
from tuner.profiles.predictions import predictions_of
from tuner.profiles.profile import PREDICTION, TARGET, sampled_rows
from tuner.profiles.tables import as_frame, split_labels

if TYPE_CHECKING:
    from tuner.registry import Registry
    from tuner.tracking.store import Store


@public()
def check_model(
    ref: str,
    new: Any,
    *,
    label: str | None = None,
    alpha: float = 0.05,
    min_effect: float = 0.02,
    joint: bool = True,
    ignore: Sequence[str] = (),
    seed: int = 0,
    allow_pickle: bool = False,
    trusted: Sequence[str] = (),
    record: bool = True,
    by: str | None = None,
    store: Store | str | Path | None = None,
) -> DriftReport:
    """Compare new data with the profile of a registered model, with predictions of the model.

    The model predicts up to 5,000 of the new rows if its profile has predictions. A column
    ``prediction`` of the new data, as `Registry.served_samples` has it, takes their place. If the
    new data has labels, the metric of the predictions is compared, too.

    Parameters
    ----------
    ref
        The version, such as ``"name@champion"``. It must have been registered with data.
    new
        A table that `Profile.of` accepts, a pair of a table and its labels, or a `Profile`.
    label
        The column of labels in the table. None takes the column that has the name of the labels
        in the profile, if there is one.
    alpha, min_effect, joint, ignore, seed
        As for `compare`.
    allow_pickle, trusted
        As for `tuner.load_model`.
    record
        Whether the history of the model records the check.
    by
        The acting user for the history, None for the user of this process.
    store
        As for `tuner.optimize`.

    Raises
    ------
    ModelNotFound
        If the version does not exist.
    RegistryError
        If it lacks a profile.
    ArgumentError
        If the new data is not a table with the columns of the model, or has too few rows.

    Examples
    --------
    >>> import tempfile, numpy as np, tuner
    >>> from sklearn.linear_model import LogisticRegression
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(300, 2))
    >>> y = X[:, 0] > 0
    >>> folder = tempfile.mkdtemp()
    >>> study = tuner.optimize(
    ...     lambda params: params["C"], {"C": tuner.Float(0.1, 1)}, n_trials=1, backend="serial",
    ...     refit=lambda params: LogisticRegression(**params).fit(X, y), data=(X, y),
    ...     register="signs", store=folder, progress=False,
    ... )
    >>> report = check_model("signs@champion", X + [2, 0], store=folder)
    >>> [(finding.column, finding.role) for finding in report.drifted]
    [('x0', 'feature'), ('prediction', 'prediction')]
    """
    from tuner.registry import Registry

    registry = Registry(store)
    reference = registry.profile(ref)
    if reference is None:
        raise RegistryError(
            f"model {ref!r} has no profile of its data; register it with data=, such as "
            f"study.register({registry.get(ref).name!r}, data=(X, y))"
        )
    fresh = _profile(registry, ref, reference, new, label, seed + 1, allow_pickle, trusted)
    report = compare(
        reference, fresh, alpha=alpha, min_effect=min_effect, joint=joint, ignore=ignore, seed=seed
    )
    if record:
        registry.record_drift(ref, report.summary(), by=by, why=report.verdict)
    return report


def _profile(
    registry: Registry,
    ref: str,
    reference: Profile,
    new: Any,
    label: str | None,
    seed: int,
    allow_pickle: bool,
    trusted: Sequence[str],
) -> Profile:
    """Return the profile of new data, with predictions of the model if the reference has them."""
    import numpy as np

    if isinstance(new, Profile):
        return new
    table, labels = split_labels(new)
    frame = as_frame(table)
    if label is not None and label not in frame.columns:
        raise ArgumentError(
            f"drift: label={label!r} is not a column of the new data, which has "
            f"{', '.join(map(str, frame.columns[:20]))}"
        )
    target = reference.target or label or TARGET
    if label is not None:
        frame = frame.rename(columns={label: target})
    elif labels is not None:
        if len(labels) != len(frame):
            raise ArgumentError(
                f"drift: the new data has {len(frame)} rows and {len(labels)} labels"
            )
        frame = frame.assign(**{target: np.asarray(labels)})
    target_here = target if target in frame.columns else None
    if PREDICTION in frame.columns and PREDICTION not in reference.features:
        predictions = frame[PREDICTION].to_numpy()
        frame = frame.drop(columns=PREDICTION)
        return Profile.of(frame, target=target_here, predictions=predictions, seed=seed)
    profile = Profile.of(frame, target=target_here, seed=seed)
    if PREDICTION not in reference.columns:
        return profile
    try:
        model = registry.load(ref, allow_pickle=allow_pickle, trusted=trusted)
    except RegistryError as error:
        warn(f"drift: predictions are not compared, as the model cannot be loaded: {error}")
        return profile
    chosen = sampled_rows(len(frame), frame.shape[1], seed=seed)
    found = predictions_of(model, frame.iloc[chosen], reference.features, array=reference.array)
    return profile if found is None else profile.with_predictions(found)
