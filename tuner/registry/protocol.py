"""The `ModelFormat` protocol: how a model becomes files and a model again."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class ModelFormat(Protocol):
    """Saves and loads one family of models."""

    name: str
    """What the store records, such as ``"skops"``."""

    def accepts(self, model: Any) -> bool:
        """Whether `save` can keep this model."""

    def save(self, model: Any, folder: Path) -> None:
        """Write the model's files into an existing, empty folder."""

    def load(self, folder: Path) -> Any:
        """Return the model; executes no code that came with the files, unless made to allow it.

        Raises
        ------
        UntrustedModel
            If the files need types or code that nobody allowed.
        """
