"""Checks of tables and arrays against a schema."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from typing import Any

from tuner.errors import SignatureError
from tuner.signatures.columns import as_list, as_numpy, checked_values, is_missing
from tuner.signatures.inference import is_sparse
from tuner.signatures.signature import Field, Schema


def checked(schema: Schema, data: Any) -> Any:
    """Return data in the form of a schema; see `Signature.check_inputs`."""
    if not schema.tabular:
        return _checked_array(schema, data)
    columns, n_rows = _columns(schema, data)
    shaped = [_in_shape(f, column) for f, column in zip(schema.fields, columns, strict=True)]
    found = {f.name: _column(f, column) for f, column in zip(schema.fields, shaped, strict=True)}
    if schema.container == "frame":
        index = getattr(data, "index", None) if hasattr(data, "iloc") else None
        return _frame(schema, found, index)
    if schema.container == "columns":
        return {
            field.name: as_numpy(field, found[field.name]).reshape(n_rows, *_tail(column))
            for field, column in zip(schema.fields, shaped, strict=True)
        }
    names = [field.name for field in schema.fields]
    lists = [as_list(field, found[field.name]) for field in schema.fields]
    return [dict(zip(names, row, strict=True)) for row in zip(*lists, strict=True)]


# --- tables ---------------------------------------------------------------------------------


def _columns(schema: Schema, data: Any) -> tuple[list[Any], int]:
    """Return the columns of the schema in order, and the number of rows."""
    import pandas as pd

    if isinstance(data, pd.DataFrame):
        if not data.columns.is_unique:
            twice = data.columns[data.columns.duplicated()][0]
            raise SignatureError(f"several columns are named {twice!r}", column=str(twice))
        keys = _keys(schema, list(data.columns))
        return [data[key] for key in keys], len(data)
    if isinstance(data, Mapping):
        keys = _keys(schema, list(data))
        columns = [_one_column(name, data[name]) for name in keys]
        n_rows = len(columns[0])
        for name, column in zip(keys, columns, strict=True):
            if len(column) != n_rows:
                raise SignatureError(
                    f"column {name!r} has {len(column)} rows, but {keys[0]!r} has {n_rows}",
                    column=str(name),
                )
        return columns, n_rows
    if isinstance(data, Sequence) and not isinstance(data, str | bytes):
        return _columns_of_records(schema, data), len(data)
    raise SignatureError(
        f"the model takes the columns {_listed(schema.columns)}; a {type(data).__name__} has no "
        f"column names: pass a DataFrame, a list of dicts, or a dict of columns"
    )


def _one_column(name: Any, values: Any) -> Any:
    import numpy as np
    import pandas as pd

    if isinstance(values, list | np.ndarray | pd.Series) and np.ndim(values) != 0:
        return values
    if hasattr(values, "detach"):
        return np.asarray(values.detach().cpu())
    if isinstance(values, tuple):
        return list(values)
    raise SignatureError(
        f"column {name!r} is {values!r:.80}; a column is a list of values", column=str(name)
    )


def _columns_of_records(schema: Schema, rows: Sequence[Any]) -> list[Any]:
    for row, record in enumerate(rows):
        if not isinstance(record, Mapping):
            raise SignatureError(
                f"row {row} is {record!r:.80}; write an object with the columns "
                f"{_listed(schema.columns)}",
                row=row,
                value=f"{record!r:.80}",
            )
    names = [str(field.name) for field in schema.fields]
    try:
        if all(len(record) == len(names) for record in rows):
            return [[record[name] for record in rows] for name in names]
    except KeyError:
        pass
    present = dict.fromkeys(key for record in rows for key in record)
    _keys(schema, list(present), optional={f.name for f in schema.fields if f.missing})
    columns = []
    for field in schema.fields:
        column = [record.get(field.name, record.get(str(field.name), _ABSENT)) for record in rows]
        if not field.missing and any(value is _ABSENT for value in column):
            row = next(i for i, value in enumerate(column) if value is _ABSENT)
            raise _missing_column(field, f"row {row}: ", row)
        columns.append([None if value is _ABSENT else value for value in column])
    return columns


_ABSENT = object()


def _keys(schema: Schema, present: list[Any], optional: set[Any] | None = None) -> list[Any]:
    """Return the keys of the columns in `present`; refuse missing and further columns."""
    known = {str(key): key for key in present}
    for field in schema.fields:
        if str(field.name) not in known and field.name not in (optional or ()):
            raise _missing_column(field, "", None, list(known))
    names = {str(field.name) for field in schema.fields}
    further = [name for name in known if name not in names]
    if further and schema.extra == "refuse":
        raise SignatureError(
            f"unknown column {further[0]!r}; the model takes the columns {_listed(schema.columns)}",
            column=further[0],
            allowed=_listed(schema.columns),
        )
    return [known.get(str(field.name)) for field in schema.fields]


def _missing_column(
    field: Field, place: str, row: int | None, present: Sequence[str] = ()
) -> SignatureError:
    close = difflib.get_close_matches(str(field.name), present, n=1)
    hint = f"; the data has {close[0]!r}" if close else ""
    return SignatureError(
        f"{place}column {str(field.name)!r} is missing{hint}; it takes {field.allowed}",
        column=str(field.name),
        row=row,
        allowed=field.allowed,
    )


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:20])
    return shown + (f" and {len(names) - 20} more" if len(names) > 20 else "")


def _in_shape(field: Field, values: Any) -> Any:
    """Return the values of a column as they are, or as an array of the shape of the field."""
    name = str(field.name)
    if field.shape:
        return _shaped(field, values, f"column {name!r}", name)
    if _tail(values):
        raise SignatureError(
            f"column {name!r} has the shape {values.shape}; it takes one value for each row",
            column=name,
        )
    return values


def _column(field: Field, values: Any) -> Any:
    """Return the checked values of a column in its shape, as one axis."""
    name, size = str(field.name), math.prod(_tail(values))
    return checked_values(
        field,
        values.reshape(-1) if field.shape else values,
        lambda at, value: refused(
            field, value, f"column {name!r}, row {at // size}", name, at // size
        ),
    )


def _tail(values: Any) -> tuple[int, ...]:
    import numpy as np

    return np.shape(values)[1:] if not isinstance(values, list) else ()


def _frame(schema: Schema, found: dict[str | int, Any], index: Any) -> Any:
    import pandas as pd

    frame = pd.DataFrame(found, index=index, copy=False)
    frame.columns = pd.Index([field.name for field in schema.fields])
    return frame


# --- arrays ---------------------------------------------------------------------------------


def _checked_array(schema: Schema, data: Any) -> Any:
    field = schema.fields[0]
    if schema.container == "sparse" and is_sparse(data):
        _check_shape(field, data.shape, "array", "")
        checked_values(field, data.data, lambda at, v: refused(field, v, f"value {at}", "", None))
        return data.astype(field.dtype)
    values = _shaped(field, _as_rows(schema, data), "array", "")
    flat = checked_values(
        field, values.reshape(-1), lambda at, v: _refused_at(schema, values, at, v)
    )
    found = as_numpy(field, flat).reshape(values.shape)
    if schema.container == "tensor":
        import torch

        return torch.from_numpy(found)
    if schema.container == "sparse":
        from scipy.sparse import csr_array

        return csr_array(found)
    return found


def _as_rows(schema: Schema, data: Any) -> Any:
    """Return rows without names; named columns x0, x1, ... are put in order."""
    import numpy as np
    import pandas as pd

    named = isinstance(data, pd.DataFrame | Mapping) or (
        isinstance(data, list) and data and isinstance(data[0], Mapping)
    )
    if not named:
        return np.asarray(data.detach().cpu()) if hasattr(data, "detach") else data
    if not (names := schema.columns):
        raise SignatureError("the model takes an array; pass rows without column names")
    field = schema.fields[0]
    columns = tuple(
        Field(name, field.kind, field.dtype, field.missing, field.categories) for name in names
    )
    table = Schema("frame", columns)
    found, _ = _columns(table, data)
    checked = [
        as_numpy(f, _column(f, _in_shape(f, c))) for f, c in zip(columns, found, strict=True)
    ]
    return np.column_stack(checked)


def _shaped(field: Field, values: Any, what: str, column: str) -> Any:
    """Return values as an array of the shape of the field."""
    import numpy as np
    import pandas as pd

    if isinstance(values, pd.Series):
        if not field.shape:
            return values
        values = list(values)
    if not isinstance(values, np.ndarray):
        values = _array_of(field, values, what, column)
    _check_shape(field, values.shape, what, column)
    return values


def _array_of(field: Field, values: Any, what: str, column: str) -> Any:
    import numpy as np

    if field.shape:
        try:
            found = np.array(values)
        except (ValueError, OverflowError):
            found = None
        numeric = found is not None and found.dtype.kind in "biuf"
        return found if numeric and not _has_bool(values) else _objects(field, values, what, column)
    if not isinstance(values, Sequence) or isinstance(values, str | bytes):
        raise SignatureError(f"{what}: {values!r:.80} is not a list of rows", column=column)
    found = np.empty(len(values), dtype=object)
    found[:] = values
    return found


def _has_bool(values: Any) -> bool:
    """Whether a list of lists mixes booleans with numbers, which NumPy would convert."""
    while isinstance(values, Sequence) and values and isinstance(values[0], Sequence):
        values = [each for row in values for each in row]
    kinds = set(map(type, values))
    return bool in kinds and len(kinds) > 1


def _objects(field: Field, values: Any, what: str, column: str) -> Any:
    """Return nested lists as an array of objects."""
    import numpy as np

    try:
        found = np.array(values, dtype=object)
    except ValueError:
        found = np.empty(1, dtype=object)
        found[0] = []
    if found.ndim <= len(field.shape) and any(isinstance(each, list) for each in found.flat):
        raise SignatureError(
            f"{what}: its rows have different lengths; the model takes {_shape(field)}",
            column=column,
            allowed=_shape(field),
        )
    return found


def _check_shape(field: Field, shape: tuple[int, ...], what: str, column: str) -> None:
    right = len(shape) == len(field.shape) + 1 and all(
        size in (None, found) for size, found in zip(field.shape, shape[1:], strict=True)
    )
    if not right:
        raise SignatureError(
            f"{what}: the shape is {shape}; the model takes {_shape(field)}",
            column=column,
            value=str(shape),
            allowed=_shape(field),
        )


def _shape(field: Field) -> str:
    sizes = ["any" if size is None else str(size) for size in field.shape]
    return f"the shape ({', '.join(['n', *sizes])})" if sizes else "the shape (n,)"


def _refused_at(schema: Schema, values: Any, at: int, value: Any) -> SignatureError:
    import numpy as np

    field = schema.fields[0]
    row, *rest = (int(i) for i in np.unravel_index(at, values.shape))
    if len(rest) == 1:
        name = f"x{rest[0]}"
        return refused(field, value, f"column {name!r}, row {row}", name, row)
    place = f"row {row}" + (f", element {tuple(rest)}" if rest else "")
    return refused(field, value, place, "", row)


def refused(field: Field, value: Any, place: str, column: str, row: int | None) -> SignatureError:
    """Return the error for a value that a field does not allow."""
    import numpy as np

    shown = repr(value.item() if isinstance(value, np.generic) else value)
    shown = shown if len(shown) <= 80 else f"{shown[:77]}..."
    problem = "the value is missing" if is_missing(value) else f"{shown} is not allowed"
    return SignatureError(
        f"{place}: {problem}; allowed is {field.allowed}",
        column=column,
        row=row,
        value=shown,
        allowed=field.allowed,
    )
