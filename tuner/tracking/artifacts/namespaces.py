"""Ownership of artifacts: each store writes and deletes only in its own namespace.

Several databases may share one artifact root: two SQLite files in a folder, a PostgreSQL store
beside a SQLite one, any number of stores behind one URL. Each keeps its artifacts below
``stores/<uid>/``. The database records the uid and the place at which it got it. A copy of a
database (``cp a.db c.db``, a restored dump) therefore detects that it is at another place, and
gets a new namespace. It also leaves a mark beside the former namespace,
``stores/<uid>.shared/<new uid>``. From then on two databases may name the files there, so garbage
collection leaves them alone, and the original database continues in a new namespace, too.

A folder that is moved as a whole keeps its namespace, because SQLite's place is relative to the
root.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from sqlalchemy import Connection, insert, select, text

from tuner.tracking import schema
from tuner.tracking.artifacts.folder import STORES
from tuner.tracking.database.connections import connect_to_read
from tuner.tracking.database.file_monitor import is_other_file
from tuner.tracking.database.init_db import lock_schema
from tuner.tracking.database.location import Location
from tuner.tracking.database.opening import Database
from tuner.tracking.database.write_queue import QUEUE
from tuner.tracking.queries import in_parts
from tuner.tracking.uuid7 import uuid7

_table = schema.areas


def path_of(uid: str) -> str:
    """Return the path of a namespace, relative to the artifact root."""
    return f"{STORES}/{uid}"


class SharedMarks(Protocol):
    """Marks in the artifact root that tell which namespaces two databases may name."""

    def has_namespace(self, uid: str) -> bool:
        """Return whether a namespace with that uid exists."""

    def mark_shared(self, uid: str, by: str) -> None:
        """Mark that the database with the namespace `by` is a copy of the one with `uid`."""

    def is_shared(self, uid: str) -> bool:
        """Return whether a namespace is marked as shared."""


@dataclass(frozen=True, slots=True)
class Namespaces:
    """The namespaces that a database has had in one root: the current uid and the earlier ones.

    `current` is None if nothing has been kept yet, or if the database was copied or moved since.
    """

    current: str | None
    earlier: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Recorded:
    """A database's namespaces: those in this root, and the ones of its former places."""

    own: tuple[str, ...]
    former: tuple[str, ...]
    place: str
    fits: bool


