"""Loader of Keras models, in safe mode."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from .inputs import as_array

REQUIRES = ("keras",)


def load(folder: Path, settings: dict[str, Any]) -> Callable[[Any], Any]:
    """Return the predictions of the model."""
    import os

    os.environ.setdefault("KERAS_BACKEND", settings["backend"])
    import keras

    from .facts import referred

    classes = {name: referred(reference) for name, reference in settings["classes"].items()}
    model = keras.saving.load_model(
        folder / "model.keras", custom_objects=classes, compile=False, safe_mode=True
    )
    return lambda data: model.predict(as_array(data), verbose=0)
