"""Changes of models within a transaction: locks, aliases with their history, and deletion."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, func, select, update

from tuner.errors import RegistryError
from tuner.records import Artifact, ModelVersion, Run, StudyInfo
from tuner.registry import history
from tuner.registry.history import Act
from tuner.registry.names import REFIT, Reference
from tuner.registry.versions import find_alias, find_version, not_found
from tuner.tracking import edits, schema, upserts
from tuner.tracking.queries import PROFILE, in_parts, is_registered

_MODELS, _VERSIONS, _ALIASES = schema.models, schema.model_versions, schema.aliases
_SAMPLES = schema.served_samples


@dataclass(frozen=True, slots=True)
class Model:
    """A model in a transaction; one that is changed must be locked: see `lock_model`."""

    connection: Connection
    store: object
    id: int
    name: str

    def version(self, reference: Reference) -> ModelVersion:
        """Return the version that a reference to this model names.

        Raises
        ------
        ModelNotFound
            If it does not exist.
        """
        if reference.version is not None:
            condition = _VERSIONS.c.version == reference.version
            found = find_version(self.connection, condition, self.name)
        else:
            assert reference.alias is not None
            found = find_alias(self.connection, self.name, reference.alias)
        if found is None:
            which = reference.alias or str(reference.version)
            raise not_found(self.connection, self.store, self.name, which)
        return found

    def row_of(self, version: int) -> tuple[Any, Any]:
        """Return the conditions that select the row of a version."""
        return _VERSIONS.c.model_id == self.id, _VERSIONS.c.version == version

    def set_values(self, version: int, **values: Any) -> None:
        """Replace columns of a version."""
        statement = update(_VERSIONS).where(*self.row_of(version)).values(values)
        self.connection.execute(statement)

    def holder(self, alias: str) -> int | None:
        """Return the number of the version that has an alias, or None."""
        query = (
            select(_VERSIONS.c.version)
            .join(_ALIASES, _ALIASES.c.version_id == _VERSIONS.c.id)
            .where(_ALIASES.c.model_id == self.id, _ALIASES.c.alias == alias)
        )
        return self.connection.execute(query).scalar()

    def move(
        self,
        alias: str,
        version: int | None,
        act: Act,
        result: Mapping[str, Any] | None = None,
    ) -> bool:
        """Point an alias to a version, or to none, and record it; return whether it changed."""
        before = self.holder(alias)
        if before == version:
            return False
        if version is None:
            which = _ALIASES.c.model_id == self.id, _ALIASES.c.alias == alias
            self.connection.execute(delete(_ALIASES).where(*which))
        else:
            query = select(_VERSIONS.c.id).where(*self.row_of(version))
            version_id = self.connection.execute(query).scalar_one()
            values = {"model_id": self.id, "alias": alias, "version_id": version_id}
            self.connection.execute(upserts.replacing(self.connection, _ALIASES), values)
        history.append(
            self.connection, self.id, act, alias=alias, before=before, after=version, result=result
        )
        return True

    def next_version(self) -> int:
        """Return the number of a new version, which no version of this model ever had."""
        latest = select(func.max(_VERSIONS.c.version)).where(_VERSIONS.c.model_id == self.id)
        removed = select(_MODELS.c.removed).where(_MODELS.c.id == self.id)
        queries = (latest, removed)
        return 1 + max(self.connection.execute(query).scalar() or 0 for query in queries)

    def delete_version(self, version: ModelVersion, act: Act) -> None:
        """Delete a version with its aliases; its number is not given again."""
        for alias in version.aliases:
            self.move(alias, None, act)
        self._delete_samples(_SAMPLES.c.version == version.version)
        self._delete_rows(*self.row_of(version.version))
        removed = func.coalesce(_MODELS.c.removed, 0)
        self.connection.execute(
            update(_MODELS)
            .where(_MODELS.c.id == self.id, removed < version.version)
            .values(removed=version.version)
        )

    def delete(self) -> None:
        """Delete the model with its versions, aliases and history."""
        connection = self.connection
        connection.execute(delete(_ALIASES).where(_ALIASES.c.model_id == self.id))
        self._delete_samples()
        self._delete_rows(_VERSIONS.c.model_id == self.id)
        events = schema.model_history
        connection.execute(delete(events).where(events.c.model_id == self.id))
        connection.execute(delete(_MODELS).where(_MODELS.c.id == self.id))

    def _delete_samples(self, *which: Any) -> None:
        own = _SAMPLES.c.model_id == self.id
        self.connection.execute(delete(_SAMPLES).where(own, *which))

    def _delete_rows(self, *which: Any) -> None:
        """Delete versions that have no aliases, and what only they kept."""
        connection, artifacts = self.connection, schema.artifacts
        found = connection.execute(
            select(_VERSIONS.c.study, _VERSIONS.c.run, _VERSIONS.c.artifact_id).where(*which)
        ).all()
        connection.execute(delete(_VERSIONS).where(*which))
        still = select(_VERSIONS.c.id).where(_VERSIONS.c.artifact_id == artifacts.c.id).exists()
        for part in in_parts([row.artifact_id for row in found if row.artifact_id is not None]):
            fitted = artifacts.c.id.in_(part), artifacts.c.name == REFIT, ~still
            connection.execute(delete(artifacts).where(*fitted))
        for part in in_parts(sorted({row.run for row in found})):
            runs = select(schema.runs.c.id).where(schema.runs.c.uid.in_(part))
            profiles = artifacts.c.kind == PROFILE, artifacts.c.run_id.in_(runs), ~is_registered()
            connection.execute(delete(artifacts).where(*profiles))
        for study in sorted({row.study for row in found}):
            edits.discard_unneeded(connection, study)


def find_model(connection: Connection, store: object, name: str, which: str = "") -> Model:
    """Return a model to read it.

    Raises
    ------
    ModelNotFound
        If it does not exist.
    """
    return _found(connection, store, name, which, lock=False)


def lock_model(connection: Connection, store: object, name: str, which: str = "") -> Model:
    """Return a model that no other process changes until the end of the transaction.

    Raises
    ------
    ModelNotFound
        If it does not exist.
    """
    return _found(connection, store, name, which, lock=True)


def lock_or_create_model(connection: Connection, store: object, name: str) -> Model:
    """Return a model as `lock_model` does; create it if it does not exist."""
    insert = upserts.insert(connection, _MODELS)
    connection.execute(insert.on_conflict_do_nothing(), {"name": name, "created": time.time()})
    return lock_model(connection, store, name)


def _found(connection: Connection, store: object, name: str, which: str, *, lock: bool) -> Model:
    query = select(_MODELS.c.id).where(_MODELS.c.name == name)
    model_id = connection.execute(query.with_for_update() if lock else query).scalar()
    if model_id is None:
        raise not_found(connection, store, name, which)
    return Model(connection, store, int(model_id), name)


def recorded_artifact(
    connection: Connection, store: object, artifact: Artifact | None
) -> int | None:
    """Return the row id of an artifact, None for None.

    Raises
    ------
    RegistryError
        If it is not recorded.
    """
    if artifact is None:
        return None
    query = (
        select(schema.artifacts.c.id)
        .join(schema.runs)
        .where(schema.runs.c.uid == artifact.run, schema.artifacts.c.path == artifact.path)
    )
    found = connection.execute(query).scalar()
    if found is None:
        raise RegistryError(
            f"artifact {artifact.name!r} of run {artifact.run} is not recorded in "
            f"{store}; write it there first, in the batch of its study"
        )
    return int(found)


def check_recorded(connection: Connection, store: object, study: StudyInfo, run: Run) -> None:
    """Keep a study from being deleted until the end of the transaction.

    Raises
    ------
    RegistryError
        If the study does not have this run.
    """
    query = (
        select(schema.runs.c.id)
        .join(schema.studies, schema.studies.c.id == schema.runs.c.study_id)
        .where(
            schema.studies.c.uid == study.uid,
            schema.studies.c.deleted.is_(None),
            schema.runs.c.uid == run.uid,
        )
        .with_for_update(read=True, key_share=True, of=schema.studies)
    )
    if connection.execute(query).first() is None:
        raise RegistryError(
            f"run {run.uid} of study {study.name!r} is not recorded in {store}; "
            f"register it in the store that has it"
        )
