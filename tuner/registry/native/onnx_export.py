"""Conversion of scikit-learn models to ONNX, accepted only if the predictions agree."""

from __future__ import annotations

from typing import Any

import numpy as np

from tuner.registry.limits import Refused
from tuner.registry.native import manifest
from tuner.registry.native.onnx_model import OnnxModel

_RELATIVE, _ABSOLUTE = 1e-4, 1e-5  # trees and linear models of ONNX compute with 32 bits
_DOUBLE_TREES = {"": 18, "ai.onnx.ml": 3}  # the first whose trees have thresholds of 64 bits


def converted(model: Any, example: Any) -> bytes:
    """Return the ONNX file of a fitted scikit-learn model.

    Parameters
    ----------
    model
        The model.
    example
        Rows of its input: an array or a table. All of them are predicted by both models.

    Raises
    ------
    ValueError
        If a converter is missing, or the predictions differ.
    """
    from sklearn.base import is_classifier

    convert = manifest.required("skl2onnx", "onnx").to_onnx
    options = {"zipmap": False} if is_classifier(model) else None
    failure: Exception = Refused("there is no converter for it")
    for rows, opset in ((_in_32_bits(example[:1]), None), (example[:1], _DOUBLE_TREES)):
        try:
            content: bytes = convert(
                model, rows, options=options, target_opset=opset
            ).SerializeToString()
            _check_parity(model, OnnxModel(content, flat=True), example)
            return content
        except Exception as error:
            # A converter may raise anything; the other type may work.
            failure = error
    raise failure


def _in_32_bits(rows: Any) -> Any:
    """Return an array or a table with numbers of 32 bits, with which most converters work best."""
    if hasattr(rows, "columns"):
        doubles = rows.select_dtypes("float64").columns
        return rows.astype(dict.fromkeys(doubles, "float32"))
    array = np.asarray(rows)
    return array.astype(np.float32) if array.dtype == np.float64 else array


def _check_parity(model: Any, exported: OnnxModel, example: Any) -> None:
    """Compare the predictions of both models on the example."""
    if hasattr(model, "predict_proba"):
        _compare("probabilities", model.predict_proba(example), exported.predict_proba(example))
    name = "predictions" if hasattr(model, "predict") else "outputs"
    expected = model.predict(example) if name == "predictions" else model.transform(example)
    _compare(name, expected, exported.predict(example))


def _compare(name: str, expected: Any, found: Any) -> None:
    before, after = np.asarray(expected), np.asarray(found)
    if before.shape != after.shape:
        raise Refused(
            f"the {name} of ONNX have the shape {after.shape}, and those of the model have "
            f"{before.shape}"
        )
    if before.dtype.kind not in "fc":
        wrong = before.astype(object) != after.astype(object)
        size = ""
    else:
        difference = np.abs(before - after)
        wrong = ~(difference <= _ABSOLUTE + _RELATIVE * np.abs(before))  # also where one is NaN
        wrong &= ~(np.isnan(before) & np.isnan(after))
        size = f", by up to {np.nanmax(difference):.3g}" if wrong.any() else ""
    if wrong.any():
        rows = np.unique(np.nonzero(wrong)[0])
        first = rows[0]
        raise Refused(
            f"the {name} of ONNX differ in {len(rows)} of {len(before)} rows of the example{size}: "
            f"row {first} has {after[first]!r:.80} instead of {before[first]!r:.80}"
        )
