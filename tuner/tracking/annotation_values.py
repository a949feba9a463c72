"""Checks of tags and notes: their names, their JSON values, and their size together."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

from tuner.errors import ArgumentError, StoreError
from tuner.records import encode_params
from tuner.records.bounds import MAX_ANNOTATIONS, as_name
from tuner.tracking.json_text import dumps


def check_tags(tags: Mapping[str, str | None]) -> None:
    """Raise `ArgumentError` if a name or a value is not a string, or the tags are too long."""
    for name, value in tags.items():
        if not isinstance(name, str) or not name or not isinstance(value, str | None):
            raise ArgumentError(f"tag {name!r}: {value!r}: write a name and a text, or None")
        as_name(name, "tag")
    stored(tags, "tags")


def check_note_names(names: Iterable[Any]) -> None:
    """Raise `ArgumentError` if a name is not a string, is empty or is too long."""
    for name in names:
        if not isinstance(name, str) or not name:
            raise ArgumentError(f"note {name!r}: write a name, a text that is not empty")
        as_name(name, "note")


def stored(values: Mapping[str, Any], what: str) -> dict[str, Any]:
    """Encode tags or notes for the store.

    Raises
    ------
    ArgumentError
        If a value cannot be stored, or all of them together are too large.
    """
    encoded: dict[str, Any] = {}
    for name, value in values.items():
        try:
            plain = _plain(value)
            dumps(encode_params({name: plain}))
        except (StoreError, ValueError, TypeError, RecursionError) as error:
            raise ArgumentError(
                f"{what}: {name!r}: {str(error)[:200]}; give small JSON values: texts, numbers, "
                f"lists, dicts"
            ) from error
        encoded[name] = plain
    encoded = encode_params(encoded)
    size = len(dumps(encoded))
    if size > MAX_ANNOTATIONS:
        raise ArgumentError(
            f"{what}: together they have {size:,} characters, and at most {MAX_ANNOTATIONS:,} are "
            f"allowed; keep a file with trial.log_artifact instead"
        )
    return encoded


def _plain(value: Any) -> Any:
    """Return a value as JSON has it: NumPy's as Python's, paths and dates as texts."""
    if isinstance(value, Mapping):
        return {name: _plain(each) for name, each in value.items()}
    if type(value) in (list, tuple):
        return type(value)(map(_plain, value))
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if callable(as_text := getattr(value, "isoformat", None)):
        return as_text()
    if callable(as_python := getattr(value, "tolist", None)):
        found = as_python()
        return found if found is value else _plain(found)
    return value
