"""The artifact folder: files are written atomically and verified when they are read."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import TypeAlias
from urllib.parse import quote

from tuner.errors import ArgumentError, ArtifactMissing, ChecksumMismatch, StoreError
from tuner.records import Artifact, Upload
from tuner.records.bounds import LONGEST_PART, check_length
from tuner.tracking.artifacts.file_failures import of_reading, of_writing
from tuner.tracking.artifacts.files import (
    HeldFolder,
    NotRegular,
    put_in_place,
    read_regular,
    regular_files,
    sync_folder,
)
from tuner.tracking.uuid7 import uuid7

CONTENT = "sha256"
"""The folder of artifacts that are addressed by their content."""

STORES = "stores"
"""The folder with the namespaces of all stores that share a root."""

_LONGEST = 150
"""Maximum bytes of an artifact's name in its folder's name; file systems allow 255."""


class ArtifactFolder:
    """Keeps artifacts by content: ``sha256/<2 digits>/<sha256>/<name>/<the upload's paths>``.

    With `namespace` these paths begin with the store's own folder. Existing files are never
    overwritten. The same content under the same name is kept once, however many runs keep it. Paths
    that earlier versions recorded, ``sha256/...`` and ``<run>/<name>``, can still be read.

    Parameters
    ----------
    root
        The folder; created when it is first needed.
    recorded
        Returns the paths that the store has for a run and a name, in the order they were kept;
        None without a store.
    namespace
        Returns the path of the store's own folder below the root; None for the root itself.
    """

    def __init__(
        self, root: Path, recorded: Recorded | None = None, namespace: NamespacePath | None = None
    ) -> None:
        self.root = root
        self._namespace = _whole_root if namespace is None else namespace
        self._held: HeldFolder | None = None
        self._paths = PathsOfRuns(recorded)

    def put(self, run: str, upload: Upload) -> Artifact:
        """Write an upload's files and return the record of the artifact.

        Raises
        ------
        ArgumentError
            If a path is absolute, leaves its folder or is also a folder of another one, or if the
            file system rejects the name.
        StoreReadOnly
            If the folder cannot be written.
        StoreUnavailable
            If it cannot be written at the moment, such as on a full disk; the same call can
            succeed later.
        """
        check_paths(upload)
        digest = checksum(upload.files)
        namespace = self._namespace()
        path = self._paths.next(run, upload.name, digest, namespace)
        try:
            self._place(self.root / namespace, self.root.joinpath(*path.split("/")), upload.files)
        except (OSError, UnicodeEncodeError) as error:
            if isinstance(error, UnicodeError) or error.errno == errno.ENAMETOOLONG:
                raise ArgumentError(
                    f"artifact {upload.name!r} of run {run}: the file system takes no such name: "
                    f"{error}; give its files shorter names of printable characters"
                ) from error
            what = f"artifact {upload.name!r} of run {run}"
            raise of_writing(what, self.root, error) from error
        self._paths.add(run, upload.name, path)
        if self._held is None:
            self._held = HeldFolder(self.root / namespace / CONTENT)
        return record_of(run, upload, path, digest)

    def check_in_place(self) -> None:
        """Check that the folder written to since the store was opened is still in place.

        Raises
        ------
        StoreError
            If that folder was deleted or replaced.
        """
        if self._held is not None and not self._held.is_in_place():
            raise StoreError(
                f"the artifact folder {self._held.path} was deleted or replaced while this process "
                f"was using it: artifacts that the store names are gone; put the folder back from "
                f"a copy, or run these trials in a new study"
            )

    def read(self, artifact: Artifact) -> dict[str, bytes]:
        """Return an artifact's files by their relative paths.

        Nothing is read unless all files are regular and their total size is the recorded one.

        Raises
        ------
        ArtifactMissing
            If the files are not in this folder.
        ChecksumMismatch
            If the files differ from the recorded ones in any byte.
        StoreUnavailable
            If they cannot be read at the moment.
        StoreError
            If they cannot be read.
        """
        folder = self.root / artifact.path
        if not _is_inside(folder, self.root):
            raise ChecksumMismatch(
                f"artifact {artifact.name!r} is recorded at {artifact.path!r}, outside of "
                f"{self.root}; the record has been tampered with"
            )
        if not folder.is_dir():
            raise ArtifactMissing(
                f"artifact {artifact.name!r} of run {artifact.run} is not in {folder}"
            )
        try:
            files = _read_files(folder, artifact.size)
        except NotRegular as error:
            raise ChecksumMismatch(
                f"artifact {artifact.name!r} of run {artifact.run}: {error}; this was not kept by "
                f"tuner: delete it, or put the files back"
            ) from error
        except _OtherSize as error:
            raise ChecksumMismatch(
                f"artifact {artifact.name!r} in {folder} has {error.size} bytes, recorded were "
                f"{artifact.size}; the files have changed since, do not load them"
            ) from error
        except OSError as error:
            raise of_reading(f"artifact {artifact.name!r}", folder, error) from error
        if (found := checksum(files)) != artifact.sha256:
            raise ChecksumMismatch(
                f"artifact {artifact.name!r} in {folder} has the checksum {found[:12]}…, "
                f"recorded was {artifact.sha256[:12]}…; the files have changed since, "
                f"do not load them"
            )
        return files

    @property
    def recorded_root(self) -> Path:
        """The root, as the store records it."""
        return self.root

    def has_namespace(self, uid: str) -> bool:
        """Return whether a store has a namespace with that uid here."""
        return (self.root / STORES / uid).is_dir()

    def mark_shared(self, uid: str, by: str) -> None:
        """Mark that two databases may name files of a namespace; see `artifacts.namespaces`."""
        mark = self.root / f"{STORES}/{uid}.shared" / by
        try:
            mark.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise of_writing(
                f"the mark of a shared namespace, {mark.name},", self.root, error
            ) from error

    def is_shared(self, uid: str) -> bool:
        """Return whether a namespace is marked as shared."""
        return (self.root / f"{STORES}/{uid}.shared").is_dir()

    def _place(self, namespace: Path, target: Path, files: Mapping[str, bytes]) -> None:
        """Put the files into a folder atomically, unless the folder already holds them."""
        if _is_kept(target, files):
            return
        staged = namespace / CONTENT / f".new-{uuid7()}"
        staged.mkdir(parents=True)
        try:
            _write_files(staged, files)
            while True:
                try:
                    put_in_place(staged, target)
                    break
                except FileExistsError:
                    if _is_kept(target, files):
                        break  # another process was faster
                    with suppress(FileNotFoundError):  # or collected just now
                        target.rename(target.parent / f".new-{uuid7()}")  # damaged
            sync_folder(target.parent)
        finally:
            shutil.rmtree(staged, ignore_errors=True)


def _is_kept(target: Path, files: Mapping[str, bytes]) -> bool:
    """Return whether a folder holds these files; if so, mark it as new for `retention`."""
    try:
        # First: from here on the garbage collector sees that the folder is young, and restores it.
        os.utime(target)
        return _read_files(target, sum(map(len, files.values()))) == dict(files)
    except (FileNotFoundError, NotADirectoryError, NotRegular, _OtherSize):
        return False


def _whole_root() -> str:
    return ""


Recorded: TypeAlias = Callable[[str, str], list[str]]

NamespacePath: TypeAlias = Callable[[], str]

REMEMBERED = 1000
"""Number of (run, name) pairs whose paths are cached; for others the store is queried again."""


class PathsOfRuns:
    """Assigns the next artifact of a run and name a path that this pair has not had before.

    The path is derived from the content, so keeping the same content again gives the same record.
    If a run returns to an earlier content after a different one, the path gets a suffix,
    ``<name>~2``, and a new record, because the latest record counts.
    """

    def __init__(self, recorded: Recorded | None) -> None:
        self._recorded = recorded
        self._paths: OrderedDict[tuple[str, str], list[str]] = OrderedDict()
        self._lock = threading.Lock()

    def next(self, run: str, name: str, digest: str, namespace: str = "") -> str:
        """Return the path for a content, below the path of a namespace."""
        base = f"{CONTENT}/{digest[:2]}/{digest}/{safe_name(name)}"
        base = f"{namespace}/{base}" if namespace else base
        with self._lock:
            kept = self._of(run, name)
            if kept and kept[-1].partition("~")[0] == base:
                return kept[-1]
            # Not their number: garbage collection may have removed earlier ones.
            times = [
                int(end or 1) for path, _, end in (p.partition("~") for p in kept) if path == base
            ]
        return f"{base}~{max(times) + 1}" if times else base

    def add(self, run: str, name: str, path: str) -> None:
        """Remember a path that was written."""
        with self._lock:
            kept = self._of(run, name)
            if not kept or kept[-1] != path:
                kept.append(path)

    def _of(self, run: str, name: str) -> list[str]:
        key = (run, name)
        if key not in self._paths:
            self._paths[key] = [] if self._recorded is None else self._recorded(run, name)
        self._paths.move_to_end(key)
        while len(self._paths) > REMEMBERED:
            self._paths.popitem(last=False)
        return self._paths[key]


def record_of(run: str, upload: Upload, path: str, digest: str) -> Artifact:
    """Return the record of an upload that is kept at `path`."""
    return Artifact(
        name=upload.name,
        run=run,
        path=path,
        sha256=digest,
        size=sum(map(len, upload.files.values())),
        kind=upload.kind,
        format=upload.format,
        signature=upload.signature,
    )


def check_upload(upload: Upload) -> Upload:
    """Return a copy of an upload with plain strings and bytes, valid for the artifact folder.

    Raises
    ------
    ArgumentError
        If its name is not a string or too long, or a file's path or content cannot be kept.
    """
    for text, what in ((upload.name, "name"), (upload.kind, "kind"), (upload.format, "format")):
        if not isinstance(text, str):
            raise ArgumentError(
                f"artifact {upload.name!r:.60}: its {what} is not a string; write one"
            )
        check_length(text, "artifact")
    files: dict[str, bytes] = {}
    for path, content in upload.files.items():
        if not isinstance(path, str) or not isinstance(content, bytes | bytearray | memoryview):
            raise ArgumentError(
                f"artifact {upload.name!r}: {path!r:.60} holds a {type(content).__name__}; a "
                f"format gives bytes by relative paths"
            )
        if any(len(_encoded(part)) > LONGEST_PART for part in path.split("/")):
            raise ArgumentError(
                f"artifact {upload.name!r}: a part of the path {path[:40]!r}... has more than "
                f"{LONGEST_PART} bytes, which no file system takes; write a shorter one"
            )
        files[str.__str__(path)] = content if type(content) is bytes else bytes(content)
    plain = Upload(
        str.__str__(upload.name),
        files,
        str.__str__(upload.kind),
        str.__str__(upload.format),
        upload.signature,
    )
    check_paths(plain)
    return plain


def check_paths(upload: Upload) -> None:
    """Raise `ArgumentError` unless every file of an upload lies below the upload's folder."""
    for path in upload.files:
        bad = "\x00" in path or (os.name == "nt" and ("\\" in path or ":" in path))
        if bad or any(part in ("", ".", "..") for part in path.split("/")):
            raise ArgumentError(
                f"artifact {upload.name!r}: {path!r} is not the relative path of a file; "
                f"write it with / and without .., such as 'plots/roc.png'"
            )
        for parent in PurePosixPath(path).parents:
            if str(parent) in upload.files:
                raise ArgumentError(
                    f"artifact {upload.name!r}: {str(parent)!r} is a file and the folder of "
                    f"{path!r}; rename one"
                )


