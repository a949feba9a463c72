"""Memory limits of model files, enforced before a file is unpacked or parsed."""

from __future__ import annotations

import os

SIZE_VARIABLE = "TUNER_MODEL_BYTES"
"""Environment variable: the most bytes that a model file may unpack to."""

_ALWAYS_ALLOWED = 64 * 2**20  # bytes, for a file of any size
_RATIO = 20  # unpacked bytes per byte of the file
_MOST = 8 * 2**30

_BYTES_OF_CONTAINER = 100  # memory of a list or dict of JSON
_BYTES_OF_ITEM = 40  # memory of an item in one


class Refused(ValueError):
    """A file that is invalid in its format, or larger than allowed."""


class Budget:
    """Counter of the bytes that a file unpacks to, with a limit.

    Parameters
    ----------
    packed
        Size of the file in bytes.
    """

    def __init__(self, packed: int) -> None:
        self._limit, self._unpacked = size_limit(packed), 0

    def spend(self, size: int) -> None:
        """Add `size` bytes to the count.

        Raises
        ------
        Refused
            If the count exceeds the limit of the file.
        """
        self._unpacked += size
        if self._unpacked > self._limit:
            raise Refused(
                f"it unpacks to more than {self._limit} bytes (at least {self._unpacked}); if you "
                f"trust who made it, set the environment variable {SIZE_VARIABLE} to a larger limit"
            )

    def spend_json(self, text: bytes) -> None:
        """Add the memory that a JSON text needs when it is parsed."""
        containers = text.count(b"{") + text.count(b"[")
        self.spend(_BYTES_OF_CONTAINER * containers + _BYTES_OF_ITEM * text.count(b","))


def size_limit(packed: int) -> int:
    """Return the number of bytes that a file of `packed` bytes may unpack to."""
    configured = os.environ.get(SIZE_VARIABLE, "").strip()
    if not configured:
        return min(_MOST, max(_ALWAYS_ALLOWED, _RATIO * packed))
    if not configured.isascii() or not configured.isdigit() or len(configured) > 18:
        raise Refused(f"{SIZE_VARIABLE}={configured!r}: write a number of bytes, such as {_MOST}")
    return int(configured)
