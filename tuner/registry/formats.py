"""Choice of a model's format, and conversion between models and an artifact's files."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from tuner.errors import ArgumentError, RegistryError
from tuner.errors.loading import SearchWhileLoading, loading
from tuner.plugins import Plugins
from tuner.records import Upload
from tuner.registry.native.manifest import check_installed
from tuner.registry.protocol import ModelFormat
from tuner.registry.value_formats import PickleFormat
from tuner.tracking.artifacts.folder import check_paths

FORMATS = Plugins(
    "format",
    "tuner.model_formats",
    "tuner.registry.protocol:ModelFormat",
    {
        "keras": "tuner.registry.native.keras_format:KerasFormat",
        "torch": "tuner.registry.native.torch_format:TorchFormat",
        "xgboost": "tuner.registry.native.xgboost_format:XGBoostFormat",
        "lightgbm": "tuner.registry.native.lightgbm_format:LightGBMFormat",
        "catboost": "tuner.registry.native.catboost_format:CatBoostFormat",
        "onnx": "tuner.registry.native.onnx_format:OnnxFormat",
        "skops": "tuner.registry.skops_format:SkopsFormat",
        "json": "tuner.registry.value_formats:JsonFormat",
        "files": "tuner.registry.native.files_format:FilesFormat",
        "callable": "tuner.registry.native.callable_format:CallableFormat",
        "pickle": "tuner.registry.value_formats:PickleFormat",
    },
)

_NO_CODE = "runs no code from the file"
_TRUSTED = "imports and calls the classes and functions that the file names, if they are trusted"
_LOADING: Mapping[str, str] = {
    **dict.fromkeys(("xgboost", "lightgbm", "onnx", "skops", "json", "files"), _NO_CODE),
    "catboost": f"{_NO_CODE}; the indices in it are not checked",
    **dict.fromkeys(("keras", "torch", "callable"), _TRUSTED),
    "pickle": "runs any code in the file: load it only if you trust its author",
}
_BY_NAMES = ("callable", "keras", "skops", "torch")
"""Formats whose files name classes or functions, which the caller must trust."""


def loading_text(format: str) -> str:
    """Return the effect of loading a model of a format, in words."""
    return _LOADING.get(format, "needs the package that registers the format")


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
    found: ModelFormat
    if name in _BY_NAMES:
        found = FORMATS.class_of(name)(trusted=trusted)
        return found
    if name == PickleFormat.name:
        return PickleFormat(allow_pickle)
    found = FORMATS.resolve(name)
    if found.name != name:
        raise ArgumentError(
            f"format={name!r} is registered for a class with the name {found.name!r}; use one name "
            f"in the entry point and in the class, as the store records the name of the class"
        )
    return found


def save_model(
    model: Any,
    *,
    format: str | ModelFormat | None = None,
    allow_pickle: bool = False,
    example: Any = None,
) -> tuple[str, dict[str, bytes]]:
    """Save `model`; return the name of its format, and its files by relative path.

    Parameters
    ----------
    model
        The model to save.
    format
        A format or its name. None selects the first that can save the model: the built-in ones,
        the registered ones in alphabetical order, then pickle if it is allowed.
    allow_pickle
        Whether a pickle may be written.
    example
        Rows of the model's input, for ``format="onnx"``, which compares predictions on them.

    Raises
    ------
    RegistryError
        If no allowed format can save the model.
    ArgumentError
        If the format's name is unknown, or a registered format cannot be used.
    """
    if format is None:
        candidates: Iterable[ModelFormat] = chain(
            _accepting(model), [PickleFormat()] if allow_pickle else []
        )
    else:
        candidates = [_chosen(model, format, allow_pickle, example)]
    failures: list[RegistryError] = []
    for candidate in candidates:
        try:
            return candidate.name, _saved(model, candidate)
        except RegistryError as error:
            failures.append(error)
    raise _unsaved(model, failures) from (failures[-1] if failures else None)


def check_format(
    model: Any,
    *,
    format: str | ModelFormat | None = None,
    allow_pickle: bool = False,
    example: Any = None,
) -> None:
    """Check that `save_model` has a format for a model, which need not be fitted.

    Raises
    ------
    RegistryError
        If no allowed format accepts the model.
    ArgumentError
        If the format's name is unknown, or a registered format cannot be used.
    """
    if format is not None:
        _check(model, _chosen(model, format, allow_pickle, example))
        return None
    if allow_pickle:
        return None
    failures: list[RegistryError] = []
    for candidate in _accepting(model):
        try:
            return _check(model, candidate)
        except RegistryError as error:
            failures.append(error)
    raise _unsaved(model, failures)


def check_named(name: str, *, allow_pickle: bool = False) -> None:
    """Check that a format can be used here: it exists, is allowed, and its libraries are installed.

    Raises
    ------
    ArgumentError
        If no format has the name, or it is pickle and not allowed.
    MissingExtra
        If a library is not installed.
    """
    if name not in FORMATS.names:
        raise ArgumentError(f"no format has this name; write one of {FORMATS.listed}")
    if name == PickleFormat.name and not allow_pickle:
        raise ArgumentError(f"format={name!r} needs allow_pickle=True as well")
    for module in getattr(format_named(name), "libraries", ()):
        check_installed(module, name)


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
        try:
            with loading():  # which may import the module of a user's class
                return format.load(Path(folder))
        except SearchWhileLoading as error:
            raise RegistryError(f"the model cannot be loaded: {error}") from None


def _accepting(model: Any) -> Iterator[ModelFormat]:
    safe = (format_named(name) for name in FORMATS.names if name != PickleFormat.name)
    return (each for each in safe if getattr(each, "suits", each.accepts)(model))


def _check(model: Any, format: ModelFormat) -> None:
    """Run the check of a format that has one: such a format can tell more before the training."""
    for module in getattr(format, "libraries", ()):
        check_installed(module, format.name)
    if check := getattr(format, "check", None):
        check(model)


def _chosen(model: Any, format: str | ModelFormat, allow_pickle: bool, example: Any) -> ModelFormat:
    kind = type(model).__name__
    if not isinstance(format, str):
        given: ModelFormat = FORMATS.resolve(format)
        return given
    if format == PickleFormat.name and not allow_pickle:
        raise RegistryError(f"model {kind}: format='pickle' needs allow_pickle=True as well")
    chosen = format_named(format)
    if format == "onnx" and example is not None:
        chosen = FORMATS.class_of(format)(example)
    if not chosen.accepts(model):
        raise RegistryError(f"model {kind}: the format {format!r} does not accept this model")
    return chosen


def _saved(model: Any, format: ModelFormat) -> dict[str, bytes]:
    with tempfile.TemporaryDirectory(prefix="tuner-model-") as folder:
        format.save(model, Path(folder))
        return {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in sorted(Path(folder).rglob("*"))
            if path.is_file()
        }


def _unsaved(model: Any, failures: Sequence[RegistryError]) -> RegistryError:
    """Return the error for a model that no allowed format can save, with all that can be done."""
    text = "; ".join(map(str, failures))
    if not failures:
        safe = ", ".join(repr(name) for name in FORMATS.names if name != PickleFormat.name)
        text = (
            f"model {type(model).__name__}: none of the formats {safe} accepts it; loading a "
            f"pickle runs code: to save one, write allow_pickle=True here and on loading; or write "
            f"the model to a file and pass its pathlib.Path, or pass format= with a ModelFormat of "
            f"your own"
        )
    return RegistryError(text)