def _encoded(part: str) -> bytes:
    return part.encode("utf-8", "surrogatepass")


def checksum(files: Mapping[str, bytes]) -> str:
    """Return the SHA-256 over every file's relative path and content, in hex.

    Each is preceded by its length, so that different sets of files never give the same bytes.
    """
    digest = hashlib.sha256()
    for path in sorted(files):
        for part in (path.encode("utf-8", "surrogatepass"), files[path]):
            digest.update(len(part).to_bytes(8))
            digest.update(part)
    return digest.hexdigest()


def safe_name(name: str) -> str:
    """Return a valid file name for an artifact name; different names give different file names.

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


class _OtherSize(Exception):
    """The files have a total size other than the expected one; `size` is the actual total."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.size = size


def _read_files(folder: Path, size: int) -> dict[str, bytes]:
    """Return every file below `folder`; their total size must be `size` bytes.

    Raises
    ------
    NotRegular
        If the folder holds anything but regular files and folders.
    _OtherSize
        If the total size differs.
    OSError
        If they cannot be read.
    """
    found = list(regular_files(folder))
    if (total := sum(length for _, _, length in found)) != size:
        raise _OtherSize(total)
    # Read up to one byte more: a file that has grown in the meantime then fails the checksum.
    return {name: read_regular(path, length + 1) for name, path, length in found}


def _is_inside(folder: Path, root: Path) -> bool:
    try:
        return folder.resolve().is_relative_to(root.resolve())
    except (OSError, RuntimeError, ValueError):  # a loop of links, or a name with NUL
        return False


def _write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write the files and flush them to disk."""
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
