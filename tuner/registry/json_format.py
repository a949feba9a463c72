"""Plain values as JSON: configurations, thresholds, lookup tables."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tuner.errors import RegistryError
from tuner.records import decode_params, encode_params

FILE = "model.json"


class JsonFormat:
    """Keeps what JSON can say, and tuples: dicts with text keys, lists, numbers, texts."""

    name = "json"

    def accepts(self, model: Any) -> bool:
        """Whether it is made of plain values only."""
        match model:
            case None | bool() | int() | float() | str():
                return True
            case list() | tuple():
                return all(map(self.accepts, model))
            case dict():
                return all(isinstance(k, str) and self.accepts(v) for k, v in model.items())
        return False

    def save(self, model: Any, folder: Path) -> None:
        """Write ``model.json``."""
        text = json.dumps(encode_params({"model": model}), indent=1)
        (folder / FILE).write_text(text, encoding="utf-8")

    def load(self, folder: Path) -> Any:
        """Return the value; raises `RegistryError` if the file is not what `save` writes."""
        try:
            return decode_params(json.loads((folder / FILE).read_text(encoding="utf-8")))["model"]
        except (OSError, ValueError, KeyError, TypeError, AssertionError, AttributeError) as error:
            raise RegistryError(
                f"{FILE} cannot be read as a model: {type(error).__name__}: {error}"
            ) from error
