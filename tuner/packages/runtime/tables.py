"""Input and output of predictions as tables: CSV, JSON lines and Parquet."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import PackageError

if TYPE_CHECKING:
    import pandas as pd

FORMATS = ("csv", "jsonl", "parquet")

_BY_SUFFIX = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}

_MISSING = ["", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "-nan", "-NaN", "null", "NULL",
            "None"]  # fmt: skip
"""Texts for a missing value in a column of numbers of a CSV file."""


def read_table(source: str, kind: str | None, signature: Any) -> Any:
    """Return the table of a file, or of standard input for ``-``, as the signature takes it.

    Raises
    ------
    PackageError
        If the file cannot be read, or its type is unknown.
    """
    kind = kind or ("csv" if source == "-" else _BY_SUFFIX.get(Path(source).suffix.lower()))
    if kind is None:
        raise PackageError(f"input {source!r}: write --input-format with one of {FORMATS}")
    try:
        content = sys.stdin.buffer.read() if source == "-" else Path(source).read_bytes()
        table = _parsed(content, kind, signature)
    except (OSError, ValueError) as error:
        raise PackageError(f"input {source!r} cannot be read as {kind}: {error}") from error
    if signature is not None and not signature.inputs.tabular:
        return table.to_numpy()  # the model takes an array, so names of columns have no meaning
    return table


def _parsed(content: bytes, kind: str, signature: Any) -> pd.DataFrame:
    import pandas as pd

    if kind == "parquet":
        return pd.read_parquet(io.BytesIO(content))
    if kind == "jsonl":
        return pd.DataFrame([json.loads(line) for line in content.splitlines() if line.strip()])
    names = list(pd.read_csv(io.BytesIO(content), nrows=0).columns)
    texts = _text_columns(signature)
    options: dict[str, Any] = {
        "dtype": {name: object for name in names if name in texts},
        # A text such as NA may be a category, so only an empty field is a missing text.
        "na_values": {name: [""] if name in texts else _MISSING for name in names},
        "keep_default_na": False,
    }
    if pd.__version__.startswith("2."):
        options["float_precision"] = "round_trip"  # the default of later versions
    table: pd.DataFrame = pd.read_csv(io.BytesIO(content), **options)
    return table


def _text_columns(signature: Any) -> set[str]:
    """Return the columns that keep their text in a CSV file, such as ``007`` or ``NA``."""
    if signature is None or not signature.inputs.tabular:
        return set()
    return {str(field.name) for field in signature.inputs.fields if _is_text(field)}


def _is_text(field: Any) -> bool:
    if field.categories:
        return all(isinstance(value, str) for value in field.categories)
    return field.kind in ("text", "category", "datetime")


def write_table(predictions: Any, output: Path | None) -> None:
    """Write predictions as CSV with a header, to a file or to standard output.

    Raises
    ------
    PackageError
        If the file cannot be written.
    """
    text = as_frame(predictions).to_csv(index=False, lineterminator="\n")
    if output is None:
        sys.stdout.write(text)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise PackageError(f"output {str(output)!r}: {error.strerror or error}") from error


def as_frame(predictions: Any) -> pd.DataFrame:
    """Return predictions as a table with ``prediction``, or ``prediction_0`` and so on."""
    import numpy as np
    import pandas as pd

    if isinstance(predictions, pd.DataFrame):
        return predictions
    dense = predictions.toarray() if hasattr(predictions, "toarray") else predictions
    array = np.asarray(dense)
    if array.ndim == 1:
        return pd.DataFrame({"prediction": array})
    flat = array.reshape(len(array), -1)
    return pd.DataFrame(flat, columns=[f"prediction_{n}" for n in range(flat.shape[1])])
