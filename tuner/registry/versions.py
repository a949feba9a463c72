"""Versions of models: their names, aliases and references, and their rows in the store."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, Select, and_, select

from tuner.errors import ArgumentError
from tuner.records import Artifact, Direction, Goal, ModelVersion, decode_params
from tuner.records.bounds import LONGEST_TITLE, is_title
from tuner.tracking import schema

CHAMPION = "champion"
"""The alias of the best version so far."""

REFIT = "refit"
"""The artifact of a model that was fitted to be registered; it is deleted with its version."""

_ALIAS = re.compile(r"[^\W_][\w. -]{0,199}")
_DIGITS = 9
"""Digits of the largest version; a database counts to 2³¹."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A model's name, with the version or the alias that the reference names."""

    name: str
    version: int | None = None
    alias: str | None = None


def parse_reference(ref: Any) -> Reference:
    """Parse ``"name"``, ``"name@alias"`` or ``"name@3"``.

    A name alone refers to its champion.

    Raises
    ------
    ArgumentError
        If `ref` has another form.

    Examples
    --------
    >>> parse_reference("digits@3")
    Reference(name='digits', version=3, alias=None)
    >>> parse_reference("digits").alias
    'champion'
    """
    name, at, which = ref.partition("@") if isinstance(ref, str) else ("", "", "")
    if not name or (at and not which):
        raise ArgumentError(f"model {ref!r}: write 'name', 'name@alias' or 'name@3'")
    if which.isdecimal() and len(which) <= _DIGITS:
        return Reference(name, version=int(which))
    return Reference(name, alias=which or CHAMPION)


def validate_model_name(name: Any) -> str:
    """Return `name` if it is a valid model name.

    Every valid study name is valid here, because the winner of a study is registered under the
    study's name.

    Raises
    ------
    ArgumentError
        If the name is invalid; see `tuner.records.bounds.is_title`.
    """
    if not isinstance(name, str) or not name.strip():
        raise ArgumentError(f"model name {name!r}: write a non-empty string")
    if not is_title(name):
        raise ArgumentError(
            f"model name {name[:LONGEST_TITLE]!r}: a name has at most {LONGEST_TITLE} characters, "
            f"and no '/', '@', line break or half of a surrogate pair; an alias or a version is "
            f"written on loading: 'name@champion', 'name@3'"
        )
    return name


def validate_alias(alias: Any) -> str:
    """Return `alias` if it is a valid alias of a version.

    Raises
    ------
    ArgumentError
        If it is not 1 to 200 letters, digits, ``. _ -`` or spaces that start with a letter or a
        digit, or if it is a number, which would be read as a version.
    """
    if not isinstance(alias, str) or not _ALIAS.fullmatch(alias) or alias.isdecimal():
        raise ArgumentError(
            f"alias {alias!r}: write letters, digits, '.', '_' or '-', not a number alone, "
            f"such as 'staging'"
        )
    return alias


def as_ranges(numbers: Sequence[int]) -> str:
    """Return ascending numbers as text.

    >>> as_ranges([1, 2, 3, 5, 8, 9])
    '1 to 3, 5, 8 to 9'
    """
    ranges: list[list[int]] = []
    for number in numbers:
        if ranges and number == ranges[-1][-1] + 1:
            ranges[-1].append(number)
        else:
            ranges.append([number])
    if len(ranges) == 1:
        return f"{numbers[0]} to {numbers[-1]}"
    return ", ".join(f"{r[0]} to {r[-1]}" if len(r) > 1 else str(r[0]) for r in ranges)


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
