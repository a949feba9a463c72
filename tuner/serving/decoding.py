"""Decoding of request bodies by their content type: JSON, CSV and Arrow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from tuner.serving.arrow_stream import columns_of_arrow
from tuner.serving.csv_text import columns_of_csv
from tuner.serving.failures import RequestFailure
from tuner.signatures import Schema

ARROW = "application/vnd.apache.arrow.stream"

_decode_json = msgspec.json.Decoder().decode


def decoded(body: bytes, content_type: str, schema: Schema | None) -> Any:
    """Return the rows of a request.

    Parameters
    ----------
    body
        The body, whose size the caller has limited.
    content_type
        The header ``Content-Type``.
    schema
        The inputs of the model; None without a signature.

    Raises
    ------
    RequestFailure
        400 if the body is malformed, 415 if its type is unknown.
    """
    kind, _, parameters = content_type.partition(";")
    charset = parameters.partition("charset=")[2].split(";")[0].strip(' "').lower()
    decode = _DECODERS.get(kind.strip().lower())
    if decode is None or charset not in ("", "utf-8", "utf8", "us-ascii"):
        raise RequestFailure(
            415, f"content type {content_type!r:.100}: send one of {', '.join(_DECODERS)} in UTF-8"
        )
    return decode(body, schema)


def _json(body: bytes, _: Schema | None) -> Any:
    try:
        found = _decode_json(body)
    except UnicodeDecodeError as error:
        raise RequestFailure(400, f"the JSON is not UTF-8: {error.reason}") from None
    except RecursionError:
        raise RequestFailure(400, "the JSON is nested too deeply") from None
    except msgspec.MsgspecError as error:
        raise RequestFailure(400, f"the JSON cannot be read: {error}") from None
    if not isinstance(found, list | dict):
        raise RequestFailure(400, "the JSON is neither a list of rows nor an object of columns")
    return found


_DECODERS: dict[str, Callable[[bytes, Schema | None], Any]] = {
    "application/json": _json,
    "text/csv": columns_of_csv,
    ARROW: columns_of_arrow,
}


def number_of_rows(data: Any) -> int:
    """Return the number of rows as the model takes them."""
    if isinstance(data, dict):
        return len(next(iter(data.values()), ()))
    return int(data.shape[0]) if hasattr(data, "shape") else len(data)
