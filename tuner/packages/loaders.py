"""The loader of each format: a module of `tuner.packages.runtime` that is copied into a package.

The loader of a format ``name`` is the module ``load_name``. It has the function ``load(folder,
settings)``, which returns a function from data to predictions, and the tuple ``REQUIRES`` of the
packages that it needs. ``SYSTEM``, if present, names the Debian packages that an image of Python
lacks. A further format adds one such file.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import re
from collections.abc import Collection, Iterable, Mapping
from types import ModuleType
from typing import Any

from tuner.errors import RegistryError
from tuner.registry.skops_format import FILE as SKOPS_FILE
from tuner.registry.skops_format import types_in

_RUNTIME = "tuner.packages.runtime"


def loader_of(format: str, what: str) -> ModuleType:
    """Return the loader of a format.

    Raises
    ------
    RegistryError
        If packages do not support the format.
    """
    name = f"{_RUNTIME}.load_{format}"
    if not format.isidentifier() or importlib.util.find_spec(name) is None:
        raise RegistryError(
            f"{what}: the format {format!r} has no loader that runs without tuner; register the "
            f"model in a format of a library, such as skops, or load it with tuner.load_model"
        )
    return importlib.import_module(name)


def settings_of(
    format: str, files: Mapping[str, bytes], model: Any, trusted: Collection[str]
) -> dict[str, Any]:
    """Return the settings of the loader, such as the types to trust for skops."""
    if format == "skops":
        return {"trusted": types_in(files[SKOPS_FILE], trusted)}
    if format == "keras":
        import keras

        return {"backend": keras.backend.backend(), "classes": _own_layers(model)}
    return {}


def modules_of(
    format: str, files: Mapping[str, bytes], settings: Mapping[str, Any], model: Any
) -> set[str]:
    """Return the top-level modules that the files refer to, as far as they are known."""
    names: Iterable[str] = ()
    if format == "skops":
        names = settings["trusted"]
    elif format == "pickle":
        names = (f"{type(part).__module__}." for part in _parts(model))
    elif format == "keras":
        names = [settings["backend"], *settings["classes"].values()]
    elif format in _REFERENCES:
        names = [json.loads(files["format.json"])[_REFERENCES[format]]]
    return {re.split(r"[.:]", name)[0] for name in names} - {"builtins"}


_REFERENCES = {"callable": "function", "torch": "constructor"}
"""Where the file ``format.json`` refers to the user's module, by format."""


def _parts(model: Any) -> list[Any]:
    """Return an object and, of a pipeline of scikit-learn, its parts."""
    if isinstance(model, type) or not callable(getattr(model, "get_params", None)):
        return [model]
    return [model, *model.get_params(deep=True).values()]


def _own_layers(model: Any) -> dict[str, str]:
    """Return the references to classes of layers that are not Keras's, by their names in files."""
    found = {}
    for layer in model._flatten_layers():
        kind = type(layer)
        if kind.__module__.partition(".")[0] != "keras":
            found[kind.__name__] = f"{kind.__module__}:{kind.__qualname__}"
    return dict(sorted(found.items()))
