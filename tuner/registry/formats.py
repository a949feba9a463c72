"""Choice of a model's format, and conversion between models and an artifact's files."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tuner.errors import ArgumentError, RegistryError
from tuner.plugins import Plugins
from tuner.records import Upload
from tuner.registry.pickle_format import PickleFormat
from tuner.registry.protocol import ModelFormat
from tuner.registry.skops_format import SkopsFormat
from tuner.tracking.artifacts.folder import check_paths

FORMATS = Plugins(
    "format",
    "tuner.model_formats",
    "tuner.registry.protocol:ModelFormat",
    {
        "skops": "tuner.registry.skops_format:SkopsFormat",
        "json": "tuner.registry.json_format:JsonFormat",
        "pickle": "tuner.registry.pickle_format:PickleFormat",
    },
)


def format_named(
    name: str, *, allow_pickle: bool = False, trusted: Iterable[str] = ()
) -> ModelFormat:
    """Return the built-in or registered format of a name.

    Only the built-in formats receive `allow_pickle` and `trusted`.

    Raises
    ------
    ArgumentError
        If the name is unknown, or the registered class cannot be used or has another name.
    """
    if name == SkopsFormat.name:
        return SkopsFormat(trusted)
    if name == PickleFormat.name:
        return PickleFormat(allow_pickle)
    found: ModelFormat = FORMATS.resolve(name)
    if found.name != name:
        raise ArgumentError(
            f"format={name!r} is registered for a class with the name {found.name!r}; use one name "
            f"in the entry point and in the class, as the store records the name of the class"
        )
    return found


def save_model(
    model: Any, *, format: str | ModelFormat | None = None, allow_pickle: bool = False
) -> tuple[str, dict[str, bytes]]:
    """Save `model`; return the name of its format, and its files by relative path.

    Parameters
    ----------
    model
        The model to save.
    format
        A format or its name. None selects the first that accepts the model: skops, json, the
        registered ones in alphabetical order, then pickle if it is allowed.
    allow_pickle
        Whether a pickle may be written.

    Raises
    ------
    RegistryError
        If no allowed format accepts the model, or it cannot be written.
    ArgumentError
        If the format's name is unknown, or a registered format cannot be used.
    """
    chosen = choose_format(model, format=format, allow_pickle=allow_pickle)
    with tempfile.TemporaryDirectory(prefix="tuner-model-") as folder:
        chosen.save(model, Path(folder))
        return chosen.name, {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in sorted(Path(folder).rglob("*"))
            if path.is_file()
        }


def choose_format(
    model: Any, *, format: str | ModelFormat | None = None, allow_pickle: bool = False
) -> ModelFormat:
    """Return the format in which `save_model` saves a model, which need not be fitted.

    Raises
    ------
    RegistryError
        If no allowed format accepts the model.
    ArgumentError
        If the format's name is unknown, or a registered format cannot be used.
    """
    kind = type(model).__name__
    if format is None:
        return _first_that_accepts(model, allow_pickle)
    if not isinstance(format, str):
        given: ModelFormat = FORMATS.resolve(format)
        return given
    if format == PickleFormat.name and not allow_pickle:
        raise RegistryError(f"model {kind}: format='pickle' needs allow_pickle=True as well")
    chosen = format_named(format)
    if not chosen.accepts(model):
        raise RegistryError(f"model {kind}: the format {format!r} does not accept this model")
    return chosen


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
        if format not in FORMATS.names:
            raise RegistryError(
                f"this model was saved in the format {format!r}, but only {FORMATS.listed} are "
                f"installed: install the package that registers {format!r}, or write "
                f"Registry.load(..., format=...) with the object that saved it"
            )
        format = format_named(format, allow_pickle=allow_pickle, trusted=trusted)
    check_paths(Upload("model", dict(files)))
    with tempfile.TemporaryDirectory(prefix="tuner-model-") as folder:
        for name, content in files.items():
            path = Path(folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return format.load(Path(folder))


def _first_that_accepts(model: Any, allow_pickle: bool) -> ModelFormat:
    safe = [name for name in FORMATS.names if name != PickleFormat.name]
    for name in safe:
        if (candidate := format_named(name)).accepts(model):
            return candidate
    if allow_pickle:
        return PickleFormat(True)
    raise RegistryError(
        f"model {type(model).__name__}: none of the formats {', '.join(map(repr, safe))} accepts "
        f"it; loading a pickle runs code: to save one, write allow_pickle=True here and on "
        f"loading, or pass format= with a ModelFormat of your own"
    )
