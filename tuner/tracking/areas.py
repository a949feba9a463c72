"""Ownership of artifacts: each store writes and deletes in an area of its own.

Several databases may share one artifact root: two SQLite files in a folder, a PostgreSQL store
beside a SQLite one, any number of stores behind one URL. Each keeps its artifacts below
``stores/<uid>/``. The database records the uid and the place at which it got it, so that a copy of
a database (``cp a.db c.db``, a restored dump) finds out that it is at another place, and gets an
area of its own. It also leaves word beside the former area, ``stores/<uid>.shared/<new uid>``: from
then on two databases may name the files there, so nobody collects them, and the original goes on in
a new area, too.

A folder that is moved as a whole keeps its area, because SQLite's place is relative to the root.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from sqlalchemy import Connection, insert, select, text

from tuner.tracking import schema
from tuner.tracking.artifacts import STORES
from tuner.tracking.creation import lock_schema
from tuner.tracking.database import Database
from tuner.tracking.location import Location
from tuner.tracking.uuid7 import uuid7

_table = schema.areas


def path_of(uid: str) -> str:
    """Return the path of an area, relative to the artifact root."""
    return f"{STORES}/{uid}"


class SharedMarks(Protocol):
    """Where it is noted which areas two databases may name: in the artifact root."""

    def has_area(self, uid: str) -> bool:
        """Whether there is an area of that uid."""

    def mark_shared(self, uid: str, by: str) -> None:
        """Note that the database with the area `by` is a copy of one with the area `uid`."""

    def is_shared(self, uid: str) -> bool:
        """Whether that was noted of an area."""


@dataclass(frozen=True, slots=True)
class Areas:
    """The areas that a database has had in one root: the uid of its own, and of earlier ones.

    `current` is None where nothing was kept yet, or the database has been copied or moved since.
    """

    current: str | None
    earlier: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Found:
    """What a database says of its areas: those in this root, and those of where it was before."""

    own: tuple[str, ...]
    former: tuple[str, ...]
    place: str
    fits: bool


class Ownership:
    """Tells which area of an artifact root is a database's own.

    Parameters
    ----------
    database
        The database.
    root
        The artifact folder, or the URL without credentials.
    marks
        Notes which areas are shared.
    """

    def __init__(self, database: Database, root: Path | str, marks: SharedMarks) -> None:
        self._database = database
        self._root = root
        self._marks = marks
        self._uid: str | None = None
        self._recorded = False
        self._lock = threading.Lock()

    def area(self) -> str:
        """Return the path of the area to write to; the database gets one if it has none.

        A store that has not been made yet is not made by this: its area is recorded with the first
        write.

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

    def settle(self) -> None:
        """Record the area, and get a new one if this database is a copy; before the first write.

        So the original learns of the copy, even if this one never keeps an artifact.
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

    def areas(self) -> Areas:
        """Return the areas of this database, as they are now; nothing is written."""
        found = self._read()
        return Areas(found.own[-1], found.own[:-1]) if self._fits(found) else Areas(None, found.own)

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
                # Before the commit: whoever has the former area must learn of it.
                self._marks.mark_shared(former, uid)
            row = {"root": root_name(self._database.location, self._root), "uid": uid}
            connection.execute(insert(_table), {**row, "place": found.place})
        return uid

    def _read(self) -> _Found:
        with self._database.reading() as connection:
            return self._read_from(connection)

    def _read_from(self, connection: Connection) -> _Found:
        location = self._database.location
        root = root_name(location, self._root)
        place = place_of(connection, location, self._root)
        rows = connection.execute(select(_table).order_by(_table.c.id)).all()
        own = [row for row in rows if row.root == root]
        # Under another name of the root, too: a folder that is mounted elsewhere.
        former = [r.uid for r in rows if r.place != place and self._marks.has_area(r.uid)]
        fits = bool(own) and own[-1].place == place
        return _Found(tuple(row.uid for row in own), tuple(former), place, fits)

    def _fits(self, found: _Found) -> bool:
        """Whether the latest area is this database's alone."""
        return found.fits and not self._marks.is_shared(found.own[-1])


def root_name(location: Location, root: Path | str) -> str:
    """Return what a database calls an artifact root: the same after both were moved together."""
    if isinstance(root, str):
        return root
    real = os.path.realpath(root)
    if location.file is None:
        return real
    return os.path.relpath(real, os.path.dirname(os.path.realpath(location.file)))


def place_of(connection: Connection, location: Location, root: Path | str) -> str:
    """Return what tells a database from each copy of it that names files in the same root.

    A SQLite file has its path, relative to a root that is a folder; behind a URL its inode as well,
    as other machines may have a copy at the same path. In PostgreSQL it is the server's system
    identifier with its timeline, and the numbers of the database and of the table, all of which a
    restored dump has others of.
    """
    if location.file is not None:
        file = os.path.realpath(location.file)
        if isinstance(root, str):
            return f"{file} (inode {os.stat(file).st_ino if os.path.exists(file) else 0})"
        return os.path.relpath(file, os.path.dirname(os.path.realpath(root)))
    if connection.dialect.name != "postgresql":
        return ""  # the empty store that is read before there is one
    found = connection.execute(text(_POSTGRES_PLACE)).one()
    return "/".join(map(str, found))


# Whoever may not ask for the server is told apart by the other two.
_POSTGRES_PLACE = f"""
    SELECT
        CASE WHEN has_function_privilege('pg_control_system()', 'EXECUTE')
            THEN (SELECT system_identifier FROM pg_control_system()) END,
        CASE WHEN has_function_privilege('pg_control_checkpoint()', 'EXECUTE')
            THEN (SELECT timeline_id FROM pg_control_checkpoint()) END,
        (SELECT oid FROM pg_database WHERE datname = current_database()),
        '{_table.name}'::regclass::oid
"""
