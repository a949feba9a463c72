"""The rows of studies in a store, and the keys of studies that a process remembers."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, select, update

from tuner.errors import StudyNotFound
from tuner.records import StudyInfo, decode_params
from tuner.tracking import leases, rows, upserts
from tuner.tracking.database.location import Location
from tuner.tracking.schema import studies

MUTABLE = ("optimizer", "data", "tags")
"""The fields of a study that change after its creation."""


class StudyKey(NamedTuple):
    """Values that every statement about a study needs: its row id, name and params codec."""

    id: int
    name: str
    codec: rows.ParamsCodec


class StudyRows:
    """Reads and writes the rows of studies; remembers the key of each study.

    Parameters
    ----------
    location
        The location of the store, for messages.
    """

    def __init__(self, location: Location) -> None:
        self._location = location
        self._keys: dict[str, StudyKey] = {}

    def known(self, uid: str) -> StudyKey | None:
        """Return the remembered key of a study, without reading the store."""
        return self._keys.get(uid)

    def key(self, connection: Connection, uid: str) -> StudyKey:
        """Return the key of a study, read once: its space never changes."""
        key = self._keys.get(uid)
        if key is None:
            query = select(studies.c.id, studies.c.name, studies.c.space)
            row = connection.execute(query.where(studies.c.uid == uid)).first()
            if row is None:
                raise StudyNotFound(f"store {self._location} has no study with uid {uid!r}")
            key = StudyKey(row.id, row.name, rows.ParamsCodec(decode_params(row.space)))
            self._keys[uid] = key
        return key

    def put(self, connection: Connection, info: StudyInfo) -> Row[Any]:
        """Record a study unless it exists, and return its row.

        Raise `StudyNotFound` if the study with this uid was deleted.
        """
        insert = upserts.insert(connection, studies)
        connection.execute(insert.on_conflict_do_nothing(), rows.study_row(info))
        found = find(connection, info.name, info.uid)
        if found is None:
            raise StudyNotFound(
                f"store {self._location} lost study {info.name!r} just now; call again"
            )
        if found.deleted is not None:
            raise leases.deleted(f"study {info.name!r}")
        return found

    def update(self, connection: Connection, info: StudyInfo, fields: Collection[str]) -> None:
        """Replace the mutable `fields` of a study."""
        row = rows.study_row(info)
        changes = {field: row[field] for field in MUTABLE if field in fields}
        same = studies.c.uid == info.uid, studies.c.deleted.is_(None)
        done = connection.execute(update(studies).where(*same).values(changes))
        if done.rowcount == 0:
            raise StudyNotFound(
                f"store {self._location} has no study {info.name!r} with uid {info.uid}"
            )


def find(connection: Connection, name: str, uid: str) -> Row[Any] | None:
    """Return the study of that uid: it may be renamed, and another have its name; else by name."""
    for column, value in ((studies.c.uid, uid), (studies.c.name, name)):
        query = select(studies).where(column == value)
        if value and (found := connection.execute(query).first()) is not None:
            return found
    return None
