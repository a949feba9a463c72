"""Loader of pickled objects, which runs any code in the file; the user must allow it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .errors import PackageError
from .inputs import predictions_of

REQUIRES = ("cloudpickle",)

ALLOW_PICKLE = "MODEL_ALLOW_PICKLE"
"""Environment variable that allows loading; ``--allow-pickle`` sets it."""


def load(folder: Path, settings: dict[str, Any]) -> Callable[[Any], Any]:  # noqa: ARG001
    """Return the predictions of the object, if the environment variable allows loading it."""
    if os.environ.get(ALLOW_PICKLE) != "1":
        raise PackageError(
            "this model is a pickle, and loading it runs whatever code is in it; if you trust who "
            f"made it, write --allow-pickle, or set {ALLOW_PICKLE}=1"
        )
    import cloudpickle

    return predictions_of(cloudpickle.loads((folder / "model.pkl").read_bytes()))
