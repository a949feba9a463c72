"""ONNX models, given as they are or converted from scikit-learn's."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from tuner.registry.limits import Refused
from tuner.registry.native import manifest
from tuner.registry.native.onnx_model import OnnxModel

FILE = "model.onnx"


class OnnxFormat:
    """Format for ONNX models, loaded as `OnnxModel`, which predicts with ONNX Runtime.

    An `onnx.ModelProto` is saved as it is. With ``format="onnx"``, so are the bytes and the path of
    an ONNX file, and a scikit-learn model is converted by skl2onnx if its predictions on `example`
    stay the same.

    Parameters
    ----------
    example
        Rows of the model's input, for the conversion.
    """

    name = "onnx"
    libraries = ("onnx", "onnxruntime")

    def __init__(self, example: Any = None) -> None:
        self._example = example

    def accepts(self, model: Any) -> bool:
        """Whether it is an ONNX model, a file, or a scikit-learn model to convert."""
        return self.suits(model) or isinstance(model, bytes | Path) or _is_estimator(model)

    def suits(self, model: Any) -> bool:
        """Whether it is an ONNX model, for which this format is chosen by itself."""
        onnx = manifest.imported("onnx")
        return isinstance(model, OnnxModel) or (
            onnx is not None and isinstance(model, getattr(onnx, "ModelProto", ()))
        )

    def check(self, model: Any) -> None:
        """Check before the training that a model to convert has an example.

        Raises
        ------
        RegistryError
            If it has none.
        MissingExtra
            If skl2onnx is not installed.
        """
        if _is_estimator(model):
            manifest.check_installed("skl2onnx", self.name)
            with manifest.saving(model, self.name, _INSTEAD):
                self._check_example()

    def save(self, model: Any, folder: Path) -> None:
        """Write ``model.onnx`` and ``format.json``.

        Raises
        ------
        RegistryError
            If it is not an ONNX model, cannot be converted, or predicts otherwise as ONNX.
        MissingExtra
            If ONNX Runtime, or skl2onnx for a conversion, is not installed.
        """
        onnx = manifest.required("onnx", self.name)
        manifest.required("onnxruntime", self.name)
        is_converted = _is_estimator(model)
        remedy = _INSTEAD if is_converted else "write a file that onnx.checker.check_model accepts"
        with manifest.saving(model, self.name, remedy):
            if is_converted:
                from tuner.registry.native.onnx_export import converted

                self._check_example()
                content = converted(model, self._example)
            elif isinstance(model, Path):
                content = onnx.load(str(model)).SerializeToString()  # with the data of other files
            elif isinstance(model, OnnxModel):
                content, is_converted = model.content, model.flat
            else:
                content = model if isinstance(model, bytes) else model.SerializeToString()
            (folder / FILE).write_bytes(content)
            manifest.write(folder, "onnx", flat=is_converted)
            self.load(folder)  # a model that cannot be loaded must not be registered

    def load(self, folder: Path) -> OnnxModel:
        """Return the model.

        Raises
        ------
        RegistryError
            If the files do not have this format, or the model refers to other files.
        MissingExtra
            If ONNX or ONNX Runtime is not installed.
        """
        onnx = manifest.required("onnx", self.name)
        manifest.required("onnxruntime", self.name)
        with manifest.reading("the ONNX model"):
            from tuner.registry.native.onnx_graph import checked

            found = manifest.read(folder, "onnx")
            (content,) = found.only(FILE)
            model = checked(onnx, content)
            return OnnxModel(model.SerializeToString(), found.facts.get("flat") is True)

    def _check_example(self) -> None:
        if self._example is None:
            raise Refused(
                "its conversion needs rows of the input to compare the predictions: write "
                "format=tuner.registry.OnnxFormat(example=X)"
            )


_INSTEAD = "keep the model in skops format (without format=)"


def _is_estimator(model: Any) -> bool:
    if "sklearn" not in sys.modules or isinstance(model, type):
        return False
    from sklearn.base import BaseEstimator

    return isinstance(model, BaseEstimator)
