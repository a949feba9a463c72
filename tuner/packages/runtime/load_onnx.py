"""Loader of ONNX models, which predict with ONNX Runtime on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from .facts import facts_of

REQUIRES = ("onnxruntime",)

_TYPES = {"double": "float64", "float": "float32", "string": "object"}


def load(folder: Path, settings: dict[str, Any]) -> Callable[[Any], Any]:  # noqa: ARG001
    """Return the first output of the model, for an array, a table, or a dict of arrays."""
    import numpy as np
    import onnxruntime

    flat = facts_of(folder).get("flat") is True
    session = onnxruntime.InferenceSession(
        folder / "model.onnx", providers=["CPUExecutionProvider"]
    )
    inputs = {each.name: _dtype(each.type) for each in session.get_inputs()}

    def predict(data: Any) -> Any:
        found = session.run(None, _feed(data, inputs))[0]
        is_column = isinstance(found, np.ndarray) and found.ndim == 2 and found.shape[1] == 1
        return found[:, 0] if flat and is_column else found

    return predict


def _feed(data: Any, inputs: dict[str, str]) -> dict[str, Any]:
    """Return an array for each input; a table has a column for each of several inputs."""
    import numpy as np

    if isinstance(data, dict):
        parts = data
    elif len(inputs) == 1:
        parts = dict.fromkeys(inputs, data)
    else:
        parts = {name: np.asarray(data[name]).reshape(-1, 1) for name in inputs}
    return {name: np.asarray(parts[name], dtype=dtype) for name, dtype in inputs.items()}


def _dtype(text: str) -> str:
    """Return NumPy's type of a type such as ``"tensor(float)"``."""
    name = text.removeprefix("tensor(").removesuffix(")")
    return _TYPES.get(name, name)
