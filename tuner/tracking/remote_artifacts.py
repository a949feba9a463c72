"""Artifacts on a file system that fsspec reaches: S3, Google Cloud Storage, SFTP, memory, ..."""

from __future__ import annotations

import posixpath
from typing import Any

from tuner.credentials import hide_in, hide_url
from tuner.errors import ArgumentError, ChecksumMismatch, MissingExtra, StoreReadOnly
from tuner.records import Artifact, Upload
from tuner.tracking.artifacts import (
    ArtifactFolder,
    PathsOfRuns,
    Recorded,
    check_paths,
    checksum,
    record_of,
)
from tuner.tracking.uuid7 import uuid7

STAGED = ".new"
"""The folder of what is being written."""


class RemoteArtifacts:
    """Keeps artifacts as `ArtifactFolder` does, below a URL.

    Each file is written under another name and renamed, so that no reader sees half of one. A
    record is written after its files, so that it never names what is not there.

    Parameters
    ----------
    url
        Where to, such as ``"s3://bucket/tuner"``; the package of its protocol must be installed.
    recorded
        As for `ArtifactFolder`.
    local
        The folder that an earlier configuration kept artifacts in, which is read as well.

    Raises
    ------
    ArgumentError
        If there is no such protocol.
    MissingExtra
        If its package is not installed.
    """

    def __init__(self, url: str, recorded: Recorded | None, local: ArtifactFolder) -> None:
        import fsspec

        try:
            self.fs, root = fsspec.core.url_to_fs(url)
        except ImportError as error:
            raise MissingExtra(f"TUNER_ARTIFACTS={url!r}: {error}") from error
        except Exception as error:  # each protocol has its own for a URL that it cannot read
            hide_in(error)
            raise ArgumentError(f"TUNER_ARTIFACTS={url!r}: {error}") from error
        # For messages; what reads and writes has the credentials.
        self.url = hide_url(url)
        self.root = str(root).rstrip("/")
        self._paths = PathsOfRuns(recorded)
        self._local = local

    def put(self, run: str, upload: Upload) -> Artifact:
        """Write an upload's files and return what to record; as `ArtifactFolder.put`."""
        check_paths(upload)
        digest = checksum(upload.files)
        path = self._paths.next(run, upload.name, digest)
        try:
            # Written again even if it is there, which makes it young for `retention`.
            for name, content in upload.files.items():
                self._write(f"{path}/{name}", content)
        except Exception as error:  # each protocol has its own
            raise StoreReadOnly(
                f"artifact {upload.name!r} of run {run} cannot be written below {self.url}: "
                f"{error}; see that it can be reached and written, or unset TUNER_ARTIFACTS"
            ) from error
        self._paths.add(run, upload.name, path)
        return record_of(run, upload, path, digest)

    def read(self, artifact: Artifact) -> dict[str, bytes]:
        """Return an artifact's files by their relative paths; as `ArtifactFolder.read`.

        Raises
        ------
        ChecksumMismatch
            If they are not byte for byte what was recorded.
        """
        parts = artifact.path.split("/")
        if any(part in ("", ".", "..") for part in parts):
            raise ChecksumMismatch(
                f"artifact {artifact.name!r} is recorded at {artifact.path!r}, outside of "
                f"{self.url}; the record has been tampered with"
            )
        folder = posixpath.join(self.root, artifact.path)
        self.fs.invalidate_cache()
        if not self.fs.exists(folder) and (self._local.root / artifact.path).is_dir():
            return self._local.read(artifact)
        names = self.fs.find(folder)
        files = {name[len(folder) :].lstrip("/"): self.fs.cat_file(name) for name in names}
        if checksum(files) != artifact.sha256:
            raise ChecksumMismatch(
                f"artifact {artifact.name!r} of run {artifact.run} below {self.url} is not what "
                f"was recorded: the files have changed or are gone, do not load them"
            )
        return files

    def _write(self, path: str, content: bytes) -> None:
        target = posixpath.join(self.root, path)
        staged = posixpath.join(self.root, STAGED, uuid7())
        self._make_folder(posixpath.dirname(staged))
        self._make_folder(posixpath.dirname(target))
        self.fs.pipe_file(staged, content)
        self.fs.mv(staged, target)

    def _make_folder(self, folder: str) -> None:
        self.fs.makedirs(folder, exist_ok=True)

    def modified(self, path: str) -> float | None:
        """Return when a file was written, in seconds since the epoch, None if nobody knows."""
        try:
            moment: Any = self.fs.modified(path)
        except (NotImplementedError, FileNotFoundError):
            return None
        return float(moment.timestamp())
