"""Describe an optimizer by its options, as JSON values."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from typing import Any


def options_of(optimizer: object) -> dict[str, Any]:
    """Return the attributes named like the arguments of the constructor, as JSON values."""
    names = inspect.signature(type(optimizer)).parameters
    return {name: as_json(getattr(optimizer, name)) for name in names if hasattr(optimizer, name)}


def as_json(value: Any) -> Any:
    """Convert an option to a JSON value; other types become their ``repr``.

    Examples
    --------
    >>> as_json({"gamma": (0.1, None), "kind": complex(1, 2)})
    {'gamma': [0.1, None], 'kind': '(1+2j)'}
    """
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else repr(value)
    if isinstance(value, Mapping):
        return {str(k): as_json(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(v) for v in value]
    return repr(value)
