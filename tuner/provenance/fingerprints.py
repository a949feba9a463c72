"""Fingerprints of data: equal for equal content, in every process and on every machine."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Set
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from tuner.errors import ArgumentError
from tuner.tracking.artifacts.regular_files import open_regular

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    Digest: TypeAlias = "hashlib._Hash"

_CHUNK = 1 << 22
"""Bytes of an array that are copied at a time, if a copy is needed."""

_ROWS = 1 << 16
"""Rows of a table that are hashed at a time."""


def fingerprint(data: Any) -> str:
    """Return a hash of the content of `data`, 32 hexadecimal digits.

    Arrays, tables and files are read piece by piece, so a fingerprint needs only a few megabytes of
    memory beside the data.

    Parameters
    ----------
    data
        NumPy arrays and scalars, other array-likes (such as a PyTorch tensor),
        pandas DataFrames, Series and Indexes, tables of Arrow and Polars, SciPy sparse matrices,
        numbers, strings, bytes, None, a `Path` of a file or folder (its content counts, not its
        location), and lists, tuples, sets and dicts of these. The order of a dict does not count.
        A string is hashed as a string: write ``Path("data.csv")`` for a file.

    Raises
    ------
    ArgumentError
        For any other type, or a path that cannot be read.

    Examples
    --------
    >>> fingerprint([1, 2]) == fingerprint([1, 2]), fingerprint([1, 2]) == fingerprint([2, 1])
    (True, False)
    """
    digest = hashlib.sha256()
    _add(digest, data, "data")
    return digest.hexdigest()[:32]


def _add(digest: Digest, data: Any, place: str) -> None:
    """Add a value to the digest, preceded by its type and length."""
    match data:
        case None | bool() | int() | float() | complex() | str():
            _add_bytes(digest, type(data).__name__, repr(data).encode("utf-8", "backslashreplace"))
        case bytes() | bytearray() | memoryview():
            _add_bytes(digest, "bytes", bytes(data))
        case np.ndarray() | np.generic():
            _add_array(digest, np.asarray(data), place)
        case os.PathLike():
            _add_path(digest, Path(data), place)
        case Mapping():
            items = sorted((fingerprint(key), key) for key in data)
            _add_bytes(digest, "dict", str(len(items)).encode())
            for key_print, key in items:
                _add_bytes(digest, "key", key_print.encode())
                _add(digest, data[key], f"{place}[{key!r}]")
        case list() | tuple():
            _add_bytes(digest, type(data).__name__, str(len(data)).encode())
            for i, item in enumerate(data):
                _add(digest, item, f"{place}[{i}]")
        case Set():
            _add_bytes(digest, "set", " ".join(sorted(map(fingerprint, data))).encode())
        case _:
            _add_library_type(digest, data, place)


def _add_library_type(digest: Digest, data: Any, place: str) -> None:
    """Add a value of another library; the library is imported only if the data comes from it."""
    library = type(data).__module__.split(".")[0]
    if library == "pandas" and hasattr(data, "to_frame"):
        _add_frame(digest, data.to_frame(), type(data).__name__, place)
    elif library == "pandas" and hasattr(data, "columns"):
        _add_frame(digest, data, type(data).__name__, place)
    elif library == "scipy" and hasattr(data, "tocoo"):
        matrix = data.tocsr() if data.ndim == 2 else data.tocoo()
        matrix.sum_duplicates()
        coordinates = matrix.tocoo()
        _add_bytes(digest, "sparse", repr(tuple(map(int, data.shape))).encode())
        for axis in coordinates.coords:
            _add_array(digest, np.asarray(axis, dtype=np.int64), place)
        _add_array(digest, coordinates.data, place)
    elif library == "pyarrow" and hasattr(data, "to_pandas") and hasattr(data, "schema"):
        import pyarrow

        is_table = isinstance(data, pyarrow.Table)
        _add_arrow(digest, data if is_table else pyarrow.table(data), place)
    elif library == "polars" and hasattr(data, "to_arrow") and hasattr(data, "columns"):
        _add_arrow(digest, data.to_arrow(), place)
    elif hasattr(data, "__array__"):
        _add_array(digest, np.asarray(data), place)
    else:
        raise ArgumentError(
            f"{place} is a {type(data).__module__}.{type(data).__qualname__}, which has no "
            f"fingerprint; give NumPy arrays, pandas DataFrames or Series, SciPy sparse matrices, "
            f"a pathlib.Path of a file or folder, bytes, text or numbers, or lists, tuples, dicts "
            f"and sets of these"
        )


def _add_array(digest: Digest, array: np.ndarray[Any, Any], place: str) -> None:
    if array.dtype.hasobject:
        _add_bytes(digest, "objects", repr(array.shape).encode())
        for i, item in enumerate(array.flat):
            _add(digest, item, f"{place}.ravel()[{i}]")
        return
    # Little-endian and in C order, independent of the machine and the memory layout.
    order = array.dtype.newbyteorder("<")
    _add_bytes(digest, "array", f"{order.str} {order.names} {array.shape}".encode())
    for block in _blocks(array):
        plain = np.ascontiguousarray(block.astype(order, copy=False))
        digest.update(plain.reshape(-1).view(np.uint8).data)


def _blocks(array: np.ndarray[Any, Any]) -> Iterator[np.ndarray[Any, Any]]:
    """Yield an array in small pieces, in C order."""
    if array.nbytes <= _CHUNK or array.ndim == 0:
        yield array
        return
    rows = max(1, len(array) * _CHUNK // array.nbytes)
    for start in range(0, len(array), rows):
        if rows == 1 and array.ndim > 1:
            yield from _blocks(array[start])
        else:
            yield array[start : start + rows]


def _add_frame(digest: Digest, frame: pd.DataFrame, kind: str, place: str) -> None:
    _add_bytes(digest, kind, f"{frame.shape} {list(map(str, frame.dtypes))}".encode())
    _add(digest, [list(frame.index.names), list(frame.columns)], "columns")
    pieces = (frame.iloc[i : i + _ROWS] for i in range(0, len(frame), _ROWS))
    _add_rows(digest, len(frame), pieces, f"{place}: this {kind}")


def _add_arrow(digest: Digest, table: pa.Table, place: str) -> None:
    _add_bytes(digest, "Table", f"{table.num_rows} {[str(t) for t in table.schema.types]}".encode())
    _add(digest, list(table.column_names), "columns")
    starts = range(0, table.num_rows, _ROWS)
    pieces = (table.slice(i, _ROWS).to_pandas() for i in starts)
    _add_rows(digest, table.num_rows, pieces, f"{place}: this table")


def _add_rows(digest: Digest, count: int, pieces: Iterator[pd.DataFrame], what: str) -> None:
    """Add a hash of each row, as if all rows were one array."""
    import pandas as pd

    _add_bytes(digest, "array", f"<u8 None {(count,)}".encode())
    for piece in pieces:
        try:
            # pandas hashes strings, categories and missing values by content.
            hashes = pd.util.hash_pandas_object(piece, index=True)
        except TypeError as error:
            raise ArgumentError(
                f"{what} has a column that pandas cannot hash ({error}); "
                f"give columns of numbers, times, categories or text"
            ) from error
        digest.update(hashes.to_numpy().astype("<u8", copy=False).tobytes())


def _add_path(digest: Digest, path: Path, place: str) -> None:
    try:
        if path.is_dir():
            files = sorted(p for p in path.rglob("*") if p.is_file())
            _add_bytes(digest, "folder", str(len(files)).encode())
            for file in files:
                _add_bytes(digest, "name", file.relative_to(path).as_posix().encode())
                _add_file(digest, file)
        else:
            _add_file(digest, path)
    except OSError as error:
        raise ArgumentError(f"{place}: {str(path)!r} cannot be read: {error}") from error


def _add_file(digest: Digest, path: Path) -> None:
    with open_regular(path, follow=True) as file:
        _add_bytes(digest, "file", hashlib.file_digest(file, "sha256").digest())


def _add_bytes(digest: Digest, kind: str, content: bytes) -> None:
    digest.update(f"{kind} {len(content)} ".encode())
    digest.update(content)
