"""Tables of any accepted type as a pandas DataFrame, and the kind and values of each column."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuner.errors import ArgumentError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

KINDS = ("number", "category", "boolean", "datetime", "text", "empty")
"""Kinds of columns. ``text`` is nearly unique text, and ``empty`` has no value at all."""

MOSTLY_UNIQUE = 0.9
"""Share of distinct values from which text identifies rows instead of grouping them."""

FEWEST_UNIQUE = 50
"""Number of values below which text is always a category."""


def as_frame(data: Any) -> pd.DataFrame:
    """Return a table as a DataFrame whose columns have unique names; it may share memory.

    Parameters
    ----------
    data
        A DataFrame, a dict of columns, a two-dimensional array, whose columns are named ``x0``,
        ``x1`` and so on, or the path of a ``.csv``, ``.csv.gz`` or ``.parquet`` file.

    Raises
    ------
    ArgumentError
        If the table cannot be read, or has no rows, no columns or two columns of one name.
    """
    import numpy as np
    import pandas as pd

    if isinstance(data, str | Path):
        frame = _read(Path(data))
    elif isinstance(data, pd.DataFrame):
        frame = data
    elif isinstance(data, Mapping):
        try:
            frame = pd.DataFrame(dict(data))
        except ValueError as error:
            raise ArgumentError(f"drift: the dict is not a table: {error}") from None
    elif isinstance(data, np.ndarray):
        if data.ndim != 2:
            raise ArgumentError(
                f"drift: an array of shape {data.shape} is not a table; pass one with rows and "
                f"columns"
            )
        frame = pd.DataFrame(data, columns=[f"x{i}" for i in range(data.shape[1])], copy=False)
    else:
        raise ArgumentError(
            f"drift: a {type(data).__name__} is not a table; pass a DataFrame, a dict of columns, "
            f"a two-dimensional array, or the path of a CSV or Parquet file"
        )
    names = [str(name) for name in frame.columns]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ArgumentError(f"drift: several columns are named {twice[0]!r}; rename all but one")
    if not names or not len(frame):
        raise ArgumentError(f"drift: the table has {len(frame)} rows and {len(names)} columns")
    return frame if names == list(frame.columns) else frame.set_axis(names, axis=1)


def labeled_file(path: Path, label: str | None) -> Any:
    """Return the table of a file; with its column of labels apart, if it has this column.

    Raises
    ------
    ArgumentError
        If the file cannot be read.
    """
    frame = as_frame(path)
    return (frame.drop(columns=label), frame[label]) if label in frame.columns else frame


def split_labels(data: Any) -> tuple[Any, Any]:
    """Return a table and its labels if the data is such a pair; else the data and None.

    Examples
    --------
    >>> split_labels(({"x": [1, 2]}, [0, 1]))
    ({'x': [1, 2]}, [0, 1])
    >>> split_labels({"x": [1, 2]})
    ({'x': [1, 2]}, None)
    """
    import numpy as np

    if isinstance(data, tuple | list) and len(data) == 2:
        table, labels = data
        if not isinstance(labels, str | Path) and np.ndim(labels) == 1 and len(labels):
            return table, labels
    return data, None


def _read(path: Path) -> pd.DataFrame:
    import pandas as pd

    if not path.is_file():
        raise ArgumentError(f"drift: file {str(path)!r} does not exist; check the path")
    try:
        if path.suffix in (".parquet", ".pq"):
            return pd.read_parquet(path)
        if path.name.endswith((".csv", ".csv.gz")):
            return pd.read_csv(path)
    except (ValueError, OSError, EOFError) as error:  # pandas' and pyarrow's errors are these
        raise ArgumentError(f"drift: file {str(path)!r} cannot be read: {error}") from error
    raise ArgumentError(
        f"drift: file {str(path)!r} is neither .csv nor .parquet; convert it, or read it with "
        f"pandas and pass the DataFrame"
    )


def typed(column: pd.Series[Any]) -> tuple[str, np.ndarray[Any, Any]]:
    """Return the kind of a column, and its values in the type of the kind.

    Numbers and datetimes (in seconds since 1970) are float64 with NaN for missing values. Values of
    every other kind are text, or None if missing; booleans are ``"true"`` and ``"false"``.
    """
    import numpy as np
    import pandas as pd
    from pandas.api import types

    missing = column.isna().to_numpy()
    if missing.all():
        return "empty", np.full(len(column), None, dtype=object)
    found = types.infer_dtype(column, skipna=True)
    if found == "categorical":
        column = column.astype(object)
        found = "string"
    if found == "boolean":
        values = np.where(column.to_numpy(dtype=object, na_value=False), "true", "false")
        return "boolean", _with_none(values, missing)
    if found in ("integer", "floating", "mixed-integer-float", "decimal"):
        return "number", column.to_numpy(dtype=np.float64, na_value=np.nan)
    if found in ("datetime64", "datetime", "date"):
        times = pd.to_datetime(column, utc=True, errors="coerce")
        return "datetime", _seconds(times - pd.Timestamp(0, tz="UTC"))
    if found in ("timedelta64", "timedelta"):
        return "number", _seconds(pd.to_timedelta(column))
    texts = _with_none(column.astype(str).to_numpy(dtype=object), missing)
    given = len(texts) - int(missing.sum())
    distinct = len(pd.unique(texts[~missing]))
    unique = given >= FEWEST_UNIQUE and distinct > MOSTLY_UNIQUE * given
    return ("text" if unique else "category"), texts


def _seconds(spans: pd.Series[Any]) -> np.ndarray[Any, Any]:
    import numpy as np

    seconds: np.ndarray[Any, Any] = spans.dt.total_seconds().to_numpy(np.float64, na_value=np.nan)
    return seconds


def _with_none(values: np.ndarray[Any, Any], missing: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    values = values.astype(object)
    values[missing] = None
    return values
