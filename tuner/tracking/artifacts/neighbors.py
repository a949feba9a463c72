"""Other SQLite stores beside an artifact folder, and the files in it that they name."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from tuner.tracking.database.connections import connect_to_read
from tuner.tracking.database.headers import is_other_file
from tuner.tracking.database.write_queue import QUEUE
from tuner.tracking.queries import in_parts


@dataclass(frozen=True, slots=True)
class Named:
    """The paths that other stores name, the number of stores, and the unreadable ones."""

    paths: frozenset[str]
    stores: int
    silent: tuple[Path, ...]


def named_by_neighbors(root: Path, own: Path | None, paths: Sequence[str]) -> Named:
    """Return which paths the SQLite stores beside an artifact folder name.

    These stores share the artifact folder, and a copy of a store may never have been opened.

    Parameters
    ----------
    root
        The artifact folder.
    own
        The SQLite file to leave out; None for a PostgreSQL store.
    paths
        Paths of artifacts, relative to the root.
    """
    named: set[str] = set()
    stores, silent = 0, []
    for file in _databases(root, own):
        try:
            with closing(connect_to_read(file)) as connection:
                if not _is_store(connection):
                    continue
                stores += 1
                for part in in_parts(paths):
                    marks = ", ".join("?" * len(part))
                    query = f"SELECT path FROM artifacts WHERE path IN ({marks})"
                    named.update(path for (path,) in connection.execute(query, list(part)))
        except sqlite3.Error as error:
            if not is_other_file(error):
                silent.append(file)
    return Named(frozenset(named), stores, tuple(silent))


def _databases(root: Path, own: Path | None) -> Iterator[Path]:
    """Yield the SQLite files beside the artifact folder, except `own`."""
    folders = {root.parent, Path(os.path.realpath(root)).parent}
    for folder in folders:
        for file in sorted(folder.iterdir()) if folder.is_dir() else ():
            if file.name.endswith(("-wal", "-shm", "-journal", QUEUE)):
                continue
            # A link counts as its target file; a pipe or device is not opened.
            if file.is_file() and os.access(file, os.R_OK) and not _is_same(file, own):
                yield file


def _is_same(file: Path, other: Path | None) -> bool:
    return other is not None and other.exists() and file.samefile(other)


def _is_store(connection: sqlite3.Connection) -> bool:
    query = "SELECT count(*) FROM sqlite_master WHERE name IN ('artifacts', 'tuner_schema')"
    return bool(connection.execute(query).fetchone() == (2,))
