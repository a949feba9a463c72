"""The file ``format.json`` beside a library's model files: version, checksums and facts of a model.

It holds the facts that the library's own file lacks, such as the parameters of a scikit-learn
wrapper. The checksums detect damage also where no store verifies the files, as in an exported
folder.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from tuner.errors import MissingExtra, RegistryError, TunerError
from tuner.errors.notices import warn
from tuner.records import decode_params, encode_params
from tuner.registry.limits import Budget, Refused
from tuner.tracking.artifacts.files import read_regular, regular_files

FILE = "format.json"

PICKLE_INSTEAD = (
    "write format='pickle', allow_pickle=True here and allow_pickle=True on loading to keep a "
    "pickle, whose loading runs code"
)
"""The remedy for a model that its format cannot keep."""


def imported(module: str) -> ModuleType | None:
    """Return a library if this process has imported it: otherwise no model of it can exist."""
    return sys.modules.get(module)


def check_installed(module: str, format: str) -> None:
    """Check that the library of a format is installed, without importing it.

    Raises
    ------
    MissingExtra
        If it is not; the message names the extra, which has the name of the format.
    """
    if module not in sys.modules and find_spec(module) is None:
        raise MissingExtra(
            f"the format {format!r} needs {module}, which is not installed; run: "
            f"pip install 'tuner[{format}]'"
        )


def required(module: str, format: str) -> Any:
    """Import the library of a format; raises `MissingExtra` if it cannot be imported."""
    check_installed(module, format)
    try:
        return import_module(module)
    except ImportError as error:  # such as Keras without its backend
        raise MissingExtra(
            f"the format {format!r} needs {module}, which cannot be imported: {error}"
        ) from error


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Raise `RegistryError` for any exception of a library that reads a file of others."""
    try:
        yield
    except TunerError:
        raise
    except Exception as error:
        raise RegistryError(
            f"{what} cannot be read as a model: {type(error).__name__}: {error}"
        ) from error


@contextmanager
def saving(model: Any, format: str, remedy: str = PICKLE_INSTEAD) -> Iterator[None]:
    """Raise `RegistryError` with a remedy for any exception of a library that saves a model."""
    try:
        yield
    except MissingExtra:
        raise
    except Exception as error:
        if type(error).__name__ == "NotFittedError":  # of scikit-learn
            remedy = "fit it first"
        raise RegistryError(
            f"model {type(model).__name__} cannot be kept in the format {format!r}: "
            f"{error}; {remedy}"
        ) from error


@dataclass(frozen=True, slots=True)
class Manifest:
    """The verified files of a model.

    Attributes
    ----------
    files
        Content of each file by its relative path, without `FILE`.
    facts
        The values that were given to `write`, of any JSON type: the reader checks them.
    """

    files: Mapping[str, bytes]
    facts: Mapping[str, Any]

    def only(self, *names: str) -> tuple[bytes, ...]:
        """Return the content of files by name; refuses other files."""
        if set(names) != set(self.files):
            raise Refused(f"it has the files {sorted(self.files)} instead of {sorted(names)}")
        return tuple(self.files[name] for name in names)

    def text(self, name: str) -> str:
        """Return a fact that must be a text."""
        value = self.facts.get(name)
        if not isinstance(value, str):
            raise Refused(f"{FILE} has no text {name!r}")
        return value

    def table(self, name: str) -> dict[str, Any]:
        """Return a fact that must be a dict."""
        value = self.facts.get(name)
        if not isinstance(value, dict):
            raise Refused(f"{FILE} has no table {name!r}")
        return value


def write(folder: Path, package: str, **facts: Any) -> None:
    """Write `FILE` into a folder that has the other files of a model.

    Parameters
    ----------
    folder
        The folder.
    package
        The installed package that wrote the files; "" if no package did.
    facts
        JSON values and tuples.
    """
    content = {
        "package": package,
        "version": installed(package),
        "sha256": {
            name: hashlib.sha256(path.read_bytes()).hexdigest()
            for name, path, _ in sorted(regular_files(folder))
            if name != FILE
        },
        **facts,
    }
    text = json.dumps(encode_params(content), indent=1)
    (folder / FILE).write_text(text + "\n", encoding="utf-8")


def read(folder: Path, package: str) -> Manifest:
    """Read and verify the files of a model; warn if another major version of the package wrote it.

    Raises
    ------
    ValueError, OSError
        If a file is missing, damaged, not regular, or not listed.
    """
    files = {}
    for name, path, size in regular_files(folder):
        files[name] = read_regular(path, size)
    text = files.pop(FILE, None)
    if text is None:
        raise Refused(f"the folder has no {FILE}")
    facts = parsed(text, FILE)
    recorded = facts.get("sha256")
    if not isinstance(recorded, dict) or facts.get("package") != package:
        raise Refused(f"{FILE} does not describe a model of {package or 'this format'}")
    if set(recorded) != set(files):
        raise Refused(f"it has the files {sorted(files)} instead of {sorted(recorded)}")
    for name, content in files.items():
        if hashlib.sha256(content).hexdigest() != recorded[name]:
            raise Refused(f"{name} differs from the checksum in {FILE}: it was changed or damaged")
    _compare_versions(package, str(facts.get("version")))
    return Manifest(files, facts)


def parsed(text: bytes, name: str) -> dict[str, Any]:
    """Return the values of a JSON file that `write` made, within the memory limit."""
    Budget(len(text)).spend_json(text)
    if not text.endswith(b"}\n"):
        raise Refused(f"{name} is truncated")
    facts = json.loads(text)
    if not isinstance(facts, dict):
        raise Refused(f"{name} has no table")
    return decode_params(facts)


def installed(package: str) -> str:
    """Return the installed version of a package, "" if there is none."""
    try:
        return version(package) if package else ""
    except PackageNotFoundError:
        return ""


def _compare_versions(package: str, written: str) -> None:
    here = installed(package)
    if here and written.partition(".")[0] != here.partition(".")[0]:
        warn(
            f"this model was saved with {package} {written:.40}, and here is {package} {here}: its "
            f"predictions may differ; install the version that it was saved with, or fit it again"
        )
