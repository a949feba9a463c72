"""Objectives and spaces that a user names on the command line."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from tuner.arguments import as_space
from tuner.errors import ArgumentError
from tuner.search_spaces import Space


def load_objective(spec: str) -> Callable[..., Any]:
    """Return the function that ``script.py:function`` names.

    Raises
    ------
    ArgumentError
        If there is no such script or function, or the script fails.
    """
    objective = _attribute(spec, "objective")
    if not callable(objective):
        raise ArgumentError(f"{spec}: {objective!r} is no function")
    function: Callable[..., Any] = objective
    return function


def load_space(spec: str | None, objective: str) -> Space:
    """Return the space of a .yaml or .json file, or of a variable of a script.

    Raises
    ------
    ArgumentError
        If there is no such file or variable.
    SpaceError
        If it is no space.
    """
    if spec is None:
        spec = f"{objective.rpartition(':')[0]}:space"
    path = Path(spec)
    if path.suffix in (".yaml", ".yml", ".json"):
        try:
            text = path.read_text(encoding="utf-8")
        except OSError as error:
            raise ArgumentError(f"--space {spec}: {error.strerror or error}") from None
        return Space.from_json(text) if path.suffix == ".json" else Space.from_yaml(text)
    return as_space(_attribute(spec, "space"))


def _attribute(spec: str, what: str) -> Any:
    script, colon, name = spec.rpartition(":")
    if not colon or not name:
        raise ArgumentError(f"{what} {spec!r}: write SCRIPT.py:NAME, such as train.py:{what}")
    module = _module(Path(script))
    if not hasattr(module, name):
        raise ArgumentError(f"{what} {spec!r}: {script} has no {name!r}")
    return getattr(module, name)


def _module(path: Path) -> ModuleType:
    """Return the script as a module, run once; workers get it by value, wherever they are."""
    name = path.stem
    known = sys.modules.get(name)
    if known is not None and getattr(known, "__file__", None) == str(path.resolve()):
        return known
    if not path.is_file():
        raise ArgumentError(f"there is no script {str(path)!r}")
    specification = importlib.util.spec_from_file_location(name, path.resolve())
    if specification is None or specification.loader is None:
        raise ArgumentError(f"{str(path)!r} is no Python script; its name must end in .py")
    module = importlib.util.module_from_spec(specification)
    sys.path.insert(0, str(path.resolve().parent))
    sys.modules[name] = module
    try:
        specification.loader.exec_module(module)
    except Exception as error:
        # Whatever a user's script raises, it cannot be used.
        del sys.modules[name]
        raise ArgumentError(f"{path} failed: {type(error).__name__}: {error}") from error
    import cloudpickle

    cloudpickle.register_pickle_by_value(module)
    return module
