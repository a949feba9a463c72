"""Predictions of the model of this package: ``python -m predict input.csv``."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent


def _code(module: str) -> Any:
    sys.path.insert(0, str(FOLDER / "src"))
    package = json.loads((FOLDER / "manifest.json").read_bytes())["module"]
    return importlib.import_module(f"{package}.{module}")


def load() -> Any:
    """Return the model, whose method `predict` takes a DataFrame or an array."""
    return _code("model").PackagedModel(FOLDER)


if __name__ == "__main__":
    sys.exit(_code("command").main(FOLDER))
