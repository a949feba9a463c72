"""Plain values: what a parameter may be, whatever it was given as."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.float64]
"""Floats in one array: places in the unit interval, or rows of the unit cube."""


def plain(value: Any) -> Any:
    """Return a value of Python's own types: NumPy's scalars, enums of texts and the like turned.

    What is no scalar, tuple or list comes back as it is.

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
        return float(value) + 0.0  # no minus zero: it equals zero, but is written otherwise
    if isinstance(value, int):
        return int(value)
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, list | tuple):
        return tuple(map(plain, value))
    return value


def is_scalar(value: Any) -> bool:
    """Whether JSON can hold the value and compare it: NaN and infinity are not such."""
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or isinstance(value, bool | int | str)


def leaves(value: Any) -> Iterator[Any]:
    """Yield the items of tuples in tuples; anything else is its own only item."""
    if isinstance(value, tuple):
        for item in value:
            yield from leaves(item)
    else:
        yield value


def number(value: Any) -> int | float:
    """Return a plain finite int or float; a bool or a text is no number.

    Raises
    ------
    ValueError
        If it is none.
    """
    value = plain(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(value)
    return value


def shown(value: Any, width: int = 200) -> str:
    """Return how a value is written, cut to `width` characters, whatever its ``repr`` does."""
    try:
        text = repr(value)
    except Exception as error:  # an object's own code, or an int too long to be written
        return f"<{type(value).__name__} that cannot be shown: {type(error).__name__}>"
    return text if len(text) <= width else text[: width - 3] + "..."
