"""Load, list and delete the registered models of a store, and set their aliases."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tuner.errors import ArgumentError, StoreCorrupt
from tuner.errors.boundary import public
from tuner.records import ModelVersion
from tuner.records.lists import RecordList
from tuner.registry.names import parse_reference
from tuner.registry.protocol import ModelFormat
from tuner.registry.registry import Registry
from tuner.tracking import open_store


@public()
def load_model(
    ref: str,
    *,
    store: str | Path | None = None,
    format: ModelFormat | None = None,
    allow_pickle: bool = False,
    trusted: Sequence[str] = (),
    validate: bool = False,
) -> Any:
    """Load a registered model after verifying its checksum; code from the model is not run.

    Parameters
    ----------
    ref
        ``"name"`` (its champion), ``"name@champion"`` or another alias, ``"name@3"`` for a version.
    store
        As for `optimize`.
    format
        The user-defined format that the model was saved in.
    allow_pickle
        Whether to load a pickled model, which can run any code.
    trusted
        Names of types to allow in addition to those that tuner and the operator allow.
    validate
        Whether the methods of the model, such as ``predict``, check their rows by the signature of
        the version. They then raise a `tuner.errors.SignatureError` for rows that do not match.

    Returns
    -------
    object
        The model, or the params if the version holds only a configuration.

    Raises
    ------
    ModelNotFound, UntrustedModel, ChecksumMismatch
        If the version does not exist, or its files are not safe or not the recorded ones.
    RegistryError
        If `validate` is True and the version lacks a signature.
    """
    return Registry(open_store(store)).load(
        ref, format=format, allow_pickle=allow_pickle, trusted=trusted, validate=validate
    )


@public(data=StoreCorrupt)
def list_models(*, store: str | Path | None = None) -> list[ModelVersion]:
    """Return every registered model version, by name and version."""
    registry = Registry(open_store(store))
    names = registry.models()
    return RecordList(version for name in names for version in registry.versions(name))


@public()
def delete_model(ref: str, *, force: bool = False, store: str | Path | None = None) -> None:
    """Delete a version of a model, or the whole model.

    The study and the trial stay. The next garbage collection (``tuner gc``) frees the files that
    only the version used. The number of a deleted version is not given to another version.

    Parameters
    ----------
    ref
        ``"name@3"`` for a version, ``"name"`` for the model with all versions and aliases.
    force
        Whether to delete it even if it is, or contains, the champion.
    store
        As for `optimize`.

    Raises
    ------
    ModelNotFound
        If it does not exist.
    ModelInUse
        If the alias ``champion`` points to it and `force` is False.
    ArgumentError
        If `ref` names an alias.

    Examples
    --------
    >>> import tempfile, tuner
    >>> folder = tempfile.mkdtemp()
    >>> study = tuner.optimize(
    ...     lambda params: params["x"], {"x": tuner.Int(1, 9)}, n_trials=2, backend="serial",
    ...     register="small", store=folder, progress=False,
    ... )
    >>> tuner.delete_model("small@1", force=True, store=folder)
    >>> tuner.list_models(store=folder)
    []
    """
    registry = Registry(open_store(store))
    name, version, alias = _parts(ref)
    if alias is not None:
        raise ArgumentError(
            f"delete_model({ref!r}): write a version such as '{name}@3', or "
            f"delete_alias({ref!r}) to delete the alias"
        )
    if version is None:
        registry.delete_model(name, force=force)
    else:
        registry.delete_version(name, version, force=force)


@public()
def set_alias(
    ref: str,
    alias: str,
    *,
    force: bool = False,
    by: str | None = None,
    why: str = "",
    store: str | Path | None = None,
) -> None:
    """Point an alias of a model to a version, also if it pointed to another one.

    A rule that was set for the alias must allow it; see `tuner.registry.Registry.set_rules`.

    Parameters
    ----------
    ref
        The version: ``"name@3"``, or ``"name@alias"`` for the version of another alias.
    alias
        The alias, such as ``"staging"``.
    force
        Whether to move the alias even if its rule refuses.
    by, why
        The acting user, None for the user of this process, and the reason; the history of the model
        keeps them.
    store
        As for `optimize`.

    Raises
    ------
    ModelNotFound
        If the version does not exist.
    PromotionRefused
        If a rule was set for the alias, the version does not meet it and `force` is False.
    ArgumentError
        If the alias is invalid.
    """
    registry = Registry(open_store(store))
    version = registry.get(ref)
    registry.set_alias(version.name, alias, version.version, force=force, by=by, why=why)


@public()
def delete_alias(
    ref: str,
    *,
    force: bool = False,
    by: str | None = None,
    why: str = "",
    store: str | Path | None = None,
) -> None:
    """Delete an alias of a model; the version stays.

    Parameters
    ----------
    ref
        Such as ``"name@staging"``.
    force
        Whether to delete even ``"name@champion"``.
    by, why
        As for `set_alias`.
    store
        As for `optimize`.

    Raises
    ------
    ModelNotFound
        If the model lacks this alias.
    ModelInUse
        If the alias is ``champion`` and `force` is False.
    ArgumentError
        If `ref` names no alias.
    """
    name, _, alias = _parts(ref)
    if alias is None:
        raise ArgumentError(f"delete_alias({ref!r}): write the alias, such as '{name}@staging'")
    Registry(open_store(store)).delete_alias(name, alias, force=force, by=by, why=why)


def _parts(ref: str) -> tuple[str, int | None, str | None]:
    """Return the model, the version and the alias of a reference, None if it does not name one."""
    reference = parse_reference(ref)
    return reference.name, reference.version, reference.alias if "@" in ref else None
