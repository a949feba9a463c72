"""Transfer a folder to a worker on another machine through Ray's object store.

The object store spills to disk when its memory is full. So sender and receiver each hold at most
one piece in memory, for files of any size.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

PIECE = 8 * 2**20
"""Bytes of one piece in the object store."""

Parcel: TypeAlias = Sequence[tuple[str, Any]]
"""The pieces of the files of a folder, in order: a relative path, and Ray's reference to bytes."""


def pack(folder: str, size: int) -> Parcel:
    """Put the files below a folder into the object store.

    Return nothing if they cannot be read or their total is not `size` bytes. The receiver then
    detects this by the checksum.
    """
    import ray

    root = Path(folder)
    try:
        files = [path for path in sorted(root.rglob("*")) if path.is_file()]
        if sum(path.stat().st_size for path in files) != size:
            return []
        return [
            (path.relative_to(root).as_posix(), ray.put(piece))
            for path in files
            for piece in _pieces(path)
        ]
    except OSError:
        return []


def unpack(parcel: Parcel, folder: Path) -> None:
    """Write the files of a parcel below a folder."""
    import ray

    for name, reference in parcel:
        target = folder.joinpath(*name.split("/"))
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("ab") as file:
            file.write(ray.get(reference))


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        piece = file.read(PIECE)
        while True:
            yield piece
            if not (piece := file.read(PIECE)):
                return
