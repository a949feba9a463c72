"""Brings a folder to a worker on another machine, through Ray's object store.

That spills to the disk what does not fit its memory, so that neither end ever holds more than one
piece, however large the files are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

PIECE = 8 * 2**20
"""Bytes that are put into the object store at once."""

Parcel: TypeAlias = Sequence[tuple[str, Any]]
"""The pieces of the files of a folder, in order: a relative path, and Ray's reference to bytes."""


def pack(folder: str, size: int) -> Parcel:
    """Put the files below a folder into the object store.

    Nothing, if they cannot be read or have not `size` bytes in sum. Whoever unpacks that finds out
    by the checksum.
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
