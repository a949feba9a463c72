"""The registry: model versions in the store's database, with their files as artifacts."""

from __future__ import annotations

import difflib
import re
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, delete, func, select, update

from tuner.errors import ModelInUse, ModelNotFound, RegistryError, UntrustedModel
from tuner.errors.boundary import public_methods
from tuner.records import (
    Artifact,
    Goal,
    ModelVersion,
    Run,
    StudyInfo,
    Trial,
    ValueEstimate,
    encode_params,
)
from tuner.registry.formats import load_files
from tuner.registry.load_failures import version_note
from tuner.registry.names import (
    CHAMPION,
    REFIT,
    as_ranges,
    parse_reference,
    validate_alias,
    validate_model_name,
)
from tuner.registry.protocol import ModelFormat
from tuner.registry.versions import beats, version_of, versions_query
from tuner.tracking import edits, schema, upserts
from tuner.tracking.queries import in_parts
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
        estimate: ValueEstimate | None = None,
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
            values = {
                "model_id": model_id,
                "version": self._next_version(connection, model_id),
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
                "estimate": None if estimate is None else estimate.to_json(),
            }
            insert = _VERSIONS.insert().values(values).returning(_VERSIONS.c.id)
            version_id = connection.execute(insert).scalar_one()
            if champion is None or beats(goal, value, champion):
                self._point(connection, model_id, CHAMPION, version_id)
            made = self._first(connection, _VERSIONS.c.id == version_id, name)
        assert made is not None
        return made

    def set_estimate(self, version: ModelVersion, estimate: ValueEstimate) -> ModelVersion:
        """Replace the estimate of a version, and return the version as it is then.

        Raises
        ------
        ModelNotFound
            If the version does not exist.
        """
        with self.store.writing() as connection:
            _, version_id = self._locked_version(connection, version.name, version.version)
            is_it = _VERSIONS.c.id == version_id
            connection.execute(update(_VERSIONS).where(is_it).values(estimate=estimate.to_json()))
            changed = self._first(connection, is_it, version.name)
        assert changed is not None
        return changed

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
            model_id, version_id = self._locked_version(connection, name, version)
            self._point(connection, model_id, alias, version_id)

    def delete_alias(self, name: str, alias: str, *, force: bool = False) -> None:
        """Delete an alias of a model; the version stays.

        Raises
        ------
        ModelNotFound
            If the model lacks this alias.
        ModelInUse
            If it is ``champion`` and `force` is False.
        """
        with self.store.writing() as connection:
            model_id = self._locked_model(connection, name, alias)
            if self._aliased(connection, name, alias) is None:
                raise self._not_found(connection, name, alias)
            if alias == CHAMPION and not force:
                raise _in_use(f"the alias {CHAMPION!r} of model {name!r}", name)
            which = _ALIASES.c.model_id == model_id, _ALIASES.c.alias == alias
            connection.execute(delete(_ALIASES).where(*which))

    def delete_version(self, name: str, version: int, *, force: bool = False) -> None:
        """Delete a version of a model and its aliases; its number is not given again.

        The next garbage collection frees the files that only it used.

        Raises
        ------
        ModelNotFound
            If the version does not exist.
        ModelInUse
            If it is the champion and `force` is False.
        """
        with self.store.writing() as connection:
            model_id, _ = self._locked_version(connection, name, version)
            champion = self._aliased(connection, name, CHAMPION)
            if champion is not None and champion.version == version and not force:
                raise _in_use(f"version {version} of model {name!r}", name)
            self._delete_versions(connection, model_id, version)
            removed = func.coalesce(_MODELS.c.removed, 0)
            connection.execute(
                update(_MODELS)
                .where(_MODELS.c.id == model_id, removed < version)
                .values(removed=version)
            )

    def delete_model(self, name: str, *, force: bool = False) -> None:
        """Delete a model with all its versions and aliases; its name becomes free.

        Raises
        ------
        ModelNotFound
            If the model does not exist.
        ModelInUse
            If it has a champion and `force` is False.
        """
        with self.store.writing() as connection:
            model_id = self._locked_model(connection, name)
            if not force and self._aliased(connection, name, CHAMPION) is not None:
                raise _in_use(f"model {name!r}", name)
            self._delete_versions(connection, model_id)
            connection.execute(delete(_MODELS).where(_MODELS.c.id == model_id))

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
            query = versions_query().where(_MODELS.c.name == name).order_by(_VERSIONS.c.version)
            rows = connection.execute(query).all()
            aliases = self._aliases(connection, name)
        return [version_of(row, aliases) for row in rows]

    # --- within a transaction -----------------------------------------------------------------

    def _model_id(self, connection: Connection, name: str) -> int:
        insert = upserts.insert(connection, _MODELS)
        connection.execute(insert.on_conflict_do_nothing(), {"name": name, "created": time.time()})
        # The lock serializes concurrent registrations, so that the numbers have no gaps.
        query = select(_MODELS.c.id).where(_MODELS.c.name == name).with_for_update()
        return int(connection.execute(query).scalar_one())

    def _next_version(self, connection: Connection, model_id: int) -> int:
        """Return the number of a new version, which no version of this model ever had."""
        latest = select(func.max(_VERSIONS.c.version)).where(_VERSIONS.c.model_id == model_id)
        removed = select(_MODELS.c.removed).where(_MODELS.c.id == model_id)
        return 1 + max(connection.execute(query).scalar() or 0 for query in (latest, removed))

    def _locked_model(self, connection: Connection, name: str, which: str = "") -> int:
        """Return the id of a model, which no other process changes until the end."""
        query = select(_MODELS.c.id).where(_MODELS.c.name == name).with_for_update()
        model_id = connection.execute(query).scalar()
        if model_id is None:
            raise self._not_found(connection, name, which)
        return int(model_id)

    def _locked_version(self, connection: Connection, name: str, version: int) -> tuple[int, int]:
        """Return the ids of a model, as `_locked_model` does, and of a version."""
        model_id = self._locked_model(connection, name, str(version))
        which = _VERSIONS.c.model_id == model_id, _VERSIONS.c.version == version
        version_id = connection.execute(select(_VERSIONS.c.id).where(*which)).scalar()
        if version_id is None:
            raise self._not_found(connection, name, str(version))
        return model_id, int(version_id)

    def _delete_versions(
        self, connection: Connection, model_id: int, version: int | None = None
    ) -> None:
        """Delete one version of a locked model, or all, and what only they kept."""
        which = [_VERSIONS.c.model_id == model_id]
        which += [] if version is None else [_VERSIONS.c.version == version]
        found = connection.execute(
            select(_VERSIONS.c.id, _VERSIONS.c.study, _VERSIONS.c.artifact_id).where(*which)
        ).all()
        ids = select(_VERSIONS.c.id).where(*which)
        connection.execute(delete(_ALIASES).where(_ALIASES.c.version_id.in_(ids)))
        connection.execute(delete(_VERSIONS).where(*which))
        artifacts = schema.artifacts
        still = select(_VERSIONS.c.id).where(_VERSIONS.c.artifact_id == artifacts.c.id).exists()
        for part in in_parts([row.artifact_id for row in found if row.artifact_id is not None]):
            fitted = artifacts.c.id.in_(part), artifacts.c.name == REFIT, ~still
            connection.execute(delete(artifacts).where(*fitted))
        for study in sorted({row.study for row in found}):
            edits.discard_unneeded(connection, study)

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
            .where(
                schema.studies.c.uid == study.uid,
                schema.studies.c.deleted.is_(None),
                schema.runs.c.uid == run.uid,
            )
            # Nobody deletes the study until the version is recorded.
            .with_for_update(read=True, key_share=True, of=schema.studies)
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
        row = connection.execute(versions_query().where(_MODELS.c.name == name, condition)).first()
        return None if row is None else version_of(row, self._aliases(connection, name))

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
        query = select(_VERSIONS.c.version).join(_MODELS).where(_MODELS.c.name == name)
        versions = sorted(connection.execute(query).scalars())
        aliases = sorted(a for found in self._aliases(connection, name).values() for a in found)
        numbers = f"the versions {as_ranges(versions)}" if versions else "no versions"
        named = f"the aliases {', '.join(map(repr, aliases))}" if aliases else "no aliases"
        return ModelNotFound(
            f"model {name!r} has no version or alias {which!r}; it has {numbers} and {named}"
        )


def _in_use(what: str, name: str) -> ModelInUse:
    return ModelInUse(
        f"{what} is not deleted, as {CHAMPION!r} is what load_model({name!r}) loads; point "
        f"{CHAMPION!r} to another version first, or write force=True (on the command line: --force)"
    )
