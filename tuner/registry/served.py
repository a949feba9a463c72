"""Samples of the rows and predictions of served models, in the store."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, delete, func, insert, select

from tuner.errors import ArgumentError, SignatureError
from tuner.registry.changes import find_model
from tuner.registry.versions import find_version
from tuner.signatures import Signature
from tuner.tracking import schema

if TYPE_CHECKING:
    import pandas as pd

    from tuner.tracking.store import Store

_SAMPLES, _VERSIONS = schema.served_samples, schema.model_versions

MOST_ROWS = 20_000
"""Number of sampled rows that are kept of each version; the oldest are deleted."""

RETENTION = timedelta(days=30)
"""Age at which sampled rows are deleted."""

PREDICTION = "prediction"
"""Name of the column of predictions."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Rows that a version was given, with its predictions.

    Attributes
    ----------
    model, version
        The version.
    seen : int
        Number of rows that the sample was drawn from.
    columns : dict
        JSON values of each column, and the predictions.
    """

    model: str
    version: int
    seen: int
    columns: Mapping[str, Sequence[Any]]

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(next(iter(self.columns.values()), ()))


def add_sample(store: Store, sample: Sample) -> None:
    """Write a sample, and delete rows of the version that are too old or too many.

    Raises
    ------
    ModelNotFound
        If the model was deleted.
    """
    now = time.time()
    with store.writing() as connection:
        model = find_model(connection, store, sample.model).id
        values = {
            "model_id": model,
            "version": sample.version,
            "at": now,
            "seen": sample.seen,
            "rows": sample.rows,
            "data": dict(sample.columns),
        }
        connection.execute(insert(_SAMPLES).values(values))
        connection.execute(delete(_SAMPLES).where(_SAMPLES.c.at < now - RETENTION.total_seconds()))
        _forget_oldest(connection, model, sample.version)


def _forget_oldest(connection: Connection, model: int, version: int) -> None:
    own = (_SAMPLES.c.model_id == model, _SAMPLES.c.version == version)
    total = connection.execute(select(func.sum(_SAMPLES.c.rows)).where(*own)).scalar() or 0
    if total <= MOST_ROWS:
        return
    oldest = select(_SAMPLES.c.id, _SAMPLES.c.rows).where(*own).order_by(_SAMPLES.c.id)
    for key, rows in connection.execute(oldest).all():
        connection.execute(delete(_SAMPLES).where(_SAMPLES.c.id == key))
        total -= rows
        if total <= MOST_ROWS:
            return


def read_samples(
    store: Store, name: str, since: datetime | timedelta | None, version: int | None
) -> pd.DataFrame:
    """Return the sampled rows of a model; see `Registry.served_samples`."""
    import pandas as pd

    condition = [] if since is None else [_SAMPLES.c.at >= _moment(since)]
    with store.reading() as connection:
        model = find_model(connection, store, name)
        query = (
            select(_SAMPLES)
            .where(_SAMPLES.c.model_id == model.id, *condition)
            .order_by(_SAMPLES.c.version, _SAMPLES.c.id)
        )
        if version is not None:
            query = query.where(_SAMPLES.c.version == version)
        rows = connection.execute(query).all()
        numbers = {row.version for row in rows}
        signatures = {
            number: found.signature
            for number in numbers
            if (found := find_version(connection, _VERSIONS.c.version == number, name)) is not None
        }
    frames = [_frame(row.data, signatures.get(row.version)).set_index(_index(row)) for row in rows]
    empty = pd.MultiIndex.from_arrays([[], []], names=["version", "served"])
    return pd.concat(frames) if frames else pd.DataFrame({PREDICTION: []}, index=empty)


def _moment(since: datetime | timedelta) -> float:
    if isinstance(since, timedelta):
        return time.time() - since.total_seconds()
    if isinstance(since, datetime):
        return since.timestamp()
    raise ArgumentError(f"since={since!r}: write a datetime, or a timedelta before now")


def _index(row: Any) -> pd.MultiIndex:
    import pandas as pd

    served = pd.Timestamp(row.at, unit="s", tz="UTC").floor("ms")
    arrays = [pd.Index([row.version] * row.rows), pd.DatetimeIndex([served] * row.rows)]
    return pd.MultiIndex.from_arrays(arrays, names=["version", "served"])


def _frame(data: Mapping[str, list[Any]], signature: Signature | None) -> pd.DataFrame:
    """Return the rows as a table; columns have the types of the signature, if they match it."""
    import pandas as pd

    frame = pd.DataFrame(dict(data))
    if signature is None or not signature.inputs.tabular:
        return frame
    predicted = [name for name in frame if name not in signature.inputs.columns]
    inputs = {name: values for name, values in data.items() if name not in predicted}
    try:
        typed = pd.DataFrame(signature.check_inputs(inputs))
    except SignatureError:  # the signature was replaced, or its values are not JSON values
        return frame
    typed.columns = pd.Index([str(name) for name in typed.columns])
    return pd.concat([typed, frame[predicted]], axis=1)
