"""Compare the packages that a model was saved with and those that are installed here."""

from __future__ import annotations

import importlib.metadata
import platform
import re

from tuner.records import Environment

_OF_FORMATS = {
    "json": (),
    "pickle": ("cloudpickle", "scikit-learn", "numpy", "scipy"),
    "skops": ("scikit-learn", "skops", "numpy", "scipy"),
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
