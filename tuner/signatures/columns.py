"""Checks and conversion of the values of one field."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from tuner.errors import SignatureError
from tuner.signatures.signature import Field

if TYPE_CHECKING:
    import numpy as np

Refusal = Callable[[int, Any], SignatureError]
"""Returns the error for the position of an element, and its value."""

_REFUSED = object()

_MOST_BYTES = 100_000_000
"""Size of an array of texts above which it is an array of objects."""


def checked_values(field: Field, values: Any, refuse: Refusal) -> Any:
    """Return the values of a field in its dtype.

    Parameters
    ----------
    field
        The field, whose shape is not checked.
    values
        A list, a one-dimensional array or a Series.
    refuse
        Makes the error for an element.

    Returns
    -------
    array or Series
        The values: a pandas array or Series for dtypes that NumPy lacks, else an array.

    Raises
    ------
    SignatureError
        For the first value that is not allowed.
    """
    import numpy as np

    if isinstance(values, np.ndarray) and values.dtype.kind == "O":
        values = values.tolist()
    fast = _fast(field, values)
    if fast is None:
        fast = _built(field, _each(field, values, refuse), refuse)
    elif not field.missing:
        _refuse_missing(fast, values, refuse)
    if field.categories and field.kind != "category":
        _refuse_unknown(field, fast, refuse)
    return fast


def _fast(field: Field, values: Any) -> Any:
    """Return values whose types are right as a whole, None if elements need a look."""
    import numpy as np
    import pandas as pd

    if isinstance(values, list):
        if field.kind == "category" and field.categories:
            return _fast_categories(field, values)
        types = _LISTS.get(field.kind)
        if types is None or not types.issuperset(map(type, values)):
            return None
        if field.kind == "text":
            return _text_array(field, values)
        if field.kind != "integer" and field.dtype not in ("float64", "bool"):
            return None
        try:
            found = np.array(values, dtype=None if field.kind == "integer" else field.dtype)
        except OverflowError:
            return None
        return _fast(field, found) if field.kind == "integer" else found
    dtype = values.dtype
    if isinstance(dtype, np.dtype):
        return _fast_numpy(field, np.asarray(values))
    if isinstance(dtype, pd.CategoricalDtype):
        return values if field.kind == "category" and dtype == _categorical(field) else None
    return values if str(dtype) == field.dtype and field.kind != "any" else None


def _fast_categories(field: Field, values: list[Any]) -> Any:
    """Return texts as categories; None if one of them is not a text or not known."""
    import numpy as np
    import pandas as pd

    codes = _codes(field)
    if not codes:
        return None
    try:
        found = [codes[value] if type(value) is str else None for value in values]
    except KeyError:
        return None
    if None in found:
        return None
    return pd.Categorical.from_codes(np.array(found, dtype=np.int64), dtype=_categorical(field))


@lru_cache(maxsize=256)
def _codes(field: Field) -> dict[str, int]:
    """Return the number of each category, nothing if they are not all texts."""
    if not all(type(value) is str for value in field.categories):
        return {}
    return {value: number for number, value in enumerate(field.categories)}


_LISTS: dict[str, frozenset[type]] = {
    "number": frozenset({int, float}),
    "integer": frozenset({int}),
    "boolean": frozenset({bool}),
    "text": frozenset({str}),
}
"""Types of the values of a list that needs no further check."""


def _fast_numpy(field: Field, values: Any) -> Any:
    import numpy as np

    code = values.dtype.kind
    if field.kind == "number" and code in "fiu" and field.dtype.startswith("float"):
        if str(values.dtype) == field.dtype:
            return values
        wider = np.promote_types(values.dtype, field.dtype) == np.dtype(field.dtype)
        return values.astype(field.dtype) if wider or code in "iu" else None
    if field.kind == "integer" and code in "iu" and field.dtype[0] in "iu":
        limits = np.iinfo(field.dtype)
        inside = not len(values) or (values.min() >= limits.min and values.max() <= limits.max)
        return values.astype(field.dtype, copy=False) if inside else None
    if field.kind == "boolean" and code == "b" and field.dtype == "bool":
        return values
    if field.kind == "datetime" and code == "M" and field.dtype.startswith("datetime64["):
        return None if "," in field.dtype else values.astype(field.dtype)
    return None


def _text_array(field: Field, values: list[str]) -> Any:
    import numpy as np
    import pandas as pd

    if field.dtype == "object":
        found = np.empty(len(values), dtype=object)
        found[:] = values
        return found
    return pd.Series(values, dtype=field.dtype).array


def _refuse_missing(found: Any, values: Any, refuse: Refusal) -> None:
    import numpy as np
    import pandas as pd

    kind = found.dtype.kind if isinstance(found, np.ndarray) else ""
    if kind in tuple("biu"):
        return
    missing = np.isnan(found) if kind == "f" else np.asarray(pd.isna(found))
    if missing.any():
        row = int(missing.argmax())
        raise refuse(row, _at(values, row))


def _at(values: Any, row: int) -> Any:
    return values.iloc[row] if hasattr(values, "iloc") else values[row]


def _refuse_unknown(field: Field, found: Any, refuse: Refusal) -> None:
    import pandas as pd

    series = pd.Series(found)
    unknown = ~(series.isin(field.categories) | series.isna()).to_numpy()
    if unknown.any():
        row = int(unknown.argmax())
        raise refuse(row, series.iloc[row])


def is_missing(value: Any) -> bool:
    """Whether a single value stands for a missing one."""
    import pandas as pd

    if value is None or value is pd.NA:
        return True
    return isinstance(value, _SCALARS) and bool(value != value)  # NaN, NaT


def _each(field: Field, values: Any, refuse: Refusal) -> list[Any]:
    """Return the values, converted one by one; None for missing ones."""
    convert = _category_of(field) if field.kind == "category" else _CONVERT[field.kind]
    found: list[Any] = []
    objects = values if isinstance(values, list) else list(values)
    for row, value in enumerate(objects):
        if is_missing(value):
            if not field.missing:
                raise refuse(row, value)
            found.append(None)
            continue
        converted = convert(value, field)
        if converted is _REFUSED:
            raise refuse(row, value)
        found.append(converted)
    return found


def _number(value: Any, field: Field) -> Any:
    import numpy as np

    if isinstance(value, bool | np.bool_) or not isinstance(
        value, int | float | np.number | Decimal
    ):
        return _REFUSED
    if isinstance(value, np.complexfloating):
        return _REFUSED
    try:
        number = float(value)
    except OverflowError:
        return _REFUSED
    name = _numpy_name(field)
    if name.startswith("float") and np.isfinite(number):
        return number if abs(number) <= float(np.finfo(name).max) else _REFUSED
    return number


def _integer(value: Any, field: Field) -> Any:
    import numpy as np

    if isinstance(value, bool | np.bool_) or not isinstance(
        value, int | float | np.number | Decimal
    ):
        return _REFUSED
    try:
        number = int(value)
    except (OverflowError, ValueError, TypeError):  # infinity, a complex number
        return _REFUSED
    name = _numpy_name(field)
    limits = np.iinfo("int64" if name == "object" else name)
    return number if number == value and limits.min <= number <= limits.max else _REFUSED


def _numpy_name(field: Field) -> str:
    """Return the name of NumPy's dtype for a nullable one of pandas or Arrow."""
    return field.dtype.lower().removesuffix("[pyarrow]")


