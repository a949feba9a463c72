"""Parameters of scikit-learn wrappers, kept as JSON and given to the constructor again."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from tuner.registry.limits import Refused
from tuner.registry.value_formats import is_plain


def plain_params(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters with NumPy scalars as Python's; refuses those that JSON cannot keep."""
    plain = {}
    for name, value in params.items():
        plain[name] = value.item() if _is_numpy_scalar(value) else value
        if not is_plain(plain[name]):
            raise Refused(
                f"its parameter {name}={value!r:.80} is not a plain value: only numbers, texts, "
                f"lists and dicts can be kept"
            )
    return plain


def constructed(wrapper: type, params: Mapping[str, Any]) -> Any:
    """Create a wrapper; refuses parameters that would replace an attribute of its class."""
    names = set(inspect.signature(wrapper).parameters) | {
        name for base in wrapper.__mro__ for name in inspect.signature(base).parameters
    }
    for name in params:
        if name not in names and (hasattr(wrapper, name) or name.startswith("_")):
            raise Refused(f"{wrapper.__name__} has no parameter {name!r:.60}")
    return wrapper(**params)


def _is_numpy_scalar(value: Any) -> bool:
    return type(value).__module__ == "numpy" and getattr(value, "ndim", None) == 0
