"""The record of a signature, with its JSON form."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from tuner.errors import ArgumentError

KINDS = ("number", "integer", "boolean", "category", "text", "datetime", "any")
CONTAINERS = ("frame", "records", "columns", "array", "tensor", "sparse")
EXTRA = ("refuse", "drop")

MOST_CATEGORIES = 10_000
"""Number of categories above which a signature keeps none, and any is allowed."""


@dataclass(frozen=True, slots=True)
class Field:
    """A column of a table, or the elements of an array.

    Attributes
    ----------
    name : str or int
        Name of the column, as the model knows it; "" for an array.
    kind : str
        ``number``, ``integer``, ``boolean``, ``category``, ``text``, ``datetime``, or ``any``,
        whose values are not checked.
    dtype : str
        The dtype that the model gets, such as ``"float64"``.
    missing : bool
        Whether values may be missing.
    categories : tuple
        All allowed values; empty if any value of the kind is allowed.
    shape : tuple of int or None
        Sizes after the first axis, None for any size; empty for one value a row.
    """

    name: str | int
    kind: str
    dtype: str
    missing: bool = False
    categories: tuple[Any, ...] = ()
    shape: tuple[int | None, ...] = ()

    @property
    def allowed(self) -> str:
        """The allowed values in words."""
        if self.kind == "any":
            words = "any value"
        elif self.categories:
            shown = ", ".join(repr(value) for value in self.categories[:10])
            words = "one of " + shown + (", ..." if len(self.categories) > 10 else "")
        else:
            words = {
                "number": f"a number ({self.dtype})",
                "integer": f"an integer ({self.dtype})",
                "boolean": "true or false",
                "category": "a category",
                "text": "a text",
                "datetime": f"a date and time ({self.dtype})",
            }[self.kind]
        return f"{words} or missing" if self.missing else words

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values; fields that hold their default are left out."""
        found: dict[str, Any] = {"name": self.name, "kind": self.kind, "dtype": self.dtype}
        if self.missing:
            found["missing"] = True
        if self.categories:
            found["categories"] = list(self.categories)
        if self.shape:
            found["shape"] = list(self.shape)
        return found


@dataclass(frozen=True, slots=True)
class Schema:
    """The fields of a table, or the one field of an array.

    Attributes
    ----------
    container : str
        The type of the data: ``frame`` (a DataFrame), ``records`` (a list of dicts), ``columns`` (a
        dict of columns), ``array``, ``tensor`` (PyTorch) or ``sparse`` (SciPy).
    fields : tuple of Field
        The columns in order, or the field of the array.
    extra : str
        Treatment of columns that are not in `fields`: ``refuse`` or ``drop``.
    """

    container: str
    fields: tuple[Field, ...]
    extra: str = "refuse"

    @property
    def tabular(self) -> bool:
        """Whether the data has named columns."""
        return self.container in ("frame", "records", "columns")

    @property
    def columns(self) -> list[str]:
        """Names of the columns as texts; a two-dimensional array has x0, x1, and so on."""
        if self.tabular:
            return [str(field.name) for field in self.fields]
        shape = self.fields[0].shape
        if len(shape) == 1 and shape[0] is not None:
            return [f"x{i}" for i in range(shape[0])]
        return []

    def lines(self) -> list[str]:
        """Return a line of text for each field."""
        if self.tabular:
            return [f"{f.name}: {f.allowed}{_shape_text(f, '')}" for f in self.fields]
        field = self.fields[0]
        return [f"{self.container} of shape {_shape_text(field, 'n')}: {field.allowed}"]

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        found: dict[str, Any] = {
            "container": self.container,
            "fields": [field.to_dict() for field in self.fields],
        }
        return found if self.extra == "refuse" else found | {"extra": self.extra}


def _shape_text(field: Field, first: str) -> str:
    sizes = ["any" if size is None else str(size) for size in field.shape]
    if first:
        return f"({', '.join([first, *sizes])})"
    return f", each of shape ({', '.join(sizes)})" if sizes else ""


