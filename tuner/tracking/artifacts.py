"""The folder of artifacts: files written whole or not at all, and checked when they are read."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from urllib.parse import quote

from tuner.errors import ArgumentError, ChecksumMismatch, StoreReadOnly
from tuner.records import Artifact, Upload
from tuner.tracking.uuid7 import uuid7

_LONGEST = 150
"""Bytes of an artifact's name that its folder keeps; file systems take 255."""


class ArtifactFolder:
    """Keeps artifacts as ``<run>/<name>/<the upload's paths>`` below a root.

    What is there is never overwritten. Another content under a name that the run has used already
    goes to ``<name>~2``, then ``<name>~3``.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def put(self, run: str, upload: Upload) -> Artifact:
        """Write an upload's files and return what to record.

        Raises
        ------
        ArgumentError
            If a path is absolute, leaves its folder or is also a folder of another one.
        StoreReadOnly
            If the folder cannot be written.
        """
        check_paths(upload)
        digest = checksum(upload.files)
        folder = self.root / safe_name(run)
        try:
            target = self._place(folder, safe_name(upload.name), digest, upload.files)
        except (OSError, UnicodeEncodeError) as error:
            raise StoreReadOnly(
                f"artifact {upload.name!r} of run {run} cannot be written below {self.root}: "
                f"{error}; set TUNER_ARTIFACTS or store= to a folder that can be written"
            ) from error
        return Artifact(
            name=upload.name,
            run=run,
            path=target.relative_to(self.root).as_posix(),
            sha256=digest,
            size=sum(map(len, upload.files.values())),
            kind=upload.kind,
            format=upload.format,
        )

    def read(self, artifact: Artifact) -> dict[str, bytes]:
        """Return an artifact's files by their relative paths.

        Raises
        ------
        ChecksumMismatch
            If they are not byte for byte what was recorded.
        """
        folder = self.root / artifact.path
        if not folder.resolve().is_relative_to(self.root.resolve()):
            raise ChecksumMismatch(
                f"artifact {artifact.name!r} is recorded at {artifact.path!r}, outside of "
                f"{self.root}; the record has been tampered with"
            )
        if not folder.is_dir():
            raise ChecksumMismatch(
                f"artifact {artifact.name!r} of run {artifact.run} is not in {folder}; "
                f"put the files back, or check that TUNER_ARTIFACTS is what it was"
            )
        files = _read_files(folder)
        if (found := checksum(files)) != artifact.sha256:
            raise ChecksumMismatch(
                f"artifact {artifact.name!r} in {folder} has the checksum {found[:12]}…, "
                f"recorded was {artifact.sha256[:12]}…; the files have changed since, "
                f"do not load them"
            )
        return files

    def _place(self, folder: Path, name: str, digest: str, files: Mapping[str, bytes]) -> Path:
        """Put the files into a folder of their own below `folder`, all of them at once."""
        folder.mkdir(parents=True, exist_ok=True)
        latest = max((_number(name, p.name) for p in folder.iterdir()), default=0)
        if latest and checksum(_read_files(folder / _numbered(name, latest))) == digest:
            return folder / _numbered(name, latest)
        staged = folder / f".new-{uuid7()}"
        staged.mkdir()
        try:
            _write_files(staged, files)
            while True:
                latest += 1
                target = folder / _numbered(name, latest)
                try:
                    # Renaming replaces no folder that has files in it.
                    staged.rename(target)
                except OSError:
                    if target.exists():
                        continue
                    raise
                sync_folder(folder)
                return target
        finally:
            shutil.rmtree(staged, ignore_errors=True)


def check_paths(upload: Upload) -> None:
    """Raise `ArgumentError` unless each file of an upload is below the folder it will get."""
    for path in upload.files:
        bad = "\x00" in path or (os.name == "nt" and ("\\" in path or ":" in path))
        if bad or any(part in ("", ".", "..") for part in path.split("/")):
            raise ArgumentError(
                f"artifact {upload.name!r}: {path!r} is no relative path of a file; "
                f"write it with / and without .., such as 'plots/roc.png'"
            )
        for parent in PurePosixPath(path).parents:
            if str(parent) in upload.files:
                raise ArgumentError(
                    f"artifact {upload.name!r}: {str(parent)!r} is a file and the folder of "
                    f"{path!r}; rename one"
                )


def checksum(files: Mapping[str, bytes]) -> str:
    """Return the SHA-256 over every file's relative path and content, in hex.

    Each is preceded by its length, so that no two sets of files give the same bytes.
    """
    digest = hashlib.sha256()
    for path in sorted(files):
        for part in (path.encode("utf-8", "surrogatepass"), files[path]):
            digest.update(len(part).to_bytes(8))
            digest.update(part)
    return digest.hexdigest()


def safe_name(name: str) -> str:
    """Return a file name that says `name`, another one for every name.

    Examples
    --------
    >>> safe_name("plots/ROC curve"), safe_name("..")
    ('plots%2FROC%20curve', '%2E.')
    """
    quoted = quote(name, safe="", errors="surrogatepass").replace("~", "%7E")
    if quoted.startswith("."):
        quoted = f"%2E{quoted[1:]}"
    if not quoted or len(quoted) > _LONGEST:
        mark = hashlib.sha256(quoted.encode("ascii")).hexdigest()[:16]
        quoted = f"{quoted[:_LONGEST]}%{mark}"
    return quoted


def _numbered(name: str, number: int) -> str:
    return name if number == 1 else f"{name}~{number}"


def _number(name: str, folder: str) -> int:
    """Return which content of `name` a folder holds, counted from 1; 0 if it is another name's."""
    if folder == name:
        return 1
    match = re.fullmatch(r"~(\d+)", folder.removeprefix(name)) if folder.startswith(name) else None
    return int(match[1]) if match else 0


def _read_files(folder: Path) -> dict[str, bytes]:
    """Return every file below `folder`; a link counts as what it says, not where it leads."""
    return {
        path.relative_to(folder).as_posix(): (
            b"link to " + os.fsencode(path.readlink()) if path.is_symlink() else path.read_bytes()
        )
        for path in _walk(folder)
    }


def _walk(folder: Path) -> Iterable[Path]:
    for root, folders, names in os.walk(folder):
        links = [n for n in folders if Path(root, n).is_symlink()]
        yield from (Path(root, n) for n in [*links, *names])


def _write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write the files and see that they are on the disk."""
    made = {folder}
    for path, content in files.items():
        target = folder.joinpath(*path.split("/"))
        target.parent.mkdir(parents=True, exist_ok=True)
        made.add(target.parent)
        with target.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    for each in made:
        sync_folder(each)


def sync_folder(folder: Path) -> None:
    """See that the names in a folder are on the disk."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
