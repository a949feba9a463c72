"""Code of an exported package: it runs without tuner, and MLflow loads the package with it.

Modules here import the standard library, NumPy, pandas and each other by relative imports, as they
are copied into each package under another name.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .model import PackagedModel


def _load_pyfunc(folder: str) -> PackagedModel:
    """Return the model of a package; MLflow calls this function by its name."""
    from .model import PackagedModel

    return PackagedModel(Path(folder))
