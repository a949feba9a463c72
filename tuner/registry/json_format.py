"""Plain values as JSON: configurations, thresholds, lookup tables."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tuner.errors import RegistryError
from tuner.records import decode_params, encode_params
from tuner.registry.limits import Budget

FILE = "model.json"

_SCALARS = (type(None), bool, int, float, str)


class JsonFormat:
    """Format for JSON values and tuples: dicts with string keys, lists, numbers, strings.

    It does not accept a value of a derived type, such as a named tuple or a NumPy float, because
    the value would load as another type.
    """

    name = "json"

    def accepts(self, model: Any) -> bool:
        """Whether the model consists of plain values only."""
        try:
            return _is_plain(model)
        except RecursionError:
            return False  # contains itself, or is nested too deep for JSON

    def save(self, model: Any, folder: Path) -> None:
        """Write ``model.json``; raises `RegistryError` if JSON cannot represent the model."""
        try:
            text = json.dumps(encode_params({"model": model}), indent=1)
        except (TypeError, ValueError, RecursionError) as error:
            raise RegistryError(
                f"model {type(model).__name__} cannot be kept as JSON: "
                f"{type(error).__name__}: {error}; keep plain values only"
            ) from error
        (folder / FILE).write_text(text, encoding="utf-8")
        self.load(folder)  # a model that cannot be loaded must not be registered

    def load(self, folder: Path) -> Any:
        """Return the value; raises `RegistryError` if the file does not have this format."""
        try:
            text = (folder / FILE).read_bytes()
            Budget(len(text)).spend_json(text)
            return decode_params(json.loads(text.decode("utf-8")))["model"]
        except (
            OSError,
            ValueError,
            LookupError,
            TypeError,
            AssertionError,
            AttributeError,
            RecursionError,
        ) as error:
            raise RegistryError(
                f"{FILE} cannot be read as a model: {type(error).__name__}: {error}"
            ) from error


def _is_plain(value: Any) -> bool:
    if type(value) in (list, tuple):
        return all(map(_is_plain, value))
    if type(value) is dict:
        return all(type(k) is str and _is_plain(v) for k, v in value.items())
    return type(value) in _SCALARS