@dataclass(frozen=True, slots=True)
class Signature:
    """The inputs that a model takes, and the outputs that it gives.

    Attributes
    ----------
    inputs : Schema
        Columns or array that the model takes.
    outputs : Schema or None
        The result of ``predict``; None if it is unknown.

    Examples
    --------
    >>> import pandas as pd
    >>> signature = Signature.infer(pd.DataFrame({"age": [31.0, 45.0], "town": ["Rome", "Oslo"]}))
    >>> signature.check_inputs([{"town": "Bern", "age": 20}])
        age  town
    0  20.0  Bern
    >>> signature.check_inputs([{"town": "Bern", "age": "old"}])
    Traceback (most recent call last):
        ...
    tuner.errors.SignatureError: column 'age', row 0: 'old' is not allowed; allowed is a number \
(float64)
    >>> Signature.from_dict(signature.to_dict()) == signature
    True
    """

    inputs: Schema
    outputs: Schema | None = None

    @classmethod
    def infer(
        cls,
        inputs: Any,
        outputs: Any = None,
        *,
        categories: Collection[str] = (),
        extra: str = "refuse",
    ) -> Signature:
        """Return the signature of example data.

        A column may have missing values if the example has some. A column of pandas' type
        ``category`` takes its categories only, a column of texts takes any text.

        Parameters
        ----------
        inputs
            Rows that the model takes: a DataFrame, an array, a list of dicts, or a dict of columns.
        outputs
            The predictions for rows like these, or None.
        categories
            Names of further columns whose values in the example are all allowed values.
        extra
            Treatment of columns that the example lacks: ``"refuse"`` or ``"drop"``.

        Raises
        ------
        ArgumentError
            If the example is empty, its type is not supported, or a name of `categories` or
            `extra` is unknown.
        """
        from tuner.signatures.inference import schema_of

        return cls(
            schema_of(inputs, "example", categories, extra),
            None if outputs is None else schema_of(outputs, "outputs"),
        )

    def check_inputs(self, data: Any) -> Any:
        """Return data in the form that the model takes.

        Columns are put in order, and values get their dtypes. Integers are accepted as numbers,
        whole numbers as integers, and ISO 8601 texts as datetimes.

        Parameters
        ----------
        data
            A DataFrame, an array, a list of dicts, a dict of columns, or a list of rows.

        Raises
        ------
        SignatureError
            If the data does not match; it names the column, the row, the value and
            the allowed values.
        """
        from tuner.signatures.checking import checked

        return checked(self.inputs, data)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        found = {"inputs": self.inputs.to_dict()}
        return found if self.outputs is None else found | {"outputs": self.outputs.to_dict()}

    to_json = to_dict

    @classmethod
    def from_dict(cls, d: Mapping[str, Any]) -> Signature:
        """Return the signature that `to_dict` was called on, or one that was written by hand.

        Raises
        ------
        ArgumentError
            If `d` is not a signature; the message names the field.
        """
        _check_keys(d, "signature", required={"inputs"}, optional={"outputs"})
        outputs = d.get("outputs")
        return cls(
            _schema(d["inputs"], "inputs"), None if outputs is None else _schema(outputs, "outputs")
        )

    from_json = from_dict

    def lines(self) -> dict[str, str]:
        """Return inputs and outputs in words."""
        found = {"inputs": "; ".join(self.inputs.lines())}
        if self.outputs is not None:
            found["outputs"] = "; ".join(self.outputs.lines())
        return found


def _schema(data: Any, place: str) -> Schema:
    _check_keys(data, place, required={"container", "fields"}, optional={"extra"})
    container, extra, fields = data["container"], data.get("extra", "refuse"), data["fields"]
    _check_one_of(container, CONTAINERS, f"{place}: container")
    check_extra(extra, place)
    if not isinstance(fields, list) or not fields:
        raise ArgumentError(f"signature, {place}: fields={fields!r:.80}; write a list of fields")
    schema = Schema(
        container, tuple(_field(f, f"{place}, field {i}") for i, f in enumerate(fields))
    )
    names = schema.columns if schema.tabular else []
    if len(set(names)) < len(names) or (not schema.tabular and len(fields) > 1):
        raise ArgumentError(f"signature, {place}: write each column once, and one field for arrays")
    return Schema(container, schema.fields, extra)


def _field(data: Any, place: str) -> Field:
    optional = {"missing", "categories", "shape"}
    _check_keys(data, place, required={"name", "kind", "dtype"}, optional=optional)
    missing, categories = data.get("missing", False), data.get("categories", [])
    shape, name, dtype = data.get("shape", []), data["name"], data["dtype"]
    _check_one_of(data["kind"], KINDS, f"{place}: kind")
    right = {
        "name": isinstance(name, str | int),
        "dtype": isinstance(dtype, str) and is_dtype(data["kind"], dtype),
        "missing": isinstance(missing, bool),
        "categories": isinstance(categories, list)
        and all(isinstance(value, str | int | float) for value in categories),
        "shape": isinstance(shape, list)
        and all(size is None or (type(size) is int and size >= 0) for size in shape),
    }
    for key, is_right in right.items():
        if not is_right:
            raise ArgumentError(f"signature, {place}: {key}={data.get(key)!r:.80} is not valid")
    return Field(name, data["kind"], dtype, missing, tuple(categories), tuple(shape))


_DTYPES = {
    "number": r"object|[fF]loat(16|32|64)|float128|(halffloat|float|double)\[pyarrow\]",
    "integer": r"object|[uU]?[iI]nt(8|16|32|64)|u?int(8|16|32|64)\[pyarrow\]",
    "boolean": r"object|bool|boolean|bool\[pyarrow\]",
    "category": r"(ordered )?category",
    "text": r"object|str|string(\[(python|pyarrow)\])?",
    "datetime": r"datetime64\[(s|ms|us|ns)(, [\w/+:-]+)?\]",
    "any": r".*",
}
"""Regular expressions of the dtypes of each kind."""


def is_dtype(kind: str, dtype: str) -> bool:
    """Whether a text is the name of a dtype that holds values of a kind."""
    return re.fullmatch(_DTYPES[kind], dtype) is not None


def _check_keys(data: Any, place: str, *, required: set[str], optional: set[str]) -> None:
    if not isinstance(data, Mapping):
        raise ArgumentError(f"signature, {place}: {data!r:.80} is not a dict")
    if missing := sorted(required - data.keys()):
        raise ArgumentError(f"signature, {place}: {missing[0]!r} is missing")
    if unknown := sorted(map(str, data.keys() - required - optional)):
        known = ", ".join(sorted(required | optional))
        raise ArgumentError(f"signature, {place}: unknown key {unknown[0]!r}; known are {known}")


def check_extra(extra: Any, place: str) -> None:
    """Check the treatment of further columns.

    Raises
    ------
    ArgumentError
        If it is unknown.
    """
    _check_one_of(extra, EXTRA, f"{place}: extra")


def _check_one_of(value: Any, known: tuple[str, ...], place: str) -> None:
    if value not in known:
        raise ArgumentError(f"signature, {place}={value!r:.80}; write one of {', '.join(known)}")
