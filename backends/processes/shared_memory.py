"""Keep the pickled work in one file in memory, which all workers of a pool map."""

from __future__ import annotations

import mmap
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass

from tuner.backends.shipping import PickledWork

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
