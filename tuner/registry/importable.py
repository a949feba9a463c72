"""Find out whether a class or function can be imported by its name, without importing anything."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib.machinery import ModuleSpec

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
