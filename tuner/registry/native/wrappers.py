"""Classes and parameters of scikit-learn wrappers: kept as JSON, given to the constructor again."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from typing import Any

from tuner.registry.limits import Refused
from tuner.registry.native import manifest
from tuner.registry.value_formats import is_plain

_LABELS = "biufU"  # kinds of NumPy's types
_PAIRS = "pairs of a dict"  # such as the weights of classes by number
_THREADS = ("n_jobs", "n_thread", "nthread", "num_threads", "thread_count")
_MOST_THREADS = 4096  # OpenMP ends the process if it cannot create them
_TYPE = re.compile(r"O|[<>|=][biuf][1248]|[<>|=]U\d+")


def is_of(model: Any, library: str, names: Sequence[str]) -> bool:
    """Whether a model is of one of these classes of an imported library, not of a derived one."""
    found = manifest.imported(library)
    return found is not None and type(model) in _classes(found, names).values()


def class_named(name: str, library: Any, names: Sequence[str], title: str) -> type:
    """Return a class of a library by its name in a file; refuses other names than `names`."""
    found = _classes(library, names).get(name)
    if found is None:
        raise Refused(f"the class {name!r:.60} is not one of {title}'s")
    return found


def _classes(library: Any, names: Sequence[str]) -> dict[str, type]:
    """Return the classes of these names that a version of a library has."""
    found = ((name, getattr(library, name, None)) for name in names)
    return {name: each for name, each in found if each is not None}


def plain_params(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters with NumPy scalars as Python's; refuses those that JSON cannot keep."""
    plain = {}
    for name, value in params.items():
        plain[name] = value.item() if _is_numpy_scalar(value) else value
        if type(value) is dict and not all(type(key) is str for key in value):
            plain[name] = {_PAIRS: [[key, each] for key, each in value.items()]}
        if not is_plain(plain[name]):
            raise Refused(
                f"its parameter {name}={value!r:.80} is not a plain value: only numbers, texts, "
                f"lists and dicts can be kept"
            )
    return plain


def restored_params(kept: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters that `plain_params` was given; refuses a huge number of threads."""
    params = {}
    for name, value in kept.items():
        is_pairs = isinstance(value, dict) and list(value) == [_PAIRS]
        params[name] = dict(value[_PAIRS]) if is_pairs else value
        if name in _THREADS and isinstance(value, int | float) and not value <= _MOST_THREADS:
            raise Refused(f"its parameter {name} asks for {value} threads")
    return params


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


def plain_labels(labels: Any) -> dict[str, Any]:
    """Return the class labels of a classifier as JSON values."""
    values = labels.tolist()
    if labels.dtype.kind not in _LABELS and not all(type(each) is str for each in values):
        raise Refused(f"its classes of the type {labels.dtype} are not numbers or texts")
    return {"type": "O" if labels.dtype.kind == "O" else labels.dtype.str, "labels": values}


def labels_of(facts: Mapping[str, Any]) -> Any:
    """Return the array that `plain_labels` was given; refuses other values than scalars."""
    import numpy as np

    values, kind = facts.get("labels"), facts.get("type")
    if (
        not isinstance(values, list)
        or not isinstance(kind, str)
        or not _TYPE.fullmatch(kind)
        or not {str, int, float, bool}.issuperset(map(type, values))
        or (kind == "O" and not {str}.issuperset(map(type, values)))
    ):
        raise Refused("its classes are not a list of numbers or texts")
    if kind == "O":
        return np.array(values, dtype=object)
    found = np.array(values)
    return found if kind[1] == "U" else found.astype(kind, casting="same_kind")
