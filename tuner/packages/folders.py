"""Folders of packages: read the user's code, and put a package in its place as a whole."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from tuner.errors import ArgumentError, ExportError
from tuner.packages.runtime.manifest import MANIFEST


def files_of(code: Iterable[str | Path]) -> dict[str, bytes]:
    """Return Python files, and the files of Python packages, by path.

    Raises
    ------
    ArgumentError
        If one does not exist, or is neither a Python file nor a folder.
    """
    if isinstance(code, str | Path):
        raise ArgumentError(f"code={code!r}: write a list, such as [{str(code)!r}]")
    found: dict[str, bytes] = {}
    for path in map(Path, code):
        if path.is_dir():
            modules = sorted(p for p in path.resolve().rglob("*.py") if p.is_file())
            top = path.resolve().parent
            found |= {p.relative_to(top).as_posix(): p.read_bytes() for p in modules}
        elif path.suffix == ".py" and path.is_file():
            found[path.name] = path.read_bytes()
        else:
            raise ArgumentError(f"code: {str(path)!r} is neither a Python file nor a folder")
    return found


def check_target(target: Path, force: bool) -> None:
    """Check that a package may be written to a folder.

    Raises
    ------
    ExportError
        If it is not a folder, has files and `force` is False, or has other files than a package.
    """
    if not target.is_dir():
        if target.exists() or target.is_symlink():
            raise ExportError(f"{str(target)!r} is not a folder; write a new folder")
        return
    if not any(target.iterdir()):
        return
    if not force:
        raise ExportError(
            f"the folder {str(target)!r} is not empty; write another one, or force=True (--force) "
            f"to replace an earlier package"
        )
    if not (target / MANIFEST).is_file() or not (target / "predict.py").is_file():
        raise ExportError(
            f"the folder {str(target)!r} has other files than a package, and they are not deleted; "
            f"write another folder"
        )


def put(content: Mapping[str, bytes], target: Path, force: bool) -> None:
    """Write files into a new folder, and rename it to `target`; see `check_target`."""
    target = target.absolute()
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.name[:50]}-", dir=target.parent) as aside:
        written = Path(aside, "new")
        write_files(content, written)
        check_target(target, force)
        if not target.exists():
            written.rename(target)
            return
        earlier = target.rename(Path(aside, "earlier"))
        try:
            written.rename(target)
        except OSError:
            earlier.rename(target)
            raise


def write_files(content: Mapping[str, bytes], folder: Path) -> None:
    """Write files by their paths in a folder."""
    for name, data in content.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
