"""Checks of an ONNX model before ONNX Runtime reads it: no other files, no sizes without data.

ONNX Runtime itself checks the types of a graph and the indices of trees.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from tuner.registry.limits import Refused

_DOMAINS = ("", "ai.onnx", "ai.onnx.ml", "com.microsoft")
_OTHER_FILES = ("EPContext",)  # operators that read a file
_ITEMS_OF_BYTE = 8


def checked(onnx: Any, content: bytes) -> Any:
    """Return the model of a file; refuses one that refers to other files.

    Parameters
    ----------
    onnx
        The module.
    content
        The file.
    """
    model = onnx.ModelProto()
    model.ParseFromString(content)
    if not model.HasField("graph"):
        raise Refused("it has no graph")
    functions = {(function.domain, function.name) for function in model.functions}
    for message in _messages(model):
        kind = message.DESCRIPTOR.name
        if kind == "TensorProto":
            _check_tensor(onnx, message)
        elif kind == "NodeProto" and (message.domain, message.op_type) not in functions:
            _check_operator(message)
    onnx.checker.check_model(model)
    return model


def _messages(model: Any) -> Iterator[Any]:
    """Yield a message and all messages in it, of graphs in nodes and functions as well."""
    waiting = [model]
    while waiting:
        message = waiting.pop()
        yield message
        for field, value in message.ListFields():
            if field.message_type is not None:
                waiting.extend([value] if hasattr(value, "DESCRIPTOR") else value)


def _check_tensor(onnx: Any, tensor: Any) -> None:
    name = f"the tensor {tensor.name!r:.60}"
    if tensor.external_data or tensor.data_location == onnx.TensorProto.EXTERNAL:
        places = [each.value for each in tensor.external_data if each.key == "location"]
        raise Refused(
            f"{name} has its data in another file ({', '.join(places) or 'unnamed'!s:.100}): save "
            f"the model with all data in one file"
        )
    if any(size < 0 for size in tensor.dims):
        raise Refused(f"{name} has a negative size")
    items = math.prod(tensor.dims)
    if items > _ITEMS_OF_BYTE * tensor.ByteSize():
        raise Refused(f"{name} declares {items} items and has {tensor.ByteSize()} bytes")


def _check_operator(node: Any) -> None:
    if node.domain not in _DOMAINS:
        raise Refused(
            f"it has the operator {node.op_type!r:.60} of the domain {node.domain!r:.60}, and only "
            f"those of ONNX and ONNX Runtime can be loaded"
        )
    if node.op_type in _OTHER_FILES:
        raise Refused(f"it has the operator {node.op_type}, which reads another file")
