"""Ship the work of a study to workers: one pickle, with large arrays beside it in shared memory.

Buffers of large arrays are pickled out of band (protocol 5): a backend puts them into memory that
all workers of a machine share. The arrays of the workers are read-only views of that memory.
Smaller arrays are part of the pickle: each worker has a writable copy.
"""

from __future__ import annotations

import io
import mmap
import os
import pickle
import sys
import tempfile
from collections import ChainMap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import CodeType
from typing import Any, ClassVar

import cloudpickle

from tuner.backends.protocol import Work
from tuner.errors import ObjectiveError
from tuner.errors.loading import loading

SHARED_FROM = 2**20
"""Minimum bytes of a buffer that workers share."""

PROTOCOL = 5
"""The protocol of pickle that knows buffers out of band."""


@dataclass(frozen=True, slots=True)
class PickledWork:
    """The pickle of the work, and the bytes of its large arrays in order."""

    data: bytes
    buffers: list[memoryview]

    @property
    def size(self) -> int:
        """Number of bytes of the pickle and the buffers."""
        return len(self.data) + sum(buffer.nbytes for buffer in self.buffers)


def pickle_work(work: Work) -> PickledWork:
    """Return the work, pickled for shipping.

    Raises
    ------
    ObjectiveError
        If it cannot be pickled.
    """
    buffers: list[memoryview] = []

    def keep_in_band(buffer: pickle.PickleBuffer) -> bool:
        raw = buffer.raw()
        if raw.nbytes < SHARED_FROM:
            return True
        buffers.append(raw)
        return False

    with io.BytesIO() as file:
        try:
            _Pickler(file, protocol=PROTOCOL, buffer_callback=keep_in_band).dump(work)
        except Exception as error:
            # A user-defined __reduce__ may raise any exception.
            raise ObjectiveError(
                f"the objective cannot be shipped to a worker: {type(error).__name__}: {error}; "
                f"open files, locks and connections in the objective itself"
            ) from error
        return PickledWork(file.getvalue(), buffers)


def load_work(data: Any, buffers: Iterable[Any]) -> tuple[Work | None, str]:
    """Return the work in a worker; or None and the problem, which the driver reports."""
    try:
        with loading():  # this may import the file of the objective
            return pickle.loads(data, buffers=buffers), ""
    except BaseException as error:
        # Importing the user's modules may raise anything.
        return None, f"{type(error).__name__}: {error}"


def cannot_be_loaded(problem: str) -> ObjectiveError:
    """Return the error for work that a worker cannot load."""
    return ObjectiveError(
        f"the objective cannot be loaded in a worker: {problem}; define it in the script itself, "
        f"or in a module that is installed where the workers run"
    )


def _reduced(code: CodeType) -> tuple[Any, ...]:
    make, args, *_ = cloudpickle.Pickler.dispatch_table[CodeType](code)
    return _with_file, (code.co_filename, make, args)


def _with_file(file: str, make: Any, args: tuple[Any, ...]) -> CodeType:
    code: CodeType = make(*args)
    return code.replace(co_filename=file)


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    """The pickler of cloudpickle, with the file names of code and with more shared arrays.

    Cloudpickle by itself drops the file name of each code object, which the tracebacks of workers
    name. NumPy by itself copies some arrays into the pickle: arrays with gaps, such as
    ``X[:, :10]``, memory-mapped files, and dates.
    """

    dispatch_table: ClassVar[Any] = ChainMap(
        {CodeType: _reduced}, cloudpickle.Pickler.dispatch_table
    )

    def reducer_override(self, obj: Any) -> Any:
        np: Any = sys.modules.get("numpy")
        if np is not None and isinstance(obj, np.ndarray) and _is_shareable(obj, np):
            plain = np.asarray(obj)
            if not (plain.flags.c_contiguous or plain.flags.f_contiguous):
                plain = np.ascontiguousarray(plain)
            if plain.dtype.kind in "mM":  # no buffer can have these types
                return _with_dtype, (plain.view(np.int64), plain.dtype)
            return plain.__reduce_ex__(PROTOCOL)
        return super().reducer_override(obj)


def _with_dtype(array: Any, dtype: Any) -> Any:
    return array.view(dtype)


def _is_shareable(array: Any, np: Any) -> bool:
    exact = type(array) in (np.ndarray, np.memmap)
    return exact and array.nbytes >= SHARED_FROM and not array.dtype.hasobject


# --- memory that the workers of one machine share -------------------------------------------------

ALIGNMENT = 64
"""Offsets in the file are multiples of this, as NumPy aligns its own arrays for vector units."""


@dataclass(frozen=True, slots=True)
class SharedFile:
    """A file without a name: the kernel frees it when the last process that has it open ends.

    `parts` are the offset and size of the pickle and of each buffer.
    """

    descriptor: int
    parts: tuple[tuple[int, int], ...]

    def close(self) -> None:
        """Close this process's descriptor."""
        os.close(self.descriptor)


def share(work: PickledWork) -> SharedFile:
    """Write the work into memory, or into a temporary file if memory for it is not available."""
    file = SharedFile(_open(work.size), tuple(_parts(work)))
    try:
        with open(file.descriptor, "wb", closefd=False) as stream:
            contents: list[bytes | memoryview] = [work.data, *work.buffers]
            for (offset, _), content in zip(file.parts, contents, strict=True):
                stream.seek(offset)
                stream.write(content)
    except BaseException:
        file.close()
        raise
    return file


def map_parts(
    descriptor: int, parts: Sequence[tuple[int, int]]
) -> tuple[memoryview, list[memoryview]]:
    """Return the pickle and the buffers, read-only.

    The mapping is private: native code that writes to a read-only array changes a copy of its own
    instead of the data of all workers.
    """
    view = memoryview(mmap.mmap(descriptor, 0, access=mmap.ACCESS_COPY)).toreadonly()
    data, *buffers = (view[offset : offset + size] for offset, size in parts)
    return data, buffers


def _parts(work: PickledWork) -> list[tuple[int, int]]:
    parts, end = [], 0
    for size in (len(work.data), *(buffer.nbytes for buffer in work.buffers)):
        parts.append((end, size))
        end += -(-size // ALIGNMENT) * ALIGNMENT
    return parts


def _open(size: int) -> int:
    import psutil

    if sys.platform == "linux" and psutil.virtual_memory().available > size:
        return os.memfd_create("tuner-work", os.MFD_CLOEXEC)
    descriptor, path = tempfile.mkstemp(prefix="tuner-")
    os.unlink(path)
    return descriptor
