"""Bounded reading of a skops file: a zip archive of ``schema.json`` and arrays.

The sizes that the archive declares are checked against the limit before any member is unpacked, and
no member can unpack to more than its declared size.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from tuner.registry.limits import Budget, Refused
from tuner.registry.zip_members import members_of, opened, read_member
from tuner.search_spaces.parsing import literal

_SCHEMA = "schema.json"
_HEADER = re.compile(
    rb"\{'descr': ([^\0]+), 'fortran_order': (?:True|False), 'shape': \(([0-9, ]*)\), \} *\n"
)
_LONGEST_HEADER = 8192
_PREFIX = {1: 10, 2: 12, 3: 12}  # bytes before the header's text, by version of the npy format
_DIMENSIONS = 8


class Header(NamedTuple):
    """Data type, shape and length in bytes of an array, as its npy header declares them."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    start: int

    @property
    def size(self) -> int:
        """Number of items."""
        size = 1
        for length in self.shape:
            size *= length
        return size


class SkopsArchive:
    """The members of a skops file, checked for their declared sizes.

    Parameters
    ----------
    content
        The bytes of the file.

    Raises
    ------
    Refused
        If it is not such an archive, or unpacks to more than the limit.
    """

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._budget = Budget(len(content))
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(content))
        except (zipfile.BadZipFile, NotImplementedError, OSError, ValueError) as error:
            raise Refused(f"it is not a zip archive: {error}") from error
        self._members = members_of(self._zip, "the file")
        self._budget.spend(sum(info.file_size for info in self._members.values()))

    def stored(self) -> bytes:
        """Return the file with all members uncompressed, so that reading it unpacks nothing."""
        if all(info.compress_type == zipfile.ZIP_STORED for info in self._members.values()):
            return self._content
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as copy:
            for name in self._members:
                copy.writestr(name, self.read(name))
        return buffer.getvalue()

    def schema(self) -> Any:
        """Return the parsed ``schema.json``."""
        text = self.read(_SCHEMA)
        self._budget.spend_json(text)
        return json.loads(text)

    def read(self, name: str) -> bytes:
        """Return the content of a member."""
        if name not in self._members:
            raise Refused(f"it has no file {name!r}")
        return read_member(self._zip, self._members[name])

    def array_header(self, name: str) -> Header:
        """Return the header of an ``.npy`` member whose data has exactly the declared size."""
        if name not in self._members:
            raise Refused(f"it has no file {name!r}")
        info = self._members[name]
        with opened(self._zip, info) as file:
            header = read_header(file.read(_LONGEST_HEADER + 12), name)
        _check_size(header, info.file_size, name)
        return header

    def array(self, name: str) -> np.ndarray[Any, np.dtype[Any]]:
        """Return the array of an ``.npy`` member."""
        self.array_header(name)
        return np.load(io.BytesIO(self.read(name)), allow_pickle=False)  # type: ignore[no-any-return]

    def check_sparse(self, name: str) -> None:
        """Check that a member is an archive with the arrays of one CSR or CSC matrix."""
        with zipfile.ZipFile(io.BytesIO(self.read(name))) as inner:
            members = members_of(inner, name)
            self._budget.spend(sum(info.file_size for info in members.values()))
            expected = {"format.npy", "shape.npy", "data.npy", "indices.npy", "indptr.npy"}
            if not expected <= members.keys() <= expected | {"_is_array.npy"}:
                raise Refused(f"{name!r} is not a CSR or CSC matrix")
            arrays = {}
            for part, info in members.items():
                content = read_member(inner, info)
                header = read_header(content[: _LONGEST_HEADER + 12], f"{name}/{part}")
                _check_size(header, info.file_size, f"{name}/{part}")
                arrays[part] = np.load(io.BytesIO(content), allow_pickle=False)
        if arrays["format.npy"].size != 1 or arrays["format.npy"].item() not in (b"csr", b"csc"):
            raise Refused(f"{name!r} is not a CSR or CSC matrix")
        shape = arrays["shape.npy"]
        if shape.shape != (2,) or shape.dtype.kind not in "iu" or np.any(shape < 0):
            raise Refused(f"{name!r} has no shape of two dimensions")
        for part in ("indices.npy", "indptr.npy"):
            if arrays[part].ndim != 1 or arrays[part].dtype.kind not in "iu":
                raise Refused(f"{name!r}: {part} has no list of integers")


def read_header(content: bytes, name: str) -> Header:
    """Parse the start of an npy file; refuses arrays of Python objects."""
    if content[:6] != b"\x93NUMPY" or len(content) < 10:
        raise Refused(f"{name!r} is not an array in npy format")
    prefix = _PREFIX.get(content[6])
    if prefix is None:
        raise Refused(f"{name!r} is not an array in npy format")
    length = int.from_bytes(content[8:prefix], "little")
    match = _HEADER.fullmatch(content[prefix : prefix + length])
    if length > _LONGEST_HEADER or match is None:
        raise Refused(f"{name!r} has a header that NumPy does not write")
    shape = tuple(int(part) for part in match[2].split(b",") if part.strip())
    if len(shape) > _DIMENSIONS:
        raise Refused(f"{name!r} has {len(shape)} dimensions")
    return Header(_dtype(match[1], name), shape, prefix + length)


@lru_cache(maxsize=256)
def _dtype(description: bytes, name: str) -> np.dtype[Any]:
    try:
        described = literal(description.decode("ascii"))
        dtype = np.lib.format.descr_to_dtype(described)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError, KeyError) as error:
        raise Refused(f"{name!r} has no data type: {error}") from error
    if dtype.hasobject:
        raise Refused(f"{name!r} holds Python objects, and only allow_pickle=True could read them")
    return dtype


def _check_size(header: Header, size: int, name: str) -> None:
    if header.dtype.itemsize == 0 and header.size > 0:
        raise Refused(f"{name!r} has items without a size")
    if header.start + header.size * header.dtype.itemsize != size:
        raise Refused(
            f"{name!r} declares an array of shape {header.shape} and has other data: {size} bytes"
        )
