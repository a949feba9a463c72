"""Pickle the work of a study once for all workers, with large arrays beside the pickle.

Buffers of large arrays are pickled out of band (protocol 5): a backend puts them into memory that
all workers of a machine share. The arrays of the workers are read-only views of that memory.
Smaller arrays are part of the pickle: each worker has a writable copy.
"""

from __future__ import annotations

import io
import pickle
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tuner.backends.code_pickler import CodePickler
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


class _Pickler(CodePickler):
    """A pickler that also shares arrays that NumPy itself would copy into the pickle.

    These are arrays with gaps, such as ``X[:, :10]``, memory-mapped files, and dates.
    """

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
