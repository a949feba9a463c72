"""The lock file of a package: exact versions from the environment of the recorded run."""

from __future__ import annotations

import importlib.metadata
import re
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping

from tuner.errors import RegistryError
from tuner.records import Environment

RUNTIME = ("numpy", "pandas", "pyarrow")
"""Packages that the code of a package needs beside the model's library."""

_OF_MODULES = {"numpy": "numpy", "pandas": "pandas", "scipy": "scipy", "sklearn": "scikit-learn"}
"""Packages of modules that most models refer to."""


def locked(environment: Environment, packages: Iterable[str], what: str) -> dict[str, str]:
    """Return packages and their direct dependencies with the versions of an environment.

    The metadata of the packages here names the dependencies. A dependency that the environment
    lacks is left out, as it belongs to another platform or an extra.

    Raises
    ------
    RegistryError
        If the environment lacks one of `packages`.
    """
    recorded = {_canonical(name): version for name, version in environment.packages.items()}
    roots = sorted(set(map(_canonical, (*packages, *RUNTIME))))
    if missing := [name for name in roots if name not in recorded]:
        raise RegistryError(
            f"{what}: its package needs {', '.join(missing)}, and the environment of its run has "
            f"no such package; run a trial where it is installed, and register the model again"
        )
    direct = {name for root in roots for name in _dependencies(root)}
    return {name: _public(recorded[name]) for name in sorted({*roots, *(direct & recorded.keys())})}


def lock_text(versions: Mapping[str, str], what: str, python: str) -> str:
    """Return the text of ``requirements.lock``."""
    lines = [
        f"# {what}: versions of the environment that recorded its run, Python {python}",
        *(f"{name}=={version}" for name, version in versions.items()),
    ]
    return "\n".join(lines) + "\n"


def packages_of(modules: Collection[str]) -> tuple[set[str], set[str]]:
    """Return the packages that install the given top-level modules, and the other modules."""
    known = {module: _OF_MODULES[module] for module in modules if module in _OF_MODULES}
    packages, own = set(known.values()), set()
    unknown = set(modules) - known.keys() - sys.stdlib_module_names
    installers = importlib.metadata.packages_distributions() if unknown else {}  # takes a second
    for module in unknown:
        found = installers.get(module)
        if found:
            packages.add(found[0])
        else:
            own.add(module)
    return packages, own


def _dependencies(package: str) -> Iterator[str]:
    """Yield the names of the direct dependencies of an installed package, without its extras."""
    try:
        lines = importlib.metadata.requires(package) or []
    except importlib.metadata.PackageNotFoundError:
        return
    for line in lines:
        requirement, _, marker = line.partition(";")
        name = re.match(r"[\w.-]+", requirement)
        if name and "extra" not in marker:
            yield _canonical(name[0])


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _public(version: str) -> str:
    """Return a version without its local part, such as ``+cpu``, which no index has."""
    return version.partition("+")[0]
