"""Fingerprints of data: equal content gives the same one, in every process and on every machine."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Set
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from tuner.errors import ArgumentError

if TYPE_CHECKING:
    import pandas as pd

    Digest: TypeAlias = "hashlib._Hash"

_CHUNK = 1 << 20


def fingerprint(data: Any) -> str:
    """Return a hash of the content of `data`, 32 hexadecimal digits.

    Parameters
    ----------
    data
        NumPy arrays and scalars, pandas DataFrames, Series and Indexes, SciPy sparse matrices,
        numbers, text, bytes, None, a `Path` of a file or folder (its content counts, not its
        place), and lists, tuples, sets and dicts of these. The order of a dict does not count.
        Text is text: write ``Path("data.csv")`` for a file.

    Raises
    ------
    ArgumentError
        For anything else, or a path that cannot be read.

    Examples
    --------
    >>> fingerprint([1, 2]) == fingerprint([1, 2]), fingerprint([1, 2]) == fingerprint([2, 1])
    (True, False)
    """
    digest = hashlib.sha256()
    _add(digest, data, "data")
    return digest.hexdigest()[:32]


def _add(digest: Digest, data: Any, place: str) -> None:
    """Add a value to the digest, preceded by what kind it is and how long."""
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
    """Add a value of pandas or SciPy, neither of which is imported unless the data is theirs."""
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
        for i, item in enumerate(array.ravel().tolist()):
            _add(digest, item, f"{place}.ravel()[{i}]")
        return
    # Little-endian and in C order, whatever the machine and the memory layout are.
    plain = np.ascontiguousarray(array.astype(array.dtype.newbyteorder("<"), copy=False))
    _add_bytes(digest, "array", f"{plain.dtype.str} {plain.dtype.names} {array.shape}".encode())
    digest.update(plain.reshape(-1).view(np.uint8).data)


def _add_frame(digest: Digest, frame: pd.DataFrame, kind: str, place: str) -> None:
    import pandas as pd

    _add_bytes(digest, kind, f"{frame.shape} {list(map(str, frame.dtypes))}".encode())
    _add(digest, [list(frame.index.names), list(frame.columns)], "columns")
    try:
        # pandas hashes text, categories and missing values by content.
        hashes = pd.util.hash_pandas_object(frame, index=True)
    except TypeError as error:
        raise ArgumentError(
            f"{place}: pandas cannot hash a column of this {kind} ({error}); "
            f"give columns of numbers, times, categories or text"
        ) from error
    _add_array(digest, hashes.to_numpy(), place)


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
    with path.open("rb") as file:
        _add_bytes(digest, "file", hashlib.file_digest(file, "sha256").digest())


def _add_bytes(digest: Digest, kind: str, content: bytes) -> None:
    digest.update(f"{kind} {len(content)} ".encode())
    digest.update(content)
