"""Conversion of parameter values to plain Python values."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.float64]
"""An array of floats: positions in the unit interval, or rows of the unit cube."""


def plain(value: Any) -> Any:
    """Convert NumPy scalars, string enums and other subclasses to built-in types.

    Lists become tuples. Values of other types are returned unchanged.

    Examples
    --------
    >>> plain([np.int64(3), "a"])
    (3, 'a')
    """
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or type(value) in (bool, int, str):
        return value
    if isinstance(value, float):
        return float(value) + 0.0  # turns -0.0 into 0.0, which is equal but has another repr
    if isinstance(value, int):
        return int(value)
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, list | tuple):
        return tuple(map(plain, value))
    return value


def is_scalar(value: Any) -> bool:
    """Return whether a value is a scalar that JSON can store; excludes NaN and infinity."""
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or isinstance(value, bool | int | str)


def leaves(value: Any) -> Iterator[Any]:
    """Yield the items of nested tuples; any other value yields itself."""
    if isinstance(value, tuple):
        for item in value:
            yield from leaves(item)
    else:
        yield value


def number(value: Any) -> int | float:
    """Convert to a finite int or float.

    Raises
    ------
    ValueError
        If the value is a bool, a string, not finite, or of another type.
    """
    value = plain(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(value)
    return value


def shown(value: Any, width: int = 200) -> str:
    """Return the ``repr`` of a value, cut to `width` characters; never raises."""
    try:
        text = repr(value)
    except Exception as error:  # from the object's code, or for an int with too many digits
        return f"<{type(value).__name__} that cannot be shown: {type(error).__name__}>"
    return text if len(text) <= width else text[: width - 3] + "..."
