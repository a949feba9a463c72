"""The registry: model versions in the store's database, with their files as artifacts."""

from __future__ import annotations

import difflib
import math
import re
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Row, Select, and_, func, select

from tuner.errors import ModelNotFound, RegistryError, UntrustedModel
from tuner.errors.boundary import public_methods
from tuner.records import (
    Artifact,
    Direction,
    Goal,
    ModelVersion,
    Run,
    StudyInfo,
    Trial,
    decode_params,
    encode_params,
)
from tuner.registry.formats import load_files
from tuner.registry.names import CHAMPION, parse_reference, validate_alias, validate_model_name
from tuner.registry.protocol import ModelFormat
from tuner.registry.versions import version_note
from tuner.tracking import schema, upserts
from tuner.tracking.rows import number_or_null

if TYPE_CHECKING:
    from tuner.tracking.store import Store

_MODELS, _VERSIONS, _ALIASES = schema.models, schema.model_versions, schema.aliases

_VERSION_AFTER_COLON = re.compile(r"(.+):(\d+)")


@public_methods
class Registry:
    """Model versions with their lineage, numbered from 1 within a name.

    Parameters
    ----------
    store
        The store that holds the studies, runs and artifacts of the versions.
    """

    def __init__(self, store: Store) -> None:
        self.store = store

    # --- writing ------------------------------------------------------------------------------

    def register(
        self,
        name: str,
        *,
        study: StudyInfo,
        trial: Trial,
        run: Run,
        artifact: Artifact | None,
        goal: Goal,
        value: float,
    ) -> ModelVersion:
        """Register a run's model as the next version of `name`, at most once per run.

        The alias ``champion`` moves to the new version if the model had no champion, or if the
        new version is better than the champion on the same metric in the same direction. If the
        metric or the direction differs, the version's `note` states it.

        Raises
        ------
        ArgumentError
            If the model name is invalid.
        RegistryError
            If the study does not have this run, or the run does not have this artifact.
        """
        validate_model_name(name)
        with self.store.writing() as connection:
            self._check_recorded(connection, study, run)
            model_id = self._model_id(connection, name)
            known = self._first(connection, _VERSIONS.c.run == run.uid, name)
            if known is not None:
                return known
            champion = self._aliased(connection, name, CHAMPION)
            latest = connection.execute(
                select(func.max(_VERSIONS.c.version)).where(_VERSIONS.c.model_id == model_id)
            ).scalar()
            values = {
                "model_id": model_id,
                "version": (latest or 0) + 1,
                "study": study.uid,
                "trial": trial.number,
                "run": run.uid,
                "params": encode_params(trial.params),
                "metric": goal.metric,
                "direction": goal.direction.value,
                "value": number_or_null(value),
                "created": time.time(),
                "artifact_id": self._artifact_id(connection, artifact),
                "code": run.code,
                "environment": run.environment,
                "data": study.data,
            }
            insert = _VERSIONS.insert().values(values).returning(_VERSIONS.c.id)
            version_id = connection.execute(insert).scalar_one()
            if champion is None or _beats(goal, value, champion):
                self._point(connection, model_id, CHAMPION, version_id)
            made = self._first(connection, _VERSIONS.c.id == version_id, name)
        assert made is not None
        return made

    def set_alias(self, name: str, alias: str, version: int) -> None:
        """Point `alias` to this version of the model, also if it pointed to another one.

        Raises
        ------
        ModelNotFound
            If the version does not exist.
        ArgumentError
            If the alias is invalid.
        """
        validate_alias(alias)
        with self.store.writing() as connection:
            found = connection.execute(
                select(_VERSIONS.c.id, _VERSIONS.c.model_id)
                .join(_MODELS)
                .where(_MODELS.c.name == name, _VERSIONS.c.version == version)
            ).first()
            if found is None:
                raise self._not_found(connection, name, str(version))
            self._point(connection, found.model_id, alias, found.id)

    # --- reading ------------------------------------------------------------------------------

    def get(self, ref: str) -> ModelVersion:
        """Return the version that ``"name"``, ``"name@alias"`` or ``"name@3"`` refers to.

        Raises
        ------
        ModelNotFound
            If it does not exist; the message names close matches.
        """
        reference = parse_reference(ref)
        with self.store.reading() as connection:
            if reference.version is not None:
                condition = _VERSIONS.c.version == reference.version
                found = self._first(connection, condition, reference.name)
            else:
                assert reference.alias is not None
                found = self._aliased(connection, reference.name, reference.alias)
            if found is None:
                which = reference.alias or str(reference.version)
                raise self._not_found(connection, reference.name, which)
        return found

    def load(
        self,
        ref: str,
        *,
        format: ModelFormat | None = None,
        allow_pickle: bool = False,
        trusted: Sequence[str] = (),
    ) -> Any:
        """Load the model, after its checksum is verified.

        For a version that holds only a configuration, return its params.

        Parameters
        ----------
        ref
            See `get`.
        format
            The custom format that the model was saved in; None means the built-in formats.
        allow_pickle, trusted
            See `tuner.load_model`.

        Raises
        ------
        ModelNotFound, ChecksumMismatch, UntrustedModel, RegistryError
            See `tuner.load_model`.
        """
        version = self.get(ref)
        if version.artifact is None:
            return version.params
        kept = version.artifact.format
        if format is not None and format.name != kept:
            raise RegistryError(
                f"model {ref!r} was saved in the format {kept!r}, format= loads {format.name!r}"
            )
        files = self.store.read_artifact(version.artifact)
        try:
            return load_files(format or kept, files, allow_pickle=allow_pickle, trusted=trusted)
        except RegistryError as error:
            only_refused = isinstance(error, UntrustedModel) and error.importable
            if only_refused or not version.environment:
                raise
            recorded = self.store.get_environment(version.environment)
            note = version_note(recorded, kept, str(error))
            if note:
                error.args = (f"model {ref!r}: {error}; {note}",)
            raise

    def find_version(self, name: str, run: str) -> ModelVersion | None:
        """Return the version of `name` that this run was registered as, or None."""
        with self.store.reading() as connection:
            return self._first(connection, _VERSIONS.c.run == run, name)

    def models(self) -> list[str]:
        """Return the names of all models, in order."""
        with self.store.reading() as connection:
            return list(
                connection.execute(select(_MODELS.c.name).order_by(_MODELS.c.name)).scalars()
            )

    def versions(self, name: str) -> list[ModelVersion]:
        """Return all versions of a model, oldest first; empty if the model does not exist."""
        with self.store.reading() as connection:
            query = _query().where(_MODELS.c.name == name).order_by(_VERSIONS.c.version)
            rows = connection.execute(query).all()
            aliases = self._aliases(connection, name)
        return [_version_of(row, aliases) for row in rows]

    # --- within a transaction -----------------------------------------------------------------

    def _model_id(self, connection: Connection, name: str) -> int:
        insert = upserts.insert(connection, _MODELS)
        connection.execute(insert.on_conflict_do_nothing(), {"name": name, "created": time.time()})
        # The lock serializes concurrent registrations, so that the numbers have no gaps.
        query = select(_MODELS.c.id).where(_MODELS.c.name == name).with_for_update()
        return int(connection.execute(query).scalar_one())

    def _artifact_id(self, connection: Connection, artifact: Artifact | None) -> int | None:
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
                f"{self.store}; write it there first, in the batch of its study"
            )
        return int(found)

    def _check_recorded(self, connection: Connection, study: StudyInfo, run: Run) -> None:
        query = (
            select(schema.runs.c.id)
            .join(schema.studies, schema.studies.c.id == schema.runs.c.study_id)
            .where(schema.studies.c.uid == study.uid, schema.runs.c.uid == run.uid)
        )
        if connection.execute(query).first() is None:
            raise RegistryError(
                f"run {run.uid} of study {study.name!r} is not recorded in {self.store}; "
                f"register it in the store that has it"
            )

    def _point(self, connection: Connection, model_id: int, alias: str, version_id: int) -> None:
        values = {"model_id": model_id, "alias": alias, "version_id": version_id}
        connection.execute(upserts.replacing(connection, _ALIASES), values)

    def _first(self, connection: Connection, condition: Any, name: str) -> ModelVersion | None:
        row = connection.execute(_query().where(_MODELS.c.name == name, condition)).first()
        return None if row is None else _version_of(row, self._aliases(connection, name))

    def _aliased(self, connection: Connection, name: str, alias: str) -> ModelVersion | None:
        meant = (
            select(_ALIASES.c.version_id)
            .join(_MODELS)
            .where(_MODELS.c.name == name, _ALIASES.c.alias == alias)
        )
        return self._first(connection, _VERSIONS.c.id.in_(meant), name)

    def _aliases(self, connection: Connection, name: str) -> dict[int, tuple[str, ...]]:
        """Return the aliases of each version of a model, keyed by the version's row id."""
        query = (
            select(_ALIASES.c.version_id, _ALIASES.c.alias)
            .join(_MODELS)
            .where(_MODELS.c.name == name)
        )
        aliases: dict[int, tuple[str, ...]] = {}
        for version_id, alias in sorted(tuple(row) for row in connection.execute(query)):
            aliases[version_id] = (*aliases.get(version_id, ()), alias)
        return aliases

    def _not_found(self, connection: Connection, name: str, which: str) -> ModelNotFound:
        """Return the error for a model, version or alias that does not exist."""
        names = sorted(connection.execute(select(_MODELS.c.name)).scalars())
        if name not in names:
            close = difflib.get_close_matches(name, names) or names[:5]
            known = f"it has {', '.join(map(repr, close))}" if close else "it has no models"
            if (meant := _VERSION_AFTER_COLON.fullmatch(name)) and meant[1] in names:
                known += f"; a version is written '{meant[1]}@{meant[2]}'"
            return ModelNotFound(f"store {self.store} has no model {name!r}; {known}")
        query = select(func.max(_VERSIONS.c.version)).join(_MODELS).where(_MODELS.c.name == name)
        latest = connection.execute(query).scalar()
        aliases = sorted(a for found in self._aliases(connection, name).values() for a in found)
        return ModelNotFound(
            f"model {name!r} has no version or alias {which!r}; it has the versions 1 to {latest} "
            f"and the aliases {', '.join(map(repr, aliases))}"
        )


def _query() -> Select[Any]:
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


def _version_of(row: Row[Any], aliases: dict[int, tuple[str, ...]]) -> ModelVersion:
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


def _beats(goal: Goal, value: float, champion: ModelVersion) -> bool:
    if champion.goal != goal or math.isnan(value):
        return False
    return math.isnan(champion.value) or goal.direction.better(value, champion.value)
