"""JSON encoding of the store's columns."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import msgspec

from tuner.errors import StoreRefused


def dumps(value: Any) -> str:
    """Encode a value as ASCII-only JSON.

    Raises
    ------
    StoreRefused
        If it holds a value that JSON cannot represent.

    Examples
    --------
    >>> dumps({"lr": 0.1, "model": "svm"})
    '{"lr":0.1,"model":"svm"}'
    """
    try:
        return _encode(value)
    except TypeError as error:
        raise StoreRefused(
            f"{value!r:.200} cannot be recorded ({error}); give plain Python values"
        ) from error


def loads(text: str | bytes) -> Any:
    """Decode the JSON of `dumps`; types that JSON does not distinguish are not restored.

    Integers are exact at any size, and floats are exact to the last bit.

    Examples
    --------
    >>> loads('{"lr":0.1,"seed":340282366920938463463374607431768211455}')
    {'lr': 0.1, 'seed': 340282366920938463463374607431768211455}
    """
    try:
        return _decode(text)
    except ValueError:
        # NaN, infinities and lone surrogates, which Python's encoder writes and its decoder
        # accepts.
        return json.loads(text)


def loads_all(texts: Sequence[str | None]) -> Sequence[Any]:
    """Decode many JSON texts, None for None, in about half the time of separate calls.

    Examples
    --------
    >>> loads_all(['{"lr":0.1}', None])
    [{'lr': 0.1}, None]
    """
    if not any(texts):
        return texts
    values: list[Any] = loads(f"[{','.join([text or 'null' for text in texts])}]")
    return values


_encode = json.JSONEncoder(separators=(",", ":")).encode
_decode = msgspec.json.Decoder().decode
