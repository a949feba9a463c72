"""Load a user's script or module, without the search that it may start."""

from __future__ import annotations

import importlib.util
import sys
import traceback
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from weakref import WeakKeyDictionary

from tuner.errors import ArgumentError
from tuner.errors.loading import SearchWhileLoading, loading

_searches: WeakKeyDictionary[ModuleType, int] = WeakKeyDictionary()
"""The line at which each module starts a search; the lines from there on have not run."""


def load_script(path: Path) -> ModuleType:
    """Run a script once, up to the first search that it starts, and return it as a module.

    ``sys.argv[0]`` becomes the script, as if Python ran it. A second call returns the same module.

    Raises
    ------
    ArgumentError
        If it is not a Python file. An exception of the script passes.
    """
    file = path.resolve()
    name = _module_name(file)
    known = sys.modules.get(name)
    if known is not None and known.__file__ == str(file):
        return known
    specification = importlib.util.spec_from_file_location(name, file)
    if specification is None or specification.loader is None:
        raise ArgumentError(f"{str(path)!r} is not a Python script; its name must end in .py")
    sys.argv[0] = str(file)
    return _executed(specification)


def load_module(name: str) -> ModuleType:
    """Import a module, up to the first search that it starts.

    Raises
    ------
    ModuleNotFoundError
        If it does not exist. An exception of the module passes.
    ArgumentError
        If a package above it starts a search.
    """
    parent, _, child = name.rpartition(".")
    if name not in sys.modules:
        try:
            with loading():
                specification = importlib.util.find_spec(name)  # imports the packages above it
        except SearchWhileLoading as error:
            raise ArgumentError(
                f"{name}: its package {parent!r} cannot be loaded: {error}"
            ) from None
        if specification is None or specification.loader is None:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        if name not in sys.modules:
            module = _executed(specification)
            if parent:
                setattr(sys.modules[parent], child, module)
    return sys.modules[name]


def skipped_search(module: ModuleType) -> str:
    """Return a note on the search that a module starts when it is loaded, "" if it starts none."""
    line = _searches.get(module)
    if line is None:
        return ""
    return (
        f"{Path(module.__file__ or module.__name__).name}, line {line}: a search starts when the "
        f"file is loaded for its objective; it was skipped, and so was the rest of the file; guard "
        f'it with if __name__ == "__main__"'
    )


def _executed(specification: ModuleSpec) -> ModuleType:
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module
    try:
        with loading():
            specification.loader.exec_module(module)
    except SearchWhileLoading as error:
        lines = traceback.walk_tb(error.__traceback__)
        own = (n for frame, n in lines if frame.f_code.co_filename == module.__file__)
        _searches[module] = next(own, 0)
    except BaseException:
        del sys.modules[specification.name]
        raise
    return module


def _module_name(file: Path) -> str:
    """Return the script's name, or another if it would shadow a module, as ``random.py`` does."""
    name = file.stem
    known = sys.modules.get(name)
    is_itself = getattr(known, "__file__", None) == str(file)
    if name in sys.stdlib_module_names or (known is not None and not is_itself):
        return f"script_{name}"
    return name
