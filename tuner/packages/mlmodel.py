"""The file ``MLmodel``, by which MLflow loads a package as a Python function."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from tuner.records import ModelVersion

_TYPES = {"number": "double", "integer": "long", "boolean": "boolean", "datetime": "datetime"}
"""Types of MLflow, by kind of a field."""

_SMALL = {"float32": "float", "float16": "float", "int32": "integer", "int16": "integer",
          "int8": "integer", "uint8": "integer", "uint16": "integer"}  # fmt: skip


def mlmodel(
    version: ModelVersion, module: str, code: str, python: str, signature: dict[str, Any] | None
) -> str:
    """Return the text of ``MLmodel``.

    Parameters
    ----------
    version
        The version in the package.
    module
        The module in the folder `code` that loads the model.
    code
        The folder of the code.
    python
        The version of Python that the model was made with.
    signature
        The signature as a dict, or None.
    """
    import yaml

    created = datetime.fromtimestamp(version.created, UTC).replace(tzinfo=None)
    content: dict[str, Any] = {
        "flavors": {
            "python_function": {
                "loader_module": module,
                "code": code,
                "env": {"virtualenv": "python_env.yaml"},
                "python_version": python,
            }
        },
        "model_uuid": version.run.replace("-", ""),
        "utc_time_created": created.isoformat(sep=" "),
        "metadata": {"tuner_model": f"{version.name}@{version.version}"},
    }
    found = None if signature is None else mlflow_signature(signature)
    if found is not None:
        content["signature"] = found
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True)


def mlflow_signature(signature: dict[str, Any]) -> dict[str, str] | None:
    """Return a signature in the form of MLflow, or None if MLflow has no form for its inputs."""
    inputs = _schema(signature["inputs"])
    if inputs is None:
        return None
    outputs = signature.get("outputs")
    found = None if outputs is None else _schema(outputs)
    return {"inputs": json.dumps(inputs)} | (
        {} if found is None else {"outputs": json.dumps(found)}
    )


def _schema(schema: dict[str, Any]) -> list[dict[str, Any]] | None:
    fields = schema["fields"]
    if schema["container"] in ("array", "tensor"):
        [field] = fields
        if field["kind"] not in ("number", "integer", "boolean"):
            return None
        shape = [-1, *(-1 if size is None else size for size in field.get("shape", ()))]
        return [{"type": "tensor", "tensor-spec": {"dtype": field["dtype"], "shape": shape}}]
    if schema["container"] == "sparse" or any(field.get("shape") for field in fields):
        return None
    if not all(isinstance(field["name"], str) for field in fields):
        return None  # MLflow's names of columns are texts
    return [{"type": _type(f), "name": f["name"], "required": True} for f in fields]


def _type(field: dict[str, Any]) -> str:
    kind = field["kind"]
    if kind == "text":
        return "string"
    # MLflow refuses a column of pandas' type category, and an integer column with missing values,
    # for every type but any; the package checks the values of such columns.
    if kind not in _TYPES or (field.get("missing") and kind in ("integer", "boolean")):
        return "any"
    return _SMALL.get(field["dtype"].lower(), _TYPES[kind])