def _boolean(value: Any, _: Field) -> Any:
    import numpy as np

    return bool(value) if isinstance(value, bool | np.bool_) else _REFUSED


def _text(value: Any, _: Field) -> Any:
    return str(value) if isinstance(value, str) else _REFUSED


def _category_of(field: Field) -> Callable[[Any, Field], Any]:
    """Return the check of single categories; True is not the category 1."""
    import numpy as np

    known = {(type(value) is bool, value) for value in field.categories}

    def category(value: Any, _: Field) -> Any:
        if isinstance(value, np.generic):
            value = value.item()
        try:
            return value if not known or (type(value) is bool, value) in known else _REFUSED
        except TypeError:  # a list
            return _REFUSED

    return category


def _datetime(value: Any, field: Field) -> Any:
    import numpy as np
    import pandas as pd

    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return _REFUSED
    if not isinstance(value, date | np.datetime64):
        return _REFUSED
    try:
        moment = pd.Timestamp(value)
    except (ValueError, OverflowError):
        return _REFUSED
    return moment if (moment.tz is not None) == ("," in field.dtype) else _REFUSED


def _any(value: Any, _: Field) -> Any:
    return value


_CONVERT: dict[str, Callable[[Any, Field], Any]] = {
    "number": _number,
    "integer": _integer,
    "boolean": _boolean,
    "text": _text,
    "datetime": _datetime,
    "any": _any,
}

_SCALARS = (float, complex, Decimal, date)


def _categorical(field: Field) -> Any:
    # Fields with the categories 0, 1 and False, True are equal, so only texts are cached.
    return _dtype_of(field) if _codes(field) else _dtype_of.__wrapped__(field)


@lru_cache(maxsize=256)
def _dtype_of(field: Field) -> Any:
    import pandas as pd

    known = list(field.categories) or None
    return pd.CategoricalDtype(known, ordered=field.dtype.startswith("ordered"))


def _built(field: Field, found: list[Any], refuse: Refusal) -> Any:
    """Return converted values in the dtype of the field."""
    import numpy as np
    import pandas as pd

    if field.kind == "category":
        return pd.Categorical(found, dtype=_categorical(field))
    if field.dtype == "object" or field.kind == "any":
        objects: np.ndarray[Any, Any] = np.empty(len(found), dtype=object)
        objects[:] = found
        return objects
    try:
        return pd.Series(found, dtype=field.dtype).array
    except (ValueError, OverflowError):  # a datetime outside the range of its unit
        for row, value in enumerate(found):
            try:
                pd.Series([value], dtype=field.dtype)
            except (ValueError, OverflowError):
                raise refuse(row, value) from None
        raise


def as_numpy(field: Field, values: Any) -> np.ndarray[Any, Any]:
    """Return checked values as a NumPy array."""
    import numpy as np

    if isinstance(values, np.ndarray):
        return values
    if field.kind in ("text", "any", "category"):
        found = list(values)
        as_text = field.dtype == "str" and not field.missing
        # NumPy keeps the longest text's size for each text.
        size = 4 * len(found) * max(map(len, found), default=0) if as_text else 0
        return np.array(found, dtype=str if 0 < size < _MOST_BYTES else object)
    if field.dtype[0].isupper() or field.dtype == "boolean":  # nullable types of pandas
        return np.array(list(values), dtype=object) if field.missing else values.to_numpy()
    return np.asarray(values)


def as_list(field: Field, values: Any) -> Sequence[Any]:
    """Return checked values as plain Python values, None for missing ones."""
    import pandas as pd

    series = values if isinstance(values, pd.Series) else pd.Series(values, copy=False)
    found = series.astype(object)
    return (
        [None if is_missing(value) else value for value in found] if field.missing else list(found)
    )
