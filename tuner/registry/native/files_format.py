"""Plain files and folders as models, for programs that read them themselves."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuner.errors import ArgumentError
from tuner.registry.native import manifest
from tuner.tracking.artifacts.files import read_regular, regular_files

_FOLDER = "content"


@dataclass(frozen=True, slots=True, repr=False)
class ModelFiles:
    """The files of a model in memory.

    Attributes
    ----------
    name : str
        Name of the file or folder that was saved.
    files : dict
        Content by relative path; of a single file, by its name.
    """

    name: str
    files: Mapping[str, bytes]

    def write_to(self, folder: str | Path) -> Path:
        """Write the files into a folder, and return the path of the saved file or folder.

        Raises
        ------
        ArgumentError
            If it has something of this name already.
        """
        target = Path(folder) / self.name
        if target.exists() or target.is_symlink():
            raise ArgumentError(
                f"write_to({str(folder)!r}): {target} exists; choose another folder"
            )
        single = list(self.files) == [self.name]
        for name, content in self.files.items():
            path = target if single else target / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return target

    def __repr__(self) -> str:
        size = sum(map(len, self.files.values()))
        return f"ModelFiles({self.name!r}, {len(self.files)} files, {size} bytes)"


class FilesFormat:
    """Format for a `pathlib.Path` of a file or folder, loaded as `ModelFiles`.

    Links within a folder are followed, and their content is kept.
    """

    name = "files"

    def accepts(self, model: Any) -> bool:
        """Whether it is the path of a file or folder, or files that this format has loaded."""
        return isinstance(model, ModelFiles) or (isinstance(model, Path) and model.exists())

    def save(self, model: Any, folder: Path) -> None:
        """Copy the files; raises `RegistryError` if there are none, or one cannot be read."""
        with manifest.saving(model, self.name, "remove what is not a regular file"):
            if isinstance(model, ModelFiles):
                name, files = model.name, dict(model.files)
            elif model.is_dir():
                name = model.resolve().name
                found = regular_files(model, follow=True)
                files = {each: read_regular(path, size, follow=True) for each, path, size in found}
            else:
                name = model.name
                files = {name: read_regular(model, model.stat().st_size, follow=True)}
            if not files:
                raise ValueError(f"{name!r} has no files")
            shutil.rmtree(folder / _FOLDER, ignore_errors=True)  # files of an earlier call
            for each, content in files.items():
                path = folder / _FOLDER / each
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            manifest.write(folder, "", files_of=name)

    def load(self, folder: Path) -> ModelFiles:
        """Return the files in memory; raises `RegistryError` if they do not have this format."""
        with manifest.reading("the folder"):
            found = manifest.read(folder, "")
            name = found.text("files_of")
            if name in ("", ".", "..") or any(c in name for c in "/\\\0:"):
                raise ValueError(f"{name!r:.80} is not the name of a file")
            if not all(path.startswith(f"{_FOLDER}/") for path in found.files) or not found.files:
                raise ValueError(f"it has other files than those in {_FOLDER}")
            files = {path.removeprefix(f"{_FOLDER}/"): each for path, each in found.files.items()}
            return ModelFiles(name, files)
