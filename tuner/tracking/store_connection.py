"""The open database and artifact root of a store."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Row, Select, Table, select

from tuner.errors import ArtifactMissing, StoreError
from tuner.errors.notices import warn
from tuner.records import Artifact, Code, Environment, Record, Upload
from tuner.tracking import queries, rows, schema, upserts
from tuner.tracking.artifacts.folder import ArtifactFolder
from tuner.tracking.artifacts.namespaces import StoreNamespace
from tuner.tracking.artifacts.remote import RemoteArtifacts
from tuner.tracking.database.location import Location
from tuner.tracking.database.opening import Database

STREAMED = 1000
"""Rows fetched at a time by a streaming read."""

REFRESH = 600.0
"""Seconds after which a record of code or of an environment is marked as used again."""

_T = TypeVar("_T")


class StoreConnection:
    """Transactions on the database, the artifacts' files, and records that belong to no study.

    Attributes
    ----------
    url : str
        The SQLAlchemy URL that opens this store again.
    artifact_root : Path
        The folder that holds the artifacts.
    """

    def __init__(self, location: Location) -> None:
        self.url = location.url.render_as_string(hide_password=False)
        self.artifact_root = location.artifact_root
        self._database = Database(location)
        files_of = self._artifact_paths, self._namespace_path
        folder = ArtifactFolder(location.artifact_root, *files_of)
        url = location.artifact_url
        self._files: ArtifactFolder | RemoteArtifacts = (
            folder if url is None else RemoteArtifacts(url, files_of[0], folder, files_of[1])
        )
        self._key_ids: dict[str, dict[str, int]] = {}
        self._put: dict[tuple[str, str], dict[str, Any]] = {}
        self._namespace = StoreNamespace(self._database, self._files.recorded_root, self._files)
        self._said_where = False

    def __str__(self) -> str:
        """Return the location of the store for display, without a password."""
        return str(self._database.location)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self}>"

    @property
    def exists(self) -> bool:
        """Whether the store has been created; the first write creates it."""
        return self._database.exists

    def reading(self) -> AbstractContextManager[Connection]:
        """Provide a connection that sees one snapshot of the store.

        For other modules with tables in the same database, such as the registry.
        """
        return self._database.reading()

    def writing(self) -> AbstractContextManager[Connection]:
        """Provide a connection whose transaction is committed at the end, or rolled back.

        SQLite takes its write lock at once, so values read in the transaction stay valid until its
        end. PostgreSQL runs it at READ COMMITTED: lock the rows that a decision depends on.
        """
        with suppress(StoreError):  # of the artifacts, which this write may not need
            self._namespace.record()
        return self._database.writing()

    def check_in_place(self) -> None:
        """Check that the open database and the artifact folder are still in place.

        Raises
        ------
        StoreError
            If the database file or the artifact folder was deleted, replaced or truncated.
        """
        self._database.check_in_place()
        self._check_artifacts()

    def close(self) -> None:
        """Release the connections; they are reopened when needed."""
        self._database.close()

    # --- artifacts ----------------------------------------------------------------------------

    def put_artifact(self, run: str, upload: Upload) -> Artifact:
        """Write an upload's files, checksum them, and return the artifact's record.

        The first one warns if other processes that use the store look for it elsewhere.
        """
        artifact = self._files.put(run, upload)
        location = self._database.location
        if location.own_artifacts and not self._said_where:
            self._said_where = True
            warn(
                f"store {self}: artifacts are kept in {self.artifact_root}, where only processes "
                f"that share this folder find them; set TUNER_ARTIFACTS to an absolute path or "
                f"URL that everyone who uses the store can reach"
            )
        return artifact

    def read_artifact(self, artifact: Artifact) -> dict[str, bytes]:
        """Return an artifact's files by their relative paths.

        Raises
        ------
        ArtifactMissing
            If the files are not in the artifact folder; the message names the folder in which they
            were kept.
        ChecksumMismatch
            If the files differ from the recorded ones in any byte.
        """
        try:
            return self._files.read(artifact)
        except ArtifactMissing as error:
            raise ArtifactMissing(f"{error}; {self._where_kept(artifact)}") from error

    def _where_kept(self, artifact: Artifact) -> str:
        """Return where the files of a missing artifact were kept, and what to do."""
        kept = self._namespace.root_of(artifact.path)
        here = str(self._files.recorded_root)
        was = "" if kept is None else f"it was kept in {kept}"
        if self._database.location.own_artifacts:
            place = " on the machine that ran the trial" if kept == here else ""
            return (
                f"{was or 'it was kept elsewhere'}{place}: TUNER_ARTIFACTS is not set here, or is "
                f"relative, so each process looks in a folder of its own; set it to an absolute "
                f"path or URL that has the files"
            )
        if kept not in (None, here):
            return f"{was}: set TUNER_ARTIFACTS to that place, or copy the files to {here}"
        return "put the files back, or check that TUNER_ARTIFACTS is what it was"

    @property
    def files(self) -> ArtifactFolder | RemoteArtifacts:
        """The storage of the artifacts' files."""
        return self._files

    @property
    def file(self) -> Path | None:
        """The database file of SQLite, None for a server."""
        return self._database.location.file

    @property
    def namespace(self) -> StoreNamespace:
        """The store's namespaces in its artifact root."""
        return self._namespace

    def _check_artifacts(self) -> None:
        if isinstance(self._files, ArtifactFolder):
            self._files.check_in_place()

    def _namespace_path(self) -> str:
        return self._namespace.path()

    def _artifact_paths(self, run: str, name: str) -> list[str]:
        with self.reading() as connection:
            return list(connection.execute(queries.artifact_paths(run, name)).scalars())

    # --- code and environment -----------------------------------------------------------------

    def put_code(self, code: Code) -> str:
        """Record `code` once and return its key."""
        key = _key(code)
        self._put_keyed(schema.codes, rows.code_row(key, code))
        return key

    def get_code(self, key: str) -> Code:
        """Return the code with that key."""
        return rows.code_of(self._get_keyed(schema.codes, key))

    def put_environment(self, environment: Environment) -> str:
        """Record `environment` once and return its key."""
        key = _key(environment)
        self._put_keyed(schema.environments, rows.environment_row(key, environment))
        return key

    def get_environment(self, key: str) -> Environment:
        """Return the environment with that key."""
        return rows.environment_of(self._get_keyed(schema.environments, key))

    def _put_keyed(self, table: Table, values: dict[str, Any]) -> None:
        self._put[table.name, values["key"]] = values
        # It may have been collected and recorded again, under another id.
        self._key_ids.get(table.name, {}).pop(values["key"], None)
        now = time.time()
        with self.reading() as connection:
            query = select(table.c.used).where(table.c.key == values["key"])
            if (connection.execute(query).scalar() or 0.0) > now - REFRESH:
                return
        with self.writing() as connection:
            insert = upserts.insert(connection, table).values(used=now)
            upsert = insert.on_conflict_do_update(index_elements=["key"], set_={"used": now})
            connection.execute(upsert, values)

    def _get_keyed(self, table: Table, key: str) -> Row[Any]:
        with self.reading() as connection:
            row = connection.execute(select(table).where(table.c.key == key)).first()
        if row is None:
            raise StoreError(f"store {self} has no row {key!r} in {table.name}")
        return row

    def _stream(self, query: Select[Any], read: Callable[[Row[Any]], _T]) -> Iterator[_T]:
        """Yield `read` of each row; a row that cannot be read counts as damage."""
        with self.reading() as connection:
            for row in connection.execution_options(yield_per=STREAMED).execute(query):
                yield read(row)


def _key(record: Record) -> str:
    """Return the key of a record: the hash of its content."""
    text = json.dumps(record.to_json(), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:32]
