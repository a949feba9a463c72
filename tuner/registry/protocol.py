"""The `ModelFormat` protocol: conversion of a model to files and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class ModelFormat(Protocol):
    """Saves and loads one family of models; `tuner.testing.ModelFormatConformance` tests it.

    A format may also have `libraries`, the names of modules that must be installed;
    ``check(model)``, which raises `RegistryError` before the training if `save` would refuse the
    model; and ``suits(model)``, which replaces `accepts` where the user names no format.
    """

    name: str
    """The name that the store records, such as ``"skops"``; also the name of its entry point."""

    def accepts(self, model: Any) -> bool:
        """Whether `save` can save this model."""

    def save(self, model: Any, folder: Path) -> None:
        """Write the model's files into an existing, empty folder."""

    def load(self, folder: Path) -> Any:
        """Return the model; executes no code from the files unless the format allows it.

        Raises
        ------
        RegistryError
            If the files are missing or do not have this format.
        UntrustedModel
            If the files need types or code that are not allowed.
        """
