"""Rows of model versions in the store, and their comparison with the champion."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Row, Select, and_, select

from tuner.records import (
    Artifact,
    Direction,
    Goal,
    ModelVersion,
    ValueEstimate,
    decode_params,
)
from tuner.registry.names import CHAMPION
from tuner.tracking import schema

_MODELS, _VERSIONS, _ALIASES = schema.models, schema.model_versions, schema.aliases


def versions_query() -> Select[Any]:
    """Return the model versions with their artifacts, studies and champions."""
    artifact, champion, alias = schema.artifacts, _VERSIONS.alias(), _ALIASES.alias()
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
            champion.c.version.label("champion"),
            champion.c.metric.label("champion_metric"),
            champion.c.direction.label("champion_direction"),
        )
        .join(_MODELS, _MODELS.c.id == _VERSIONS.c.model_id)
        .join(schema.studies, schema.studies.c.uid == _VERSIONS.c.study)
        .outerjoin(artifact, artifact.c.id == _VERSIONS.c.artifact_id)
        .outerjoin(alias, and_(alias.c.model_id == _MODELS.c.id, alias.c.alias == CHAMPION))
        .outerjoin(champion, champion.c.id == alias.c.version_id)
    )


def version_of(row: Row[Any], aliases: Mapping[int, tuple[str, ...]]) -> ModelVersion:
    """Return the model version of a row of `versions_query`, with aliases by row id."""
    artifact = None
    if row.artifact_id is not None:
        artifact = Artifact(
            row.artifact_name, row.run, row.path, row.sha256, row.size, row.kind, row.format
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
        note=_note(row),
        estimate=None if row.estimate is None else ValueEstimate.from_json(row.estimate),
    )


def _note(row: Row[Any]) -> str:
    """Return a note if a version and its champion have different goals, else an empty text."""
    other = (row.champion_metric, row.champion_direction)
    if row.champion is None or other == (row.metric, row.direction):
        return ""
    return (
        f"its goal is to {row.direction} {row.metric!r}, and the champion's (version "
        f"{row.champion}) to {row.champion_direction} {row.champion_metric!r}: they cannot be "
        f"compared, so {CHAMPION!r} moves by Registry.set_alias only"
    )


def beats(goal: Goal, value: float, champion: ModelVersion) -> bool:
    """Return whether a value is better than the champion's on the same goal."""
    if champion.goal != goal or math.isnan(value):
        return False
    return math.isnan(champion.value) or goal.direction.better(value, champion.value)
