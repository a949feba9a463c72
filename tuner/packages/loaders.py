"""The loader of each format: a module of `tuner.packages.runtime` that is copied into a package.

The loader of a format ``name`` is the module ``load_name``. It has the function ``load(folder,
settings)``, which returns a function from data to predictions, and the tuple ``REQUIRES`` of the
packages that it needs. ``SYSTEM``, if present, names the Debian packages that an image of Python
lacks. A further format adds one such file.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Collection, Mapping
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
    format: str, files: Mapping[str, bytes], trusted: Collection[str]
) -> dict[str, Any]:
    """Return what the loader must know beside the files: for skops, the types to trust."""
    if format == "skops":
        return {"trusted": types_in(files[SKOPS_FILE], trusted)}
    return {}


def modules_of(format: str, settings: Mapping[str, Any], model: Any) -> set[str]:
    """Return the top-level modules that the files refer to, as far as they are known."""
    names = list(settings.get("trusted", ()))
    if format == "pickle":
        parts = [model]
        if callable(getattr(model, "get_params", None)) and not isinstance(model, type):
            parts += model.get_params(deep=True).values()
        names = [f"{type(part).__module__}." for part in parts]
    return {name.partition(".")[0] for name in names} - {"builtins"}
