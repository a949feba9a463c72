"""The JSON form of records: exact for params, floats, bytes and tuples."""

from __future__ import annotations

import base64
import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from enum import StrEnum
from functools import cache
from typing import Any, Self, TypeAlias

Params: TypeAlias = dict[str, Any]
"""A point of a space: plain values; a branch of a `Choice` is a pair ``(kind, options)``."""


class Record:
    """Base class of records: conversion from and to JSON values."""

    __slots__ = ()

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; fields that hold their default are left out."""
        return {
            f.name: _encode(value)
            for f in dataclasses.fields(self)  # type: ignore[arg-type]
            if not _is_default(f, value := getattr(self, f.name))
        }

    def _repr_html_(self) -> str:
        from tuner.records.html import record_html

        return record_html(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Build the record that `to_json` was called on.

        Raises
        ------
        ValueError
            If `data` has a field that this record does not know.
        """
        hints = _hints(typing.cast(type, cls))
        unknown = data.keys() - hints.keys()
        if unknown:
            raise ValueError(f"{cls.__name__} has no field {', '.join(sorted(unknown))}")
        return cls(**{name: _decode(hints[name], value) for name, value in data.items()})


def _is_default(f: dataclasses.Field[Any], value: Any) -> bool:
    if f.default is not dataclasses.MISSING:
        return bool(value == f.default) and type(value) is type(f.default)
    if f.default_factory is not dataclasses.MISSING:
        return bool(value == f.default_factory())
    return False


@cache
def _hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def _encode(value: Any) -> Any:
    """Turn one value into JSON values; params and floats keep their exact meaning."""
    kind = type(value)
    if kind in _EXACT or (kind is float and math.isfinite(value)):
        return value
    if isinstance(value, Record):
        return value.to_json()
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": repr(float(value))}  # NumPy's floats are floats, too
    if isinstance(value, bytes):
        return {"base64": base64.b64encode(value).decode("ascii")}
    if isinstance(value, tuple):
        return {"tuple": [_encode(v) for v in value]}
    if isinstance(value, list):
        return [_encode(v) for v in value]
    if isinstance(value, dict):
        encoded = {k: _encode(v) for k, v in value.items()}
        return {"dict": encoded} if encoded.keys() & _TAGS else encoded
    if isinstance(value, StrEnum):
        return value.value
    return value.to_json() if hasattr(value, "to_json") else value


_TAGS = frozenset({"float", "base64", "tuple", "dict"})
_EXACT = frozenset({int, str, bool, type(None)})


def _decode_plain(value: Any) -> Any:
    if isinstance(value, dict):
        if len(value) == 1:
            (tag, body), *_ = value.items()
            if tag == "float":
                return float(body)
            if tag == "base64":
                return base64.b64decode(body)
            if tag == "tuple":
                return tuple(_decode_plain(v) for v in body)
            if tag == "dict":
                return _decode_values(body)
        return _decode_values(value)
    if isinstance(value, list):
        return [_decode_plain(v) for v in value]
    return value


def _decode_values(values: Mapping[str, Any]) -> dict[str, Any]:
    if _PLAIN.issuperset(map(type, values.values())):
        return dict(values)
    return {k: v if type(v) in _PLAIN else _decode_plain(v) for k, v in values.items()}


_PLAIN = frozenset({float, int, str, bool, type(None)})
"""Types that JSON represents exactly."""


def _decode(hint: Any, value: Any) -> Any:
    if value is None:
        return None
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        (hint,) = (a for a in typing.get_args(hint) if a is not type(None))
        origin = typing.get_origin(hint)
    if origin is tuple:
        item = typing.get_args(hint)[0]
        return tuple(_decode(item, v) for v in value["tuple"])
    if isinstance(hint, type) and hasattr(hint, "from_json"):
        return hint.from_json(value)
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return hint(value)
    return _decode_plain(value)


def encode_params(params: Params) -> dict[str, Any]:
    """Return `params` as JSON values; pairs and other tuples survive the round trip."""
    encoded = _encode(params)
    assert isinstance(encoded, dict)
    return encoded


def decode_params(data: Mapping[str, Any]) -> Params:
    """Return the params that `encode_params` was given."""
    if len(data) == 1:
        decoded = _decode_plain(dict(data))
        assert isinstance(decoded, dict)
        return decoded
    return _decode_values(data)


def strict_json(value: Any) -> Any:
    """Return a value as JSON has it, for other programs: tuples are lists, NaN is None.

    `Record.to_json` keeps the types instead.

    Examples
    --------
    >>> strict_json({"model": ("svm", {"C": 1.0}), "loss": [math.nan, math.inf]})
    {'model': ['svm', {'C': 1.0}], 'loss': [None, 'inf']}
    """
    if isinstance(value, Mapping):
        return {str(name): strict_json(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [strict_json(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(float(value))
    return value
