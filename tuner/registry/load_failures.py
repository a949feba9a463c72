"""Reasons why a model cannot be loaded here: missing classes, and packages that changed.

Nothing is imported to find out.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib.machinery import ModuleSpec

from tuner.records import Environment

_SCRIPTS = ("__main__", "__mp_main__")
"""Names of the program itself, which mean another module in each process."""


def why_not_elsewhere(name: str) -> str:
    """Return why another process cannot import a class or function, "" if it can.

    Parameters
    ----------
    name
        The full name, such as ``"package.module.Type"``.
    """
    module, _, attribute = name.rpartition(".")
    if module in _SCRIPTS:
        return f"{name} is defined in the script or notebook itself"
    # An extension module may be known by a second name: scikit-learn 1.7 has "_loss".
    own_name = getattr(sys.modules.get(module), "__name__", module)
    top = own_name.partition(".")[0]
    found = _find(top, None)
    if found is None or not _is_same(top, found):
        return f"the module {module!r} of {name} is not on the path"
    if module in sys.modules:
        return _lacks(module, attribute)
    return "" if _find_module(module) else f"there is no module {module!r} for {name}"


def why_not_here(name: str) -> str:
    """Return why this process cannot import a class or function, "" if it seems to be able to."""
    module, _, attribute = name.rpartition(".")
    if module in sys.modules:
        missing = _lacks(module, attribute)
        was_script = missing and module in _SCRIPTS
        return f"{name} was defined in the script that saved it" if was_script else missing
    return "" if _find_module(module) else f"there is no module {module!r}"


def _lacks(module: str, attribute: str) -> str:
    known = vars(sys.modules[module])
    # A module with a function __getattr__ may import something for each name; do not call it.
    has_it = attribute in known or "__getattr__" in known
    return "" if has_it else f"the module {module!r} has no {attribute!r}"


def _is_same(name: str, found: ModuleSpec) -> bool:
    """Return whether a module that is loaded under this name is the one that was found."""
    loaded = getattr(sys.modules.get(name), "__file__", None)
    if loaded is None or not found.has_location or found.origin is None:
        return True
    return os.path.realpath(str(loaded)) == os.path.realpath(found.origin)


def _find_module(name: str) -> ModuleSpec | None:
    """Return the specification of a module; neither it nor its packages are run."""
    found, places = None, None
    for n, _ in enumerate(parts := name.split("."), 1):
        found = _find(".".join(parts[:n]), places)
        if found is None:
            return None
        places = found.submodule_search_locations or ()
    return found


def _find(name: str, places: Sequence[str] | None) -> ModuleSpec | None:
    for finder in sys.meta_path:
        with suppress(ImportError, ValueError):
            found = finder.find_spec(name, places)
            if found is not None:
                return found
    return None


_OF_FORMATS = {
    "catboost": ("catboost",),
    "keras": ("keras", "torch", "tensorflow", "jax"),
    "lightgbm": ("lightgbm",),
    "onnx": ("onnx", "onnxruntime"),
    "pickle": ("cloudpickle", "scikit-learn", "numpy", "scipy"),
    "skops": ("scikit-learn", "skops", "numpy", "scipy"),
    "torch": ("torch",),
    "xgboost": ("xgboost",),
}
"""Packages that the files of a format depend on."""

_MODULES = {"scikit-learn": "sklearn"}
"""Modules with another name than their package."""


def version_note(recorded: Environment, format: str, problem: str) -> str:
    """Return a note on the packages that changed since a model was saved, "" if none has changed.

    Parameters
    ----------
    recorded
        The environment in which the model was saved.
    format
        The format of the model.
    problem
        The error of loading it; the packages that it names are compared, too.
    """
    words = set(re.findall(r"\w+", problem))
    named = [p for p in recorded.packages if _MODULES.get(p, p.replace("-", "_")) in words]
    then, now = [], []
    for package in dict.fromkeys((*_OF_FORMATS.get(format, ()), *named)):
        before, here = recorded.packages.get(package), _installed(package)
        if before is not None and before != here:
            then.append(f"{package} {before}")
            now.append(f"{package} {here}" if here else f"no {package}")
    python = platform.python_version()
    if format == "pickle" and _minor(recorded.python) != _minor(python):
        then.append(f"Python {recorded.python}")
        now.append(f"Python {python}")
    if not then:
        return ""
    return (
        f"it was saved with {', '.join(then)}, and here is {', '.join(now)}: install the versions "
        f"that it was saved with, or fit it again"
    )


def _installed(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _minor(python: str) -> list[str]:
    return python.split(".")[:2]
