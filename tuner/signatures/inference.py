"""Inference of a schema from example data."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from tuner.errors import ArgumentError
from tuner.signatures.signature import MOST_CATEGORIES, Field, Schema, check_extra, is_dtype


def schema_of(
    data: Any, place: str, categories: Collection[str] = (), extra: str = "refuse"
) -> Schema:
    """Return the schema of a table or an array.

    Parameters
    ----------
    data
        The table or array.
    place
        Name of the data in errors.
    categories
        Names of columns whose values are all allowed values.
    extra
        Treatment of further columns.

    Raises
    ------
    ArgumentError
        If it is empty, or its type is not supported.
    """
    check_extra(extra, place)
    container, columns = _parts(data, place)
    names = [str(name) for name in columns]
    if len(set(names)) < len(names):
        raise ArgumentError(f"{place}: several columns are named {_twice(names)!r}; rename them")
    if unknown := sorted({str(name) for name in categories} - set(names)):
        raise ArgumentError(f"{place}: categories={unknown[0]!r} is not a column")
    closed = {str(name) for name in categories}
    fields = tuple(
        _field(
            name, values, f"{place}, column {name!r}" if name != "" else place, str(name) in closed
        )
        for name, values in columns.items()
    )
    if not fields or not next(iter(columns.values())).shape[0]:
        raise ArgumentError(f"{place}: it has no rows or no columns; pass some rows of the data")
    return Schema(container, fields, extra)


def _parts(data: Any, place: str) -> tuple[str, dict[Any, Any]]:
    """Return the container and its columns; an array is one column without a name."""
    import numpy as np
    import pandas as pd

    if isinstance(data, pd.DataFrame):
        names = list(data.columns)
        if bad := [name for name in names if not _is_name(name)]:
            raise ArgumentError(
                f"{place}: the column name {bad[0]!r} is neither a text nor an integer; rename it"
            )
        if not data.columns.is_unique:
            twice = _twice([str(name) for name in names])
            raise ArgumentError(f"{place}: several columns are named {twice!r}; rename them")
        return "frame", {_plain(name): data[name] for name in names}
    if isinstance(data, Mapping):
        named = {name: np.asarray(v) if _is_tensor(v) else v for name, v in data.items()}
        return "columns", {_text(name, place): _array(v, place) for name, v in named.items()}
    if isinstance(data, list) and data and all(isinstance(row, Mapping) for row in data):
        frame = pd.DataFrame(data, dtype=object)
        return "records", {_text(n, place): _array(frame[n].tolist(), place) for n in frame.columns}
    if isinstance(data, pd.Series):
        return "array", {"": data}
    if _is_tensor(data):
        return "tensor", {"": np.asarray(data.detach().cpu())}
    if is_sparse(data):
        return "sparse", {"": data}
    if isinstance(data, np.ndarray | list | tuple):
        return "array", {"": _array(data, place)}
    raise ArgumentError(
        f"{place}: a {type(data).__name__} is not supported; pass a DataFrame, an array, a list of "
        f"dicts, or a dict of columns"
    )


def _is_name(name: Any) -> bool:
    import numpy as np

    return isinstance(name, str | int | np.integer) and not isinstance(name, bool)


def _plain(name: Any) -> str | int:
    return name if isinstance(name, str) else int(name)


def _text(name: Any, place: str) -> str:
    if isinstance(name, str):
        return name
    raise ArgumentError(f"{place}: the column name {name!r} is not a text; rename it")


def _twice(names: list[str]) -> str:
    return next(name for name in names if names.count(name) > 1)


def _is_tensor(data: Any) -> bool:
    return type(data).__module__.partition(".")[0] == "torch" and hasattr(data, "detach")


def is_sparse(data: Any) -> bool:
    """Whether it is a sparse matrix of SciPy."""
    return type(data).__module__.startswith("scipy.sparse") and hasattr(data, "tocsr")


def _array(values: Any, place: str) -> Any:
    """Return values as an array or a Series; an irregular list raises an ArgumentError."""
    import numpy as np
    import pandas as pd

    if isinstance(values, np.ndarray | pd.Series):
        found = values
    else:
        if not isinstance(values, Collection):
            raise ArgumentError(f"{place}: {values!r:.80} is not a column; pass a list of rows")
        values = list(values)
        nested = any(isinstance(value, list | tuple | np.ndarray) for value in values)
        try:
            found = np.array(values) if nested else pd.Series(values, dtype=object).to_numpy()
        except ValueError:
            raise ArgumentError(f"{place}: its rows have different lengths") from None
    if found.ndim == 0:
        raise ArgumentError(f"{place}: a single value is not a column; pass a list of rows")
    return found


def _field(name: str | int, values: Any, place: str, closed: bool) -> Field:
    import numpy as np
    import pandas as pd

    shape = () if values.ndim == 1 else tuple(int(size) for size in values.shape[1:])
    if is_sparse(values):
        kind = "number" if values.dtype.kind in "fiub" else "any"
        return Field(name, kind, str(values.dtype), missing_in(values.data), shape=shape)
    flat = values if values.ndim == 1 else np.ravel(values)
    series = flat if isinstance(flat, pd.Series) else pd.Series(flat)
    missing = bool(series.isna().any())
    dtype: Any = series.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        found = [_item(value) for value in dtype.categories]
        name_of_type = "ordered category" if dtype.ordered else "category"
        return Field(name, "category", name_of_type, missing, _categories(found), shape)
    kind = kind_of(series)
    allowed: tuple[Any, ...] = ()
    if closed:
        if kind not in ("text", "integer", "boolean"):
            raise ArgumentError(f"{place}: values of kind {kind!r} are not categories")
        allowed = _categories(sorted({_item(value) for value in series.dropna()}))
    text = "str" if isinstance(values, np.ndarray) and values.dtype.kind == "U" else str(dtype)
    if text == "object" and kind in ("number", "integer") and not isinstance(values, pd.Series):
        text = "float64" if kind == "number" or missing else "int64"  # of a list
        kind = "number" if missing else kind
    if not is_dtype(kind, text):
        kind = "any"
    return Field(name, kind, text, missing, allowed, shape)


def missing_in(values: Any) -> bool:
    """Whether an array has missing values."""
    import pandas as pd

    return bool(pd.isna(values).any())


def kind_of(series: Any) -> str:
    """Return the kind of the values of a column that is not categorical."""
    from pandas.api import types

    dtype = series.dtype
    if types.is_bool_dtype(dtype):
        return "boolean"
    if types.is_integer_dtype(dtype):
        return "integer"
    if types.is_float_dtype(dtype):
        return "number"
    if types.is_datetime64_any_dtype(dtype):
        return "datetime"
    return _OF_OBJECTS.get(types.infer_dtype(series, skipna=True), "any")


_OF_OBJECTS = {
    "string": "text",
    "boolean": "boolean",
    "integer": "integer",
    "floating": "number",
    "mixed-integer-float": "number",
}


def _item(value: Any) -> Any:
    import numpy as np

    return value.item() if isinstance(value, np.generic) else value


def _categories(values: list[Any]) -> tuple[Any, ...]:
    """Return the categories; none if JSON does not represent them or they are too many."""
    if len(values) > MOST_CATEGORIES:
        return ()
    plain = all(isinstance(value, str | int | float) for value in values)
    return tuple(values) if plain else ()
