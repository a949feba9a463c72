"""The registry: model versions in the store's database, with their files as artifacts."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from tuner.errors import ArgumentError, RegistryError, UntrustedModel
from tuner.errors.boundary import public_methods
from tuner.errors.credentials import hide_exact
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
from tuner.records.bounds import MAX_ANNOTATIONS
from tuner.registry import promotion
from tuner.registry.aliases import act_of, acting_user, in_use, read_again
from tuner.registry.changes import (
    Model,
    check_recorded,
    lock_model,
    lock_or_create_model,
    recorded_artifact,
)
from tuner.registry.checked_model import CheckedModel
from tuner.registry.formats import load_files
from tuner.registry.load_failures import version_note
from tuner.registry.monitoring import Monitoring
from tuner.registry.names import CHAMPION, Reference, parse_reference, validate_model_name
from tuner.registry.protocol import ModelFormat
from tuner.registry.versions import all_versions, find_version
from tuner.signatures import Signature
from tuner.tracking import schema
from tuner.tracking.annotation_values import check_tags, stored
from tuner.tracking.rows import number_or_null

if TYPE_CHECKING:
    import pandas as pd

_MODELS, _VERSIONS = schema.models, schema.model_versions


@public_methods
class Registry(Monitoring):
    """Model versions with their lineage, numbered from 1 within a name.

    A reference is ``"name"`` for the champion, ``"name@alias"`` or ``"name@3"``. Every change of an
    alias is kept in the history of the model, with the user `by` (None for the user of this
    process) and the reason `why`.

    Parameters
    ----------
    store
        The store of the models: a folder or a URL as for `optimize`, an open store, or None for the
        default store.

    Examples
    --------
    >>> import tempfile, tuner
    >>> folder = tempfile.mkdtemp()
    >>> for value in (0.8, 0.9, 0.7):
    ...     study = tuner.optimize(
    ...         lambda params: value, {"x": tuner.Int(1, 9)}, direction="maximize", n_trials=1,
    ...         backend="serial", study=f"s{value}", register="small", store=folder, progress=False,
    ...     )
    >>> registry = Registry(folder)
    >>> [version.aliases for version in registry.versions("small")]
    [(), ('champion',), ('challenger',)]
    >>> registry.get("small@challenger").note
    "not champion: its value 0.7 is not better than the champion's (version 2) 0.9"
    >>> registry.rollback("small").version
    1
    """

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
        signature: Signature | None = None,
        by: str | None = None,
    ) -> ModelVersion:
        """Register a run's model as the next version of `name`, at most once per run.

        The rules of the model decide whether the alias ``champion`` moves to the new version; see
        `rules`. If it does not, the version becomes ``challenger``, and its `note` has the reason.
        Without `signature`, the version has the signature that its model was logged with.

        Raises
        ------
        ArgumentError
            If the model name is invalid.
        RegistryError
            If the study does not have this run, or the run does not have this artifact.
        """
        validate_model_name(name)
        with self.store.writing() as connection:
            check_recorded(connection, self.store, study, run)
            model = lock_or_create_model(connection, self.store, name)
            known = find_version(connection, _VERSIONS.c.run == run.uid, name)
            if known is not None:
                return known
            number = model.next_version()
            values = {
                "model_id": model.id,
                "version": number,
                "study": study.uid,
                "trial": trial.number,
                "run": run.uid,
                "params": encode_params(trial.params),
                "metric": goal.metric,
                "direction": goal.direction.value,
                "value": number_or_null(value),
                "created": time.time(),
                "artifact_id": recorded_artifact(connection, self.store, artifact),
                "code": run.code,
                "environment": run.environment,
                "data": study.data,
                "estimate": None if estimate is None else estimate.to_json(),
                "signature": None if signature is None else signature.to_dict(),
            }
            connection.execute(_VERSIONS.insert(), values)
            return _ruled(model, number, acting_user(by), is_new=True)

    def set_estimate(
        self, version: ModelVersion, estimate: ValueEstimate, *, by: str | None = None
    ) -> ModelVersion:
        """Replace the estimate of a version, apply the rules again, and return the version.

        An alias that the version had before does not return to it.

        Raises
        ------
        ModelNotFound
            If the version does not exist.
        """
        with self._locked(Reference(version.name, version.version)) as (model, known):
            model.set_values(known.version, estimate=estimate.to_json())
            return _ruled(model, known.version, acting_user(by), is_new=False)

    def set_signature(self, ref: str, signature: Signature) -> ModelVersion:
        """Replace the signature of a version, and return the version.

        Raises
        ------
        ModelNotFound
            If the version does not exist.
        """
        with self._locked(parse_reference(ref)) as (model, version):
            model.set_values(version.version, signature=signature.to_dict())
            return read_again(model, version.version)

    def set_tags(self, ref: str, changes: Mapping[str, str | None]) -> ModelVersion:
        """Set tags of a version, remove those that are None, and return the version.

        Raises
        ------
        ModelNotFound
            If the version does not exist.
        ArgumentError
            If a name or a value is not a string, or is too long.
        """
        check_tags(changes)
        with self._locked(parse_reference(ref)) as (model, version):
            together = {**version.tags, **{k: v and hide_exact(v) for k, v in changes.items()}}
            tags = {name: value for name, value in together.items() if value is not None}
            model.set_values(version.version, tags=stored(tags, "tags") or None)
            return read_again(model, version.version)

    def set_description(self, ref: str, text: str) -> ModelVersion:
        """Replace the description of a version, "" for none, and return the version.

        Raises
        ------
        ModelNotFound
            If the version does not exist.
        ArgumentError
            If it is not a text, or has more than a million characters.
        """
        if not isinstance(text, str) or len(text) > MAX_ANNOTATIONS:
            raise ArgumentError(
                f"description={text!r:.80}: write a text of at most {MAX_ANNOTATIONS:,} characters"
            )
        with self._locked(parse_reference(ref)) as (model, version):
            model.set_values(version.version, description=hide_exact(text) or None)
            return read_again(model, version.version)

    # --- deletion -----------------------------------------------------------------------------

    def delete_version(
        self, name: str, version: int, *, force: bool = False, by: str | None = None
    ) -> None:
        """Delete a version of a model and its aliases; its number is not given again.

        The next garbage collection frees the files that only it used.

        Raises
        ------
        ModelNotFound
            If the version does not exist.
        ModelInUse
            If it is the champion and `force` is False.
        """
        act = act_of("delete", by, f"version {version} was deleted")
        with self._locked(Reference(name, version)) as (model, found):
            if CHAMPION in found.aliases and not force:
                raise in_use(f"version {version} of model {name!r}", name)
            model.delete_version(found, act)

    def delete_model(self, name: str, *, force: bool = False) -> None:
        """Delete a model with all its versions, aliases, rules and history; its name becomes free.

        Raises
        ------
        ModelNotFound
            If the model does not exist.
        ModelInUse
            If it has a champion and `force` is False.
        """
        with self.store.writing() as connection:
            model = lock_model(connection, self.store, name)
            if not force and model.holder(CHAMPION) is not None:
                raise in_use(f"model {name!r}", name)
            model.delete()

    # --- reading ------------------------------------------------------------------------------

    def load(
        self,
        ref: str,
        *,
        format: ModelFormat | None = None,
        allow_pickle: bool = False,
        trusted: Sequence[str] = (),
        validate: bool = False,
    ) -> Any:
        """Load the model, after its checksum is verified.

        For a version that holds only a configuration, return its params.

        Parameters
        ----------
        ref
            See `get`.
        format
            The custom format that the model was saved in; None means the built-in formats.
        allow_pickle, trusted, validate
            See `tuner.load_model`.

        Raises
        ------
        ModelNotFound, ChecksumMismatch, UntrustedModel, RegistryError
            See `tuner.load_model`.
        """
        version = self.get(ref)
        if validate:
            if version.signature is None:
                raise _no_signature(version)
            model = self._load(version, ref, format, allow_pickle, trusted)
            return CheckedModel(model, version.signature)
        return self._load(version, ref, format, allow_pickle, trusted)

    def _load(
        self,
        version: ModelVersion,
        ref: str,
        format: ModelFormat | None,
        allow_pickle: bool,
        trusted: Sequence[str],
    ) -> Any:
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
            return find_version(connection, _VERSIONS.c.run == run, name)

    def served_samples(
        self,
        name: str,
        *,
        since: datetime | timedelta | None = None,
        version: int | None = None,
    ) -> pd.DataFrame:
        """Return sampled rows that served versions of a model were given, with their predictions.

        ``tuner models serve`` writes them. The columns are those of the inputs, called x0, x1, ...
        for an array, and ``prediction``, or ``prediction_0``, ``prediction_1``, ... if a row has
        several. The index has the version, and the time at which the sample was written.

        Parameters
        ----------
        name
            Name of the model.
        since
            The earliest time, or a timedelta before now. None takes all that are kept.
        version
            Number of one version. None takes all versions.

        Raises
        ------
        ModelNotFound
            If the model does not exist.
        """
        from tuner.registry.served import read_samples

        return read_samples(self.store, name, since, version)

    def models(self) -> list[str]:
        """Return the names of all models, in order."""
        with self.store.reading() as connection:
            return list(
                connection.execute(select(_MODELS.c.name).order_by(_MODELS.c.name)).scalars()
            )

    def versions(self, name: str) -> list[ModelVersion]:
        """Return all versions of a model, oldest first; empty if the model does not exist."""
        with self.store.reading() as connection:
            return all_versions(connection, name)


def _no_signature(version: ModelVersion) -> RegistryError:
    ref = f"{version.name}@{version.version}"
    return RegistryError(
        f"model {ref!r} has no signature, so its inputs cannot be validated; give it one with "
        f"Registry(store).set_signature({ref!r}, tuner.Signature.infer(rows)), or log the model "
        f"with trial.log_model(model, example=rows)"
    )


def _ruled(model: Model, version: int, who: str, *, is_new: bool) -> ModelVersion:
    """Apply the rules to a version, and return it as it is then."""
    promotion.apply_rules(model, read_again(model, version), who, is_new=is_new)
    return read_again(model, version)
