"""Load and list the registered models of a store."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tuner.errors import StoreCorrupt
from tuner.errors.boundary import public
from tuner.records import ModelVersion
from tuner.records.lists import RecordList
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

    Returns
    -------
    object
        The model, or the params if the version holds only a configuration.

    Raises
    ------
    ModelNotFound, UntrustedModel, ChecksumMismatch
    """
    return Registry(open_store(store)).load(
        ref, format=format, allow_pickle=allow_pickle, trusted=trusted
    )


@public(data=StoreCorrupt)
def list_models(*, store: str | Path | None = None) -> list[ModelVersion]:
    """Return every registered model version, by name and version."""
    registry = Registry(open_store(store))
    names = registry.models()
    return RecordList(version for name in names for version in registry.versions(name))
