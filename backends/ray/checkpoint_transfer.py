"""Transfer a folder to a worker on another machine through Ray's object store.

The object store spills to disk when its memory is full. So sender and receiver each hold at most
one piece in memory, for files of any size.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

CHUNK = 8 * 2**20
"""Bytes of one piece in the object store."""

ShippedFolder: TypeAlias = Sequence[tuple[str, Any]]
"""The pieces of the files of a folder, in order: a relative path, and Ray's reference to bytes."""


def ship_folder(folder: str, size: int) -> ShippedFolder:
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
            for piece in _chunks(path)
        ]
    except OSError:
        return []


def receive_folder(shipped: ShippedFolder, folder: Path) -> None:
    """Write the files of a shipped folder below a folder."""
    import ray

    for name, reference in shipped:
        target = folder.joinpath(*name.split("/"))
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("ab") as file:
            file.write(ray.get(reference))


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        piece = file.read(CHUNK)
        while True:
            yield piece
            if not (piece := file.read(CHUNK)):
                return