class StoreNamespace:
    """Finds the namespace of an artifact root that belongs to a database.

    Parameters
    ----------
    database
        The database.
    root
        The artifact folder, or the URL without credentials.
    marks
        The marks of shared namespaces.
    """

    def __init__(self, database: Database, root: Path | str, marks: SharedMarks) -> None:
        self._database = database
        self._root = root
        self._marks = marks
        self._uid: str | None = None
        self._recorded = False
        self._lock = threading.Lock()

    def path(self) -> str:
        """Return the path of the namespace to write to; assign one if the database has none.

        This does not create the store. If the store does not exist yet, the first write records its
        namespace.

        Raises
        ------
        StoreError
            If the database cannot be read or written.
        """
        with self._lock:
            if self._uid is None and not self._database.exists:
                self._uid = uuid7()
            elif self._uid is None:
                self._uid = self._known() or self._new()
                self._recorded = True
            return path_of(self._uid)

    def record(self) -> None:
        """Record the namespace before the first write; assign a new one if the database is a copy.

        This tells the original about the copy, even if the copy never keeps an artifact.
        """
        if self._recorded:
            return
        with self._lock:
            if self._uid is not None:
                self._new(self._uid)
            elif self._database.exists:
                found = self._read()
                if self._fits(found):
                    self._uid = found.own[-1]
                elif found.former or found.own:
                    self._uid = self._new()
            self._recorded = True

    def uids(self) -> Namespaces:
        """Return the namespaces of this database, without writing anything."""
        found = self._read()
        if self._fits(found):
            return Namespaces(found.own[-1], found.own[:-1])
        return Namespaces(None, found.own)

    def root_of(self, path: str) -> str | None:
        """Return the root that an artifact's recorded path was kept in, None if that is unknown.

        A root beside a SQLite file is named relative to it, and is therefore not returned.
        """
        if self._database.location.file is not None:
            return None
        uid = path.split("/")[1] if path.startswith(f"{STORES}/") else ""
        with self._database.reading() as connection:
            found = connection.execute(select(_table.c.root).where(_table.c.uid == uid)).scalar()
        return None if found is None else str(found)

    def _known(self) -> str | None:
        found = self._read()
        return found.own[-1] if self._fits(found) else None

    def _new(self, uid: str | None = None) -> str:
        with self._database.writing() as connection:
            lock_schema(connection)
            found = self._read_from(connection)
            if uid is None and self._fits(found):
                return found.own[-1]  # another process was faster
            uid = uid or uuid7()
            for former in {*found.former, *(() if found.fits else found.own[-1:])}:
                # Before the commit: the owner of the former namespace must learn of the copy.
                self._marks.mark_shared(former, uid)
            row = {"root": root_name(self._database.location, self._root), "uid": uid}
            connection.execute(insert(_table), {**row, "place": found.place})
        return uid

    def _read(self) -> _Recorded:
        with self._database.reading() as connection:
            return self._read_from(connection)

    def _read_from(self, connection: Connection) -> _Recorded:
        location = self._database.location
        root = root_name(location, self._root)
        place = database_identity(connection, location, self._root)
        rows = connection.execute(select(_table).order_by(_table.c.id)).all()
        own = [row for row in rows if row.root == root]
        # Also under another name of the root, such as a folder that is mounted elsewhere.
        former = [r.uid for r in rows if r.place != place and self._marks.has_namespace(r.uid)]
        fits = bool(own) and own[-1].place == place
        return _Recorded(tuple(row.uid for row in own), tuple(former), place, fits)

    def _fits(self, found: _Recorded) -> bool:
        """Return whether the latest namespace belongs to this database alone."""
        return found.fits and not self._marks.is_shared(found.own[-1])


def root_name(location: Location, root: Path | str) -> str:
    """Return a database's name for an artifact root; it stays the same if both move together."""
    if isinstance(root, str):
        return root
    real = os.path.realpath(root)
    if location.file is None:
        return real
    return os.path.relpath(real, os.path.dirname(os.path.realpath(location.file)))


def database_identity(connection: Connection, location: Location, root: Path | str) -> str:
    """Return text that differs between a database and each copy that names files in the same root.

    For a SQLite file it is the path, relative to the root if the root is a folder. If the root is a
    URL, the inode is added, because other machines may have a copy at the same path. For PostgreSQL
    it is the server's system identifier, its timeline, and the OIDs of the database and of the
    table. All of these differ in a restored dump.
    """
    if location.file is not None:
        file = os.path.realpath(location.file)
        if isinstance(root, str):
            return f"{file} (inode {os.stat(file).st_ino if os.path.exists(file) else 0})"
        return os.path.relpath(file, os.path.dirname(os.path.realpath(root)))
    if connection.dialect.name != "postgresql":
        return ""  # the empty store that is read before the real one exists
    found = connection.execute(text(_POSTGRES_IDENTITY)).one()
    return "/".join(map(str, found))


# A role without the right to read the server's identity is told apart by the two OIDs.
_POSTGRES_IDENTITY = f"""
    SELECT
        CASE WHEN has_function_privilege('pg_control_system()', 'EXECUTE')
            THEN (SELECT system_identifier FROM pg_control_system()) END,
        CASE WHEN has_function_privilege('pg_control_checkpoint()', 'EXECUTE')
            THEN (SELECT timeline_id FROM pg_control_checkpoint()) END,
        (SELECT oid FROM pg_database WHERE datname = current_database()),
        '{_table.name}'::regclass::oid
"""


# --- other stores beside the root ----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SiblingPaths:
    """The paths that other stores name, the number of stores, and the unreadable ones."""

    paths: frozenset[str]
    stores: int
    silent: tuple[Path, ...]


def paths_of_sibling_stores(root: Path, own: Path | None, paths: Sequence[str]) -> SiblingPaths:
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
    return SiblingPaths(frozenset(named), stores, tuple(silent))


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
