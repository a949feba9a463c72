"""Which format keeps a model, and models as the files of an artifact."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tuner.errors import ArgumentError, RegistryError
from tuner.records import Upload
from tuner.registry.json_format import JsonFormat
from tuner.registry.pickle_format import PickleFormat
from tuner.registry.protocol import ModelFormat
from tuner.registry.skops_format import SkopsFormat
from tuner.tracking.artifacts import check_paths


def known_formats(
    *, allow_pickle: bool = False, trusted: Iterable[str] = ()
) -> dict[str, ModelFormat]:
    """Return the formats by name, those that execute nothing first."""
    formats: list[ModelFormat] = [SkopsFormat(trusted), JsonFormat(), PickleFormat(allow_pickle)]
    return {f.name: f for f in formats}


def save_model(
    model: Any, *, format: str | ModelFormat | None = None, allow_pickle: bool = False
) -> tuple[str, dict[str, bytes]]:
    """Return the name of the format that kept `model`, and its files by relative path.

    Parameters
    ----------
    model
        What to keep.
    format
        A format or its name; None takes the first that accepts the model.
    allow_pickle
        Whether a pickle may be written.

    Raises
    ------
    RegistryError
        If no allowed format accepts the model, or it cannot be written.
    ArgumentError
        If there is no format of that name.
    """
    chosen = _chosen(model, format, allow_pickle)
    with tempfile.TemporaryDirectory(prefix="tuner-model-") as folder:
        chosen.save(model, Path(folder))
        return chosen.name, {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in sorted(Path(folder).rglob("*"))
            if path.is_file()
        }


def load_files(
    format: str | ModelFormat,
    files: Mapping[str, bytes],
    *,
    allow_pickle: bool = False,
    trusted: Iterable[str] = (),
) -> Any:
    """Return the model that `save_model` made these files of.

    Raises
    ------
    UntrustedModel
        If that would need types or code that nobody allowed.
    RegistryError
        If there is no format of that name, or the files are not what it writes.
    ArgumentError
        If a file's path leaves its folder, or `trusted` is no list of names.
    """
    if isinstance(format, str):
        formats = known_formats(allow_pickle=allow_pickle, trusted=trusted)
        if format not in formats:
            raise RegistryError(
                f"this model was kept in the format {format!r}; tuner has {', '.join(formats)}, so "
                f"write Registry.load(..., format=...) with the object that saved it"
            )
        format = formats[format]
    check_paths(Upload("model", dict(files)))
    with tempfile.TemporaryDirectory(prefix="tuner-model-") as folder:
        for name, content in files.items():
            path = Path(folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return format.load(Path(folder))


def _chosen(model: Any, format: str | ModelFormat | None, allow_pickle: bool) -> ModelFormat:
    formats = known_formats()
    kind = type(model).__name__
    if format is None:
        for candidate in formats.values():
            if candidate.accepts(model) and (allow_pickle or candidate.name != "pickle"):
                return candidate
        raise RegistryError(
            f"model {kind}: skops keeps scikit-learn estimators and json plain values; only a "
            f"pickle could keep this, and loading a pickle runs code: write allow_pickle=True here "
            f"and on loading, or give format= a ModelFormat of your own"
        )
    if not isinstance(format, str):
        return format
    if format not in formats:
        raise ArgumentError(f"format={format!r}: write one of {', '.join(map(repr, formats))}")
    if format == "pickle" and not allow_pickle:
        raise RegistryError(f"model {kind}: format='pickle' needs allow_pickle=True as well")
    if not formats[format].accepts(model):
        raise RegistryError(f"model {kind}: the format {format!r} does not keep such a model")
    return formats[format]
