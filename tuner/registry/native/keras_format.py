"""Keras models, kept in its ``.keras`` format and loaded in safe mode."""

from __future__ import annotations

import tempfile
from collections.abc import Collection
from pathlib import Path
from typing import Any

from tuner.errors import UntrustedModel
from tuner.registry.limits import Refused
from tuner.registry.load_failures import why_not_elsewhere
from tuner.registry.native import manifest
from tuner.registry.trusted import VARIABLE, more_types

FILE = "model.keras"


class KerasFormat:
    """Format for `keras.Model`. Loading runs no code from the file.

    Layers whose code would be in the file, such as ``Lambda``, are refused. Classes of the user are
    imported, so their names must be trusted. The loaded model is not compiled.

    Parameters
    ----------
    trusted
        Names of layers and other classes to allow on loading.
    """

    name = "keras"
    libraries = ("keras",)

    def __init__(self, trusted: Collection[str] = ()) -> None:
        self._trusted = more_types(trusted)

    def accepts(self, model: Any) -> bool:
        """Whether it is a model of Keras."""
        keras = manifest.imported("keras")
        return keras is not None and isinstance(model, keras.Model)

    def check(self, model: Any) -> None:
        """Check before the training that no layer would hold code; raises `RegistryError`."""
        from tuner.registry.native.keras_config import check_layers

        with manifest.saving(model, self.name, "write the layer as a class"):
            check_layers(model)

    def save(self, model: Any, folder: Path) -> None:
        """Write ``model.keras`` and ``format.json``.

        Raises
        ------
        RegistryError
            If a layer has its code in the model, has a file of its own, or is a class that other
            programs cannot import.
        """
        keras = manifest.required("keras", self.name)
        from tuner.registry.native.keras_config import KerasFile, check_layers

        with manifest.saving(model, self.name, "write its layers as classes of a module"):
            check_layers(model)
            model.save(folder / FILE)
            manifest.write(folder, "keras")
            names = KerasFile((folder / FILE).read_bytes(), keras, ()).untrusted
            if reason := next(filter(None, map(why_not_elsewhere, names)), ""):
                raise Refused(f"{reason}, so no other program can import it")
            KerasFormat(names).load(folder)  # a model that cannot be loaded must not be registered

    def load(self, folder: Path) -> Any:
        """Return the model, not compiled.

        Raises
        ------
        UntrustedModel
            If it needs classes that are not allowed; the message names them.
        RegistryError
            If the files do not have this format, or a layer would run code or read other files.
        MissingExtra
            If Keras is not installed.
        """
        keras = manifest.required("keras", self.name)
        with manifest.reading("the Keras model"):
            from tuner.registry.native.keras_config import KerasFile

            (content,) = manifest.read(folder, "keras").only(FILE)
            file = KerasFile(content, keras, self._trusted)
            if names := file.untrusted:
                raise UntrustedModel(
                    f"loading this model would import {', '.join(names)}, which is not allowed; if "
                    f"you know it, write trusted={names!r}, or set {VARIABLE}"
                )
            classes = file.custom_objects()
            file.check_memory(keras, classes)
            with tempfile.TemporaryDirectory(prefix="tuner-keras-") as checked:
                path = Path(checked, FILE)
                path.write_bytes(file.archive())
                return keras.saving.load_model(
                    path, custom_objects=classes, compile=False, safe_mode=True
                )
