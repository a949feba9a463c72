"""Artifacts on a remote file system of fsspec: S3, Google Cloud Storage, SFTP, memory, ..."""

from __future__ import annotations

import posixpath
from typing import Any

from tuner.errors import (
    ArgumentError,
    ArtifactMissing,
    ChecksumMismatch,
    MissingExtra,
    TunerError,
)
from tuner.errors.credentials import hide_in, hide_url
from tuner.records import Artifact, Upload
from tuner.tracking.artifacts.file_failures import of_reading, of_writing
from tuner.tracking.artifacts.folder import (
    STORES,
    ArtifactFolder,
    NamespacePath,
    PathsOfRuns,
    Recorded,
    check_paths,
    checksum,
    record_of,
)
from tuner.tracking.uuid7 import uuid7

STAGED = ".new"
"""The folder of files that are being written."""


class RemoteArtifacts:
    """Keeps artifacts as `ArtifactFolder` does, below a URL.

    Each file is written under a temporary name and renamed, so that no reader sees a partial file.
    A record is written after its files, so that it never names missing files.

    Parameters
    ----------
    url
        The root, such as ``"s3://bucket/tuner"``; the package of its protocol must be installed.
    recorded
        As for `ArtifactFolder`.
    local
        The folder that an earlier configuration kept artifacts in, which is read as well.
    namespace
        As for `ArtifactFolder`.

    Raises
    ------
    ArgumentError
        If the protocol is unknown.
    MissingExtra
        If its package is not installed.
    """

    def __init__(
        self,
        url: str,
        recorded: Recorded | None,
        local: ArtifactFolder,
        namespace: NamespacePath | None = None,
    ) -> None:
        import fsspec

        try:
            self.fs, root = fsspec.core.url_to_fs(url)
        except ImportError as error:
            raise MissingExtra(f"TUNER_ARTIFACTS={url!r}: {error}") from error
        except Exception as error:  # each protocol raises its own error for an invalid URL
            hide_in(error)
            raise ArgumentError(f"TUNER_ARTIFACTS={url!r}: {error}") from error
        # For messages only; the file system has the credentials.
        self.url = hide_url(url)
        self.root = str(root).rstrip("/")
        self._namespace = namespace or (lambda: "")
        self._paths = PathsOfRuns(recorded)
        self._local = local

    def put(self, run: str, upload: Upload) -> Artifact:
        """Write an upload's files and return the artifact's record; see `ArtifactFolder.put`."""
        check_paths(upload)
        digest = checksum(upload.files)
        namespace = self._namespace()
        path = self._paths.next(run, upload.name, digest, namespace)
        try:
            # Written again even if it exists, which marks it as new for `retention`.
            for name, content in upload.files.items():
                self._write(namespace, f"{path}/{name}", content)
        except Exception as error:  # each protocol raises its own errors
            what = f"artifact {upload.name!r} of run {run}"
            raise of_writing(what, self.url, error) from error
        self._paths.add(run, upload.name, path)
        return record_of(run, upload, path, digest)

    def read(self, artifact: Artifact) -> dict[str, bytes]:
        """Return an artifact's files by their relative paths; see `ArtifactFolder.read`.

        Raises
        ------
        ArtifactMissing
            If the files do not exist.
        ChecksumMismatch
            If the files differ from the recorded ones in any byte.
        StoreUnavailable
            If the server cannot be reached.
        StoreError
            If it refuses to send them.
        """
        parts = artifact.path.split("/")
        if any(part in ("", ".", "..") for part in parts):
            raise ChecksumMismatch(
                f"artifact {artifact.name!r} is recorded at {artifact.path!r}, outside of "
                f"{self.url}; the record has been tampered with"
            )
        folder = posixpath.join(self.root, artifact.path)
        try:
            self.fs.invalidate_cache()
            if not self.fs.exists(folder) and (self._local.root / artifact.path).is_dir():
                return self._local.read(artifact)
            found = self.fs.find(folder, detail=True)
            if artifact.size and not found:
                raise ArtifactMissing(
                    f"artifact {artifact.name!r} of run {artifact.run} is not below {self.url}"
                )
            self._check_before_reading(artifact, found)
            files = {name[len(folder) :].lstrip("/"): self.fs.cat_file(name) for name in found}
        except TunerError:
            raise
        except Exception as error:  # each protocol raises its own errors
            what = f"artifact {artifact.name!r} of run {artifact.run}"
            raise of_reading(what, self.url, error) from error
        if checksum(files) != artifact.sha256:
            raise ChecksumMismatch(
                f"artifact {artifact.name!r} of run {artifact.run} below {self.url} is not what "
                f"was recorded: the files have changed or are gone, do not load them"
            )
        return files

    @property
    def recorded_root(self) -> str:
        """The root, as the store records it: without credentials."""
        protocol = self.fs.protocol
        # Some file systems keep the credentials of the URL in the root.
        return hide_url(f"{protocol if isinstance(protocol, str) else protocol[0]}://{self.root}")

    def has_namespace(self, uid: str) -> bool:
        """Return whether a store has a namespace with that uid here."""
        return self._is_there(posixpath.join(self.root, STORES, uid))

    def mark_shared(self, uid: str, by: str) -> None:
        """Mark that two databases may name files of a namespace; see `artifacts.namespaces`."""
        folder = posixpath.join(self.root, STORES, f"{uid}.shared")
        try:
            self._make_folder(folder)
            self.fs.pipe_file(posixpath.join(folder, by), b"shared")
        except Exception as error:  # each protocol raises its own errors
            raise of_writing(f"the mark of a shared namespace, {uid},", self.url, error) from error

    def is_shared(self, uid: str) -> bool:
        """Return whether a namespace is marked as shared."""
        return self._is_there(posixpath.join(self.root, STORES, f"{uid}.shared"))

    def _is_there(self, folder: str) -> bool:
        try:
            self.fs.invalidate_cache()
            return bool(self.fs.exists(folder))
        except Exception as error:  # each protocol raises its own errors
            raise of_reading("the namespace of a store", self.url, error) from error

    def _check_before_reading(self, artifact: Artifact, found: dict[str, dict[str, Any]]) -> None:
        """Raise unless these are regular files, if the protocol tells, of the artifact's size."""
        what = f"artifact {artifact.name!r} of run {artifact.run} below {self.url}"
        for name, details in found.items():
            if details.get("type", "file") != "file":
                raise ChecksumMismatch(
                    f"{what}: {name} is not a regular file, and was not written by tuner: delete "
                    f"it, or put the files back"
                )
        sizes: list[int] = [details.get("size", -1) for details in found.values()]
        if -1 not in sizes and None not in sizes and sum(sizes) != artifact.size:
            raise ChecksumMismatch(
                f"{what} is not what was recorded: it has {sum(sizes)} bytes, recorded were "
                f"{artifact.size}; the files have changed or are gone, do not load them"
            )

    def _write(self, namespace: str, path: str, content: bytes) -> None:
        target = posixpath.join(self.root, path)
        staged = posixpath.join(self.root, namespace, STAGED, uuid7())
        self._make_folder(posixpath.dirname(staged))
        self._make_folder(posixpath.dirname(target))
        self.fs.pipe_file(staged, content)
        self.fs.mv(staged, target)

    def _make_folder(self, folder: str) -> None:
        self.fs.makedirs(folder, exist_ok=True)

    def modified(self, path: str) -> float | None:
        """Return a file's modification time, in seconds since the epoch, None if it is unknown."""
        try:
            moment: Any = self.fs.modified(path)
        except (NotImplementedError, FileNotFoundError):
            return None
        return float(moment.timestamp())
