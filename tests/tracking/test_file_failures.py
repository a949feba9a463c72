"""Temporary and permanent errors of files, and their exceptions."""

from __future__ import annotations

import errno
import os
import resource
import signal
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import botocore.exceptions
import gcsfs.retry
import pytest

from tuner.errors import ArgumentError, StoreError, StoreReadOnly, StoreUnavailable
from tuner.records import CheckpointEnd, CheckpointPart, Upload
from tuner.tracking.artifacts.checkpoint_store import CheckpointStore
from tuner.tracking.artifacts.file_failures import is_passing, of_reading, of_writing
from tuner.tracking.artifacts.folder import ArtifactFolder, checksum

RUN = "0" * 32


def client_error(status: int) -> Exception:
    metadata = {"ResponseMetadata": {"HTTPStatusCode": status}, "Error": {"Code": "x"}}
    return botocore.exceptions.ClientError(metadata, "PutObject")


def numbered(number: int) -> OSError:
    return OSError(number, os.strerror(number))


@pytest.mark.parametrize(
    "error",
    [
        *map(numbered, (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.EMFILE)),
        ConnectionResetError(),
        TimeoutError(),
        socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"),
        aiohttp.ServerDisconnectedError(),
        botocore.exceptions.EndpointConnectionError(endpoint_url="http://s3"),
        botocore.exceptions.ReadTimeoutError(endpoint_url="http://s3"),
        client_error(503),
        client_error(429),
        gcsfs.retry.HttpError({"code": 500, "message": "try again"}),
        gcsfs.retry.HttpError({"code": "429", "message": "slower"}),
    ],
    ids=repr,
)
def test_temporary_errors_raise_store_unavailable(error: Exception) -> None:
    assert is_passing(error)
    assert type(of_writing("artifact 'm'", "/kept", error)) is StoreUnavailable
    assert type(of_reading("artifact 'm'", "/kept", error)) is StoreUnavailable


@pytest.mark.parametrize(
    "error",
    [
        *map(numbered, (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EINVAL)),
        FileNotFoundError("no such bucket"),
        botocore.exceptions.NoCredentialsError(),
        client_error(403),
        gcsfs.retry.HttpError({"code": 401, "message": "who are you"}),
        ssl.SSLCertVerificationError(1, "self-signed certificate"),
        NotImplementedError(),
    ],
    ids=repr,
)
def test_permanent_errors_raise_a_store_error(error: Exception) -> None:
    assert not is_passing(error)
    assert type(of_writing("artifact 'm'", "/kept", error)) is StoreReadOnly
    assert type(of_reading("artifact 'm'", "/kept", error)) is StoreError


def put_artifact(root: Path) -> object:
    return ArtifactFolder(root).put(RUN, Upload("m", {"f": b"1"}))


def put_checkpoint(root: Path) -> object:
    checkpoints = CheckpointStore(root, "study")
    checkpoints.add(0, "run", CheckpointPart(1, "f", b"1"))
    return checkpoints.keep(0, "run", CheckpointEnd(1, "0" * 64, 1))


@pytest.mark.parametrize("put", [put_artifact, put_checkpoint])
@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, StoreUnavailable),
        (errno.EDQUOT, StoreUnavailable),
        (errno.EIO, StoreUnavailable),
        (errno.EROFS, StoreReadOnly),
        (errno.EACCES, StoreReadOnly),
    ],
)
def test_local_and_remote_files_raise_the_same_error(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    put: Callable[[Path], object],
    number: int,
    kind: type[StoreError],
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise numbered(number)

    monkeypatch.setattr(Path, "mkdir", fail)
    with pytest.raises(StoreError, match="cannot be written") as caught:
        put(tmp_path / "artifacts")
    assert type(caught.value) is kind


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device that is always full")
def test_a_write_succeeds_after_a_full_disk_gets_space(tmp_path: Path) -> None:
    """The device refuses each byte with ENOSPC, as a full disk does."""
    folder = tmp_path / "checkpoints" / "study" / "0" / ".new-run"
    checkpoints = CheckpointStore(tmp_path, "study")
    checkpoints.add(0, "run", CheckpointPart(1, "a", b"1"))
    (folder / "b").symlink_to("/dev/full")
    with pytest.raises(StoreUnavailable, match="No space left"):
        checkpoints.add(0, "run", CheckpointPart(1, "b", b"1"))
    (folder / "b").unlink()
    checkpoints.add(0, "run", CheckpointPart(1, "b", b"1"))


def test_a_checkpoint_refused_by_a_full_disk_can_be_sent_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints = CheckpointStore(tmp_path, "study")
    content = b"1" * 10_000
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limit[1]))  # EFBIG after 1000 bytes
        with pytest.raises(StoreUnavailable, match="cannot be written"):
            checkpoints.add(0, "run", CheckpointPart(1, "f", content))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, previous)
    checkpoints.add(0, "run", CheckpointPart(1, "f", content))
    end = CheckpointEnd(1, checksum({"f": content}), len(content))
    real, failed = Path.rename, []

    def full_once(path: Path, target: Path) -> Path:
        if not failed:
            failed.append(path)
            raise numbered(errno.ENOSPC)
        return real(path, target)

    monkeypatch.setattr(Path, "rename", full_once)
    with pytest.raises(StoreUnavailable, match="No space left"):
        checkpoints.keep(0, "run", end)
    assert checkpoints.keep(0, "run", end) is not None


@pytest.mark.parametrize("path", ["a" * 300, "\ud800"])
def test_an_invalid_file_name_is_an_argument_error(tmp_path: Path, path: str) -> None:
    with pytest.raises(ArgumentError, match=r"'m' of run 0+: the file system takes no such name"):
        ArtifactFolder(tmp_path).put(RUN, Upload("m", {path: b"1"}))
