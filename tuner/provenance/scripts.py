"""Load a user's script as a module."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from tuner.errors import ArgumentError


def load_script(path: Path) -> ModuleType:
    """Run a script once and return it as a module.

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
    module = importlib.util.module_from_spec(specification)
    sys.argv[0] = str(file)
    sys.modules[name] = module
    try:
        specification.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
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
