"""Choice of a model's format, and conversion between models and an artifact's files."""

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
from tuner.tracking.artifacts.folder import check_paths


def known_formats(
    *, allow_pickle: bool = False, trusted: Iterable[str] = ()
) -> dict[str, ModelFormat]:
    """Return the formats by name, first the ones whose loading executes no code."""
    formats: list[ModelFormat] = [SkopsFormat(trusted), JsonFormat(), PickleFormat(allow_pickle)]
    return {f.name: f for f in formats}


def save_model(
    model: Any, *, format: str | ModelFormat | None = None, allow_pickle: bool = False
) -> tuple[str, dict[str, bytes]]:
    """Save `model`; return the name of its format, and its files by relative path.

    Parameters
    ----------
    model
        The model to save.
    format
        A format or its name; None takes the first that accepts the model.
    allow_pickle
        Whether a pickle may be written.

    Raises
    ------
    RegistryError
        If no allowed format accepts the model, or it cannot be written.
    ArgumentError
        If the format's name is unknown.
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
    """Load a model from files that `save_model` wrote.

    Raises
    ------
    UntrustedModel
        If loading needs types or code that are not allowed.
    RegistryError
        If the format's name is unknown, or the files do not have this format.
    ArgumentError
        If a file's path leaves its folder, or `trusted` is not a list of names.
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
