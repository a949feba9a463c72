"""Model versions in the rows of the store."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Row, Select, select

from tuner.errors import ModelNotFound
from tuner.records import (
    Artifact,
    Direction,
    Goal,
    ModelVersion,
    ValueEstimate,
    decode_params,
)
from tuner.registry.names import as_ranges
from tuner.signatures import Signature
from tuner.tracking import schema

_MODELS, _VERSIONS, _ALIASES = schema.models, schema.model_versions, schema.aliases

_VERSION_AFTER_COLON = re.compile(r"(.+):(\d+)")


def versions_query() -> Select[Any]:
    """Return the model versions with their artifacts and studies."""
    artifact = schema.artifacts
    return (
        select(
            _VERSIONS,
            _MODELS.c.name,
            schema.studies.c.name.label("study_name"),
            artifact.c.name.label("artifact_name"),
            artifact.c.path,
            artifact.c.sha256,
            artifact.c.size,
            artifact.c.kind,
            artifact.c.format,
            artifact.c.signature.label("logged_signature"),
        )
        .join(_MODELS, _MODELS.c.id == _VERSIONS.c.model_id)
        .join(schema.studies, schema.studies.c.uid == _VERSIONS.c.study)
        .outerjoin(artifact, artifact.c.id == _VERSIONS.c.artifact_id)
    )


def version_of(row: Row[Any], aliases: Mapping[int, tuple[str, ...]]) -> ModelVersion:
    """Return the model version of a row of `versions_query`, with aliases by row id."""
    logged = None if row.logged_signature is None else Signature.from_dict(row.logged_signature)
    artifact = None
    if row.artifact_id is not None:
        artifact = Artifact(
            row.artifact_name,
            row.run,
            row.path,
            row.sha256,
            row.size,
            row.kind,
            row.format,
            logged,
        )
    return ModelVersion(
        name=row.name,
        version=row.version,
        study=row.study_name,
        trial=row.trial,
        run=row.run,
        params=decode_params(row.params),
        goal=Goal(row.metric, Direction(row.direction)),
        value=float("nan") if row.value is None else row.value,
        created=row.created,
        artifact=artifact,
        code=row.code,
        environment=row.environment,
        data=row.data,
        aliases=aliases.get(row.id, ()),
        note=row.note or "",
        estimate=None if row.estimate is None else ValueEstimate.from_json(row.estimate),
        tags=dict(row.tags or {}),
        description=row.description or "",
        signature=logged if row.signature is None else Signature.from_dict(row.signature),
    )


def find_version(connection: Connection, condition: Any, name: str) -> ModelVersion | None:
    """Return the version of a model that meets a condition on its row, or None."""
    row = connection.execute(versions_query().where(_MODELS.c.name == name, condition)).first()
    return None if row is None else version_of(row, aliases_of(connection, name))


def find_alias(connection: Connection, name: str, alias: str) -> ModelVersion | None:
    """Return the version of a model that has an alias, or None."""
    meant = (
        select(_ALIASES.c.version_id)
        .join(_MODELS)
        .where(_MODELS.c.name == name, _ALIASES.c.alias == alias)
    )
    return find_version(connection, _VERSIONS.c.id.in_(meant), name)


def all_versions(connection: Connection, name: str) -> list[ModelVersion]:
    """Return the versions of a model, oldest first."""
    query = versions_query().where(_MODELS.c.name == name).order_by(_VERSIONS.c.version)
    rows = connection.execute(query).all()
    aliases = aliases_of(connection, name)
    return [version_of(row, aliases) for row in rows]


def aliases_of(connection: Connection, name: str) -> dict[int, tuple[str, ...]]:
    """Return the aliases of each version of a model, keyed by the version's row id."""
    query = (
        select(_ALIASES.c.version_id, _ALIASES.c.alias).join(_MODELS).where(_MODELS.c.name == name)
    )
    aliases: dict[int, tuple[str, ...]] = {}
    for version_id, alias in sorted(tuple(row) for row in connection.execute(query)):
        aliases[version_id] = (*aliases.get(version_id, ()), alias)
    return aliases


def not_found(connection: Connection, store: object, name: str, which: str) -> ModelNotFound:
    """Return the error for a model, version or alias that does not exist."""
    names = sorted(connection.execute(select(_MODELS.c.name)).scalars())
    if name not in names:
        close = difflib.get_close_matches(name, names) or names[:5]
        known = f"it has {', '.join(map(repr, close))}" if close else "it has no models"
        if (meant := _VERSION_AFTER_COLON.fullmatch(name)) and meant[1] in names:
            known += f"; a version is written '{meant[1]}@{meant[2]}'"
        return ModelNotFound(f"store {store} has no model {name!r}; {known}")
    query = select(_VERSIONS.c.version).join(_MODELS).where(_MODELS.c.name == name)
    versions = sorted(connection.execute(query).scalars())
    aliases = sorted(a for found in aliases_of(connection, name).values() for a in found)
    numbers = f"the versions {as_ranges(versions)}" if versions else "no versions"
    named = f"the aliases {', '.join(map(repr, aliases))}" if aliases else "no aliases"
    return ModelNotFound(
        f"model {name!r} has no version or alias {which!r}; it has {numbers} and {named}"
    )
