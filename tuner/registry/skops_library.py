"""The import of skops, without the array libraries that it would load."""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType

ADAPTERS = {
    library: f"sklearn.externals.array_api_compat.{library}"
    for library in ("cupy", "dask", "torch")
}
"""Packages of scikit-learn that import another library."""


def skops_io() -> ModuleType:
    """Return the module ``skops.io``.

    skops imports every package of scikit-learn to list the estimators. Of these, the adapters of
    array libraries contain none, and that of PyTorch takes twice as long as all others. An adapter
    is left out unless its library is loaded, and can be imported afterwards.
    """
    if (loaded := sys.modules.get("skops.io")) is not None:
        return loaded
    hidden = [
        name for library, name in ADAPTERS.items() if not {library, name} & sys.modules.keys()
    ]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None refuses an import
    try:
        return import_module("skops.io")
    finally:
        for name in hidden:
            if sys.modules.get(name) is None:
                sys.modules.pop(name, None)
