"""The manifest of a package: its files with their checksums, and the settings of its loader."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .errors import PackageError

MANIFEST = "manifest.json"
SIGNATURE = "signature.json"
MODEL, CODE = "model", "src"
"""Folders of the model's files and of the code."""


class Manifest:
    """The entries of ``manifest.json`` of the package in `folder`.

    Raises
    ------
    PackageError
        If the file is missing or has another layout.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            entries = json.loads((folder / MANIFEST).read_bytes())
            self.checksums = {name: str(e["sha256"]) for name, e in entries["files"].items()}
            self.loader = f"load_{entries['format']}"
            self.settings: dict[str, Any] = dict(entries["settings"])
            self.title = f"{entries['model']}, version {entries['version']}"
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise PackageError(
                f"{folder / MANIFEST} is not the manifest of a model package: {error}"
            ) from error

    def check(self) -> None:
        """Compare the files that a prediction reads with their checksums, before any is parsed.

        Raises
        ------
        PackageError
            If such a file was changed, added or lost.
        """
        self._compare(name for name in self.checksums if _is_read(name))
        for path in sorted((self.folder / MODEL).rglob("*")):
            name = path.relative_to(self.folder).as_posix()
            if not path.is_dir() and name not in self.checksums:
                raise PackageError(f"{name} was added to the package; export the model again")

    def check_all(self) -> None:
        """Compare every file with its checksum; raises `PackageError` as `check` does."""
        self.check()
        self._compare(self.checksums)

    def _compare(self, names: Iterable[str]) -> None:
        for name in names:
            try:
                with (self.folder / name).open("rb") as file:
                    found = hashlib.file_digest(file, "sha256").hexdigest()
            except OSError as error:
                raise PackageError(f"{name} cannot be read: {error.strerror or error}") from error
            if found != self.checksums[name]:
                raise PackageError(
                    f"{name} was changed: its SHA-256 is {found}, and the manifest has "
                    f"{self.checksums[name]}; nothing was loaded; export the model again"
                )


def _is_read(name: str) -> bool:
    return name == SIGNATURE or name.partition("/")[0] in (MODEL, CODE)
