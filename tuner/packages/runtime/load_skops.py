"""Loader of scikit-learn models, which runs no code from the file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from .inputs import predictions_of

REQUIRES = ("scikit-learn", "skops")


def load(folder: Path, settings: dict[str, Any]) -> Callable[[Any], Any]:
    """Return the predictions of the model; only types that tuner recorded are created."""
    from skops import io

    content = (folder / "model.skops").read_bytes()
    return predictions_of(io.loads(content, trusted=settings["trusted"]))
