"""The file ``format.json`` beside a library's own file: the class and parameters of a model."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

_PAIRS = "pairs of a dict"


def facts_of(folder: Path) -> dict[str, Any]:
    """Return the values of ``format.json``."""
    found: dict[str, Any] = _decoded(json.loads((folder / "format.json").read_bytes()))
    return found


def estimator(library: Any, facts: dict[str, Any]) -> Any:
    """Return an estimator of a library with its parameters, to load its fitted state into."""
    return getattr(library, facts["class"])(**params_of(facts))


def params_of(facts: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters of an estimator."""
    return {name: _restored(value) for name, value in facts["params"].items()}


def referred(reference: str) -> Any:
    """Return the function or class of a reference such as ``"package.module:name"``."""
    module, _, names = reference.partition(":")
    found: Any = importlib.import_module(module)
    for name in names.split("."):
        found = getattr(found, name)
    return found


def _restored(value: Any) -> Any:
    return dict(value[_PAIRS]) if isinstance(value, dict) and list(value) == [_PAIRS] else value


def _decoded(value: Any) -> Any:
    """Return a value whose tuples and special floats tuner writes as dicts of one key."""
    if isinstance(value, list):
        return [_decoded(each) for each in value]
    if not isinstance(value, dict):
        return value
    if list(value) == ["float"]:
        return float(value["float"])
    if list(value) == ["tuple"]:
        return tuple(map(_decoded, value["tuple"]))
    if list(value) == ["dict"]:
        value = value["dict"]
    return {name: _decoded(each) for name, each in value.items()}
