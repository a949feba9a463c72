"""Columns of a CSV text."""

from __future__ import annotations

import csv as csv_of_python
import io
from collections.abc import Callable
from typing import Any

from tuner.serving.failures import RequestFailure
from tuner.signatures import Field, Schema


def columns_of_csv(body: bytes, schema: Schema | None) -> dict[str, list[Any]]:
    """Return the columns of a CSV text with a header.

    Empty cells are missing values; quoted empty cells are empty texts. Cells that a column does not
    take stay texts, which the signature refuses by column and row.

    Raises
    ------
    RequestFailure
        If the text is malformed or two columns have one name.
    """
    import pyarrow as pa
    from pyarrow import csv

    try:
        header = _header(body)
        if len(set(header)) < len(header):
            twice = next(name for name in header if header.count(name) > 1)
            raise RequestFailure(422, f"several columns are named {twice!r}")
        types = None if schema is None else {name: pa.string() for name in header}
        table = csv.read_csv(
            pa.BufferReader(body),
            parse_options=csv.ParseOptions(newlines_in_values=True),
            convert_options=csv.ConvertOptions(
                column_types=types,
                null_values=[""],
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
                check_utf8=True,
            ),
        )
    except (pa.ArrowInvalid, UnicodeDecodeError, csv_of_python.Error) as error:
        raise RequestFailure(400, f"the CSV cannot be read: {error!s:.200}") from None
    if schema is None:
        return {name: table[name].to_pylist() for name in table.column_names}
    fields = _fields(schema)
    return {name: _values(fields.get(name), table[name].to_pylist()) for name in table.column_names}


def _header(body: bytes) -> list[str]:
    lines = io.StringIO(body.decode("utf-8-sig"), newline="")
    return next(csv_of_python.reader(lines, strict=True), [])


def _fields(schema: Schema) -> dict[str, Field]:
    if schema.tabular:
        return {str(field.name): field for field in schema.fields}
    return dict.fromkeys(schema.columns, schema.fields[0])


def _values(field: Field | None, texts: list[str | None]) -> list[Any]:
    """Return cells in the type of their column; those that cannot be converted stay texts."""
    convert = None if field is None else _CONVERT.get(_kind(field))
    if convert is None:
        return list(texts)
    try:
        return [None if text is None else convert(text) for text in texts]
    except ValueError:
        return [None if text is None else _converted(convert, text) for text in texts]


def _kind(field: Field) -> str:
    if field.kind != "category" or not field.categories:
        return field.kind
    kinds = {type(value) for value in field.categories}
    return _OF_CATEGORIES.get(next(iter(kinds)), "text") if len(kinds) == 1 else "text"


_OF_CATEGORIES = {int: "integer", float: "number", bool: "boolean"}


def _converted(convert: Callable[[str], Any], text: str) -> Any:
    try:
        return convert(text)
    except ValueError:
        return text


def _integer(text: str) -> int | float:
    try:
        return int(text)
    except ValueError:
        return float(text)


def _boolean(text: str) -> bool:
    found = {"true": True, "false": False}.get(text.strip().lower())
    if found is None:
        raise ValueError
    return found


_CONVERT: dict[str, Callable[[str], Any]] = {
    "number": float,
    "integer": _integer,
    "boolean": _boolean,
}
