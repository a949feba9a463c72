"""Predictions as JSON or as an Arrow stream."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import msgspec

from tuner.registry.served import PREDICTION
from tuner.serving.failures import RequestFailure

_encode_json = msgspec.json.Encoder().encode


def wants_arrow(accept: str, arrow: str) -> bool:
    """Whether the header ``Accept`` asks for an Arrow stream.

    Raises
    ------
    RequestFailure
        If it allows neither Arrow nor JSON.
    """
    if not accept or accept == "*/*":
        return False
    kinds = [part.split(";")[0].strip().lower() for part in accept.split(",")]
    if arrow in kinds:
        return True
    if {"application/json", "application/*", "*/*"}.isdisjoint(kinds):
        raise RequestFailure(
            406, f"accept {accept!r:.100}: answers are application/json or {arrow}"
        )
    return False


def as_json(facts: Mapping[str, Any]) -> bytes:
    """Return facts as JSON; NaN is null."""
    return _encode_json(facts)


def plain(predictions: Any) -> Any:
    """Return predictions as lists of plain values; NaN and other missing values are None."""
    import numpy as np
    import pandas as pd

    if isinstance(predictions, np.ndarray) and predictions.dtype.kind in "biufU":
        return predictions.tolist()  # msgspec writes NaN as null
    if isinstance(predictions, pd.DataFrame):
        return [_cleaned(row) for row in predictions.astype(object).to_dict("records")]
    if hasattr(predictions, "detach"):
        return predictions.detach().cpu().tolist()
    if hasattr(predictions, "toarray"):
        return predictions.toarray().tolist()
    if isinstance(predictions, pd.Series | pd.Index) or hasattr(predictions, "to_numpy"):
        predictions = predictions.to_numpy()
    if isinstance(predictions, np.ndarray):
        return _cleaned(predictions.tolist())
    return _cleaned(list(predictions))


def _cleaned(value: Any) -> Any:
    import numpy as np
    import pandas as pd

    if isinstance(value, Mapping):
        return {str(name): _cleaned(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_cleaned(each) for each in value]
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return _cleaned(value.item())
    if value is None or value is pd.NA or value is pd.NaT:
        return None
    if isinstance(value, bool | int | float | str):
        return value
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def by_column(predictions: Any) -> dict[str, list[Any]]:
    """Return predictions as columns: ``prediction``, or one for each value of a row."""
    rows = plain(predictions)
    if rows and isinstance(rows[0], dict):
        return {name: [row[name] for row in rows] for name in rows[0]}
    if rows and isinstance(rows[0], list):
        columns = zip(*rows, strict=True)
        return {f"{PREDICTION}_{i}": list(values) for i, values in enumerate(columns)}
    return {PREDICTION: rows}


def as_arrow(predictions: Any) -> bytes:
    """Return predictions as an Arrow stream."""
    import pyarrow as pa

    table = pa.table(by_column(predictions))
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()
