"""A loaded ONNX model, which predicts with ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuner.errors import ArgumentError
from tuner.registry.native import manifest

_TYPES = {
    "bool": np.bool_,
    "double": np.float64,
    "float": np.float32,
    "float16": np.float16,
    "string": np.object_,
}
PROBABILITIES = "probabilities"


class OnnxModel:
    """An ONNX model that predicts on the CPU.

    Parameters
    ----------
    content
        The ONNX file.
    flat
        Whether a first output with one column becomes an array of one dimension, as scikit-learn's
        regressors return it.

    Attributes
    ----------
    content : bytes
        The ONNX file.
    flat : bool
        See the parameter.
    inputs, outputs : tuple of str
        Names of the inputs and outputs of the graph.
    """

    def __init__(self, content: bytes, flat: bool = False) -> None:
        runtime = manifest.required("onnxruntime", "onnx")
        options = runtime.SessionOptions()
        options.log_severity_level = 3  # errors
        self.content, self.flat = content, flat
        self._session = runtime.InferenceSession(
            content, options, providers=["CPUExecutionProvider"]
        )
        self.inputs = tuple(each.name for each in self._session.get_inputs())
        self.outputs = tuple(each.name for each in self._session.get_outputs())

    def __reduce__(self) -> tuple[type[OnnxModel], tuple[bytes, bool]]:
        return type(self), (self.content, self.flat)

    def run(self, data: Any) -> dict[str, Any]:
        """Return all outputs by name.

        Parameters
        ----------
        data
            The array of the only input; a table with a column for each input; or a dict of arrays
            by the name of the input.

        Raises
        ------
        ArgumentError
            If an input is missing.
        """
        found = self._session.run(None, self._feed(data))
        return dict(zip(self.outputs, found, strict=True))

    def predict(self, data: Any) -> Any:
        """Return the first output; see `run` for `data`."""
        found = self.run(data)[self.outputs[0]]
        is_column = isinstance(found, np.ndarray) and found.ndim == 2 and found.shape[1] == 1
        return found[:, 0] if self.flat and is_column else found

    def predict_proba(self, data: Any) -> Any:
        """Return the probabilities of the classes; see `run` for `data`.

        Raises
        ------
        ArgumentError
            If the graph lacks the output ``probabilities``.
        """
        if PROBABILITIES not in self.outputs:
            raise ArgumentError(
                f"this ONNX model has the outputs {', '.join(self.outputs)} and no "
                f"{PROBABILITIES!r}; read an output from run(data)"
            )
        return self.run(data)[PROBABILITIES]

    def __repr__(self) -> str:
        return f"OnnxModel(inputs={list(self.inputs)}, outputs={list(self.outputs)})"

    def _feed(self, data: Any) -> dict[str, NDArray[Any]]:
        if len(self.inputs) == 1 and not isinstance(data, Mapping):
            parts: Any = {self.inputs[0]: data}
        elif isinstance(data, Mapping):
            parts = data
        else:
            columns = getattr(data, "columns", ())
            parts = {
                name: np.asarray(data[name]).reshape(-1, 1)
                for name in self.inputs
                if name in columns
            }
        if missing := [name for name in self.inputs if name not in parts]:
            raise ArgumentError(
                f"predict: the data have no {missing[0]!r}; give a table or a dict with "
                f"{', '.join(map(repr, self.inputs))}"
            )
        return {
            each.name: np.asarray(parts[each.name], dtype=_dtype(each.type))
            for each in self._session.get_inputs()
        }


def _dtype(text: str) -> Any:
    """Return NumPy's type of a type such as ``"tensor(float)"``."""
    name = text.removeprefix("tensor(").removesuffix(")")
    return _TYPES.get(name) or np.dtype(name)
