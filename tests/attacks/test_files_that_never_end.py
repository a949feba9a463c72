"""Reading a pipe, socket, device, endless file or symlink loop fails at once, with a reason."""

from __future__ import annotations

import multiprocessing
import os
import resource
import socket
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tuner
from tuner.engine.worker.files import copy_checkpoint, read_files, send_checkpoint
from tuner.errors import ChecksumMismatch, TunerError
from tuner.provenance.capture import fingerprint
from tuner.records import Artifact, CheckpointEnd, CheckpointPart, Upload
from tuner.tracking import open_store
from tuner.tracking.artifacts.checkpoint_store import CheckpointStore
from tuner.tracking.artifacts.folder import ArtifactFolder
from tuner.tracking.database import maintenance

pytestmark = pytest.mark.skipif(os.name != "posix", reason="other systems have no such files")

TERABYTE = 2**40
ROOM = 2 * 2**30
"""Bytes of memory that reading may take beyond what the process has."""


def fifo(path: Path) -> None:
    os.mkfifo(path)


def bound_socket(path: Path) -> None:
    here = os.getcwd()
    os.chdir(path.parent)  # its path may be too long for a socket
    try:
        socket.socket(socket.AF_UNIX).bind(path.name)
    finally:
        os.chdir(here)


def link_to_zero(path: Path) -> None:
    path.symlink_to("/dev/zero")


def device(path: Path) -> None:
    try:
        os.mknod(path, 0o020666, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("needs root")


def loop(path: Path) -> None:
    path.symlink_to(path.name)


def folder_loop(path: Path) -> None:
    path.symlink_to("..", target_is_directory=True)


def sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(TERABYTE)


SPECIAL = [fifo, bound_socket, link_to_zero, device, loop, folder_loop]
ENDLESS = [*SPECIAL, sparse]


def _report(call: Callable[[], Any], answer: Any) -> None:
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + ROOM, size + ROOM))
    try:
        call()
        answer.send("nothing")
    except BaseException as error:
        answer.send(f"{type(error).__name__}: {error}\n{traceback.format_exc()}")


def outcome(call: Callable[[], Any], seconds: float = 20.0) -> str:
    """Return name and message of the call's exception; it must end soon and take no memory."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    process = context.Process(target=_report, args=(call, theirs))
    process.start()
    theirs.close()
    try:
        assert ours.poll(seconds), "it hangs"
        return str(ours.recv())
    finally:
        process.kill()
        process.join()


@pytest.fixture
def kept(tmp_path: Path) -> tuple[ArtifactFolder, Artifact, Path]:
    folder = ArtifactFolder(tmp_path / "artifacts")
    artifact = folder.put("0" * 32, Upload("model", {"a": b"1", "b/c": b"2"}))
    return folder, artifact, folder.root / artifact.path


@pytest.mark.process
@pytest.mark.parametrize("make", ENDLESS)
@pytest.mark.parametrize("place", ["a", "b/c", "new", "b/new"])
def test_a_special_file_in_an_artifact_is_an_error(
    kept: tuple[ArtifactFolder, Artifact, Path], make: Callable[[Path], None], place: str
) -> None:
    folder, artifact, where = kept
    (where / place).unlink(missing_ok=True)
    make(where / place)
    assert outcome(lambda: folder.read(artifact)).startswith("ChecksumMismatch: artifact 'model'")


@pytest.mark.process
@pytest.mark.parametrize("make", ENDLESS)
def test_an_artifact_saved_again_is_repaired(
    kept: tuple[ArtifactFolder, Artifact, Path], make: Callable[[Path], None]
) -> None:
    folder, artifact, where = kept
    (where / "a").unlink()
    make(where / "a")
    files = {"a": b"1", "b/c": b"2"}
    assert outcome(lambda: folder.put("1" * 32, Upload("model", files))) == "nothing"
    assert folder.read(artifact) == files


@pytest.mark.process
@pytest.mark.parametrize("make", SPECIAL)
def test_a_special_file_in_place_of_an_artifact_is_an_error(
    kept: tuple[ArtifactFolder, Artifact, Path], make: Callable[[Path], None]
) -> None:
    folder, artifact, where = kept
    where.rename(where.with_name("aside"))
    make(where)
    found = outcome(lambda: folder.read(artifact))
    assert found.startswith(("ArtifactMissing: ", "ChecksumMismatch: ", "StoreError: ")), found


def searched(folder: Path) -> tuple[tuner.Study, Path]:
    def objective(params, trial):
        trial.log_model({"x": params["x"]}, format="json")
        return params["x"]

    study = tuner.optimize(
        objective, {"x": tuner.Float(0, 1)}, n_trials=1, backend="serial", store=folder,
        study="s", register="m", progress=False, seed=0,
    )  # fmt: skip
    [artifact] = study.artifacts()
    return study, study.store.artifact_root / artifact.path


@pytest.mark.process
@pytest.mark.parametrize("make", [fifo, sparse])
def test_every_reader_of_artifacts_refuses_special_files(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    _, where = searched(tmp_path)
    [file] = [p for p in where.iterdir() if p.is_file()]
    file.unlink()
    make(file)
    assert outcome(lambda: tuner.load_model("m@champion", store=tmp_path)).startswith("Checksum")

    def check() -> None:
        [said] = maintenance.check(tmp_path)
        raise ChecksumMismatch(said)

    assert "artifact 'model'" in outcome(check)


@pytest.mark.process
@pytest.mark.parametrize("make", SPECIAL)
@pytest.mark.parametrize("deep", ["", "a/b"])
def test_a_special_file_in_a_logged_folder_is_refused(
    tmp_path: Path, make: Callable[[Path], None], deep: str
) -> None:
    (tmp_path / "plots" / deep).mkdir(parents=True)
    (tmp_path / "plots" / deep / "a.txt").write_text("1")
    make(tmp_path / "plots" / deep / "odd")
    found = outcome(lambda: read_files(tmp_path / "plots"))
    assert found.startswith("ArgumentError: trial.log_artifact: "), found
    assert "odd" in found.splitlines()[0]


@pytest.mark.process
@pytest.mark.parametrize("make", ENDLESS)
def test_a_logged_special_file_is_refused(tmp_path: Path, make: Callable[[Path], None]) -> None:
    if make is folder_loop:
        pytest.skip("a link to a folder is that folder")
    make(tmp_path / "odd")
    found = outcome(lambda: read_files(tmp_path / "odd"))
    assert found.startswith("ArgumentError: trial.log_artifact: "), found


def test_links_and_files_of_size_zero_are_stored(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a").write_bytes(b"1")
    (tmp_path / "plots").mkdir()
    (tmp_path / "plots" / "file").symlink_to(tmp_path / "data" / "a")
    (tmp_path / "plots" / "folder").symlink_to(tmp_path / "data")
    assert read_files(tmp_path / "plots") == {"file": b"1", "folder/a": b"1"}
    if os.path.exists("/proc/self/status"):
        assert b"Name:" in read_files(Path("/proc/self/status"))["status"]


@pytest.mark.process
def test_a_trial_with_a_refused_artifact_keeps_its_value(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    def objective(params, trial):
        if trial.number == 1:
            trial.log_artifact(tmp_path / "pipe")
        return params["x"]

    def search() -> None:
        study = tuner.optimize(
            objective, {"x": tuner.Float(0, 1)}, n_trials=3, backend="serial", seed=0,
            store=tmp_path / "store", study="s", progress=False,
        )  # fmt: skip
        states = [str(t.state.value) for t in study.trials]
        raise TunerError(f"{states} {study.trials[1].error}")

    found = outcome(search)
    assert "['completed', 'completed', 'completed'] NotSaved" in found
    assert "is a named pipe (FIFO)" in found


class _Channel:
    worker = "w"

    def __init__(self) -> None:
        self.sent: list[Any] = []

    def send(self, message: Any) -> None:
        self.sent.append(message)

    def stop_requested(self) -> bool:
        return False


@pytest.mark.process
@pytest.mark.parametrize("make", SPECIAL)
def test_a_special_file_in_a_checkpoint_is_refused(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "state").write_bytes(b"1")
    make(tmp_path / "saved" / "odd")
    found = outcome(lambda: send_checkpoint(tmp_path / "saved", 1, _Channel()))
    assert found.startswith("ArgumentError: trial.checkpoint: "), found


@pytest.mark.process
@pytest.mark.parametrize("make", ENDLESS)
def test_a_special_file_in_a_stored_checkpoint_is_an_error(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "state").write_bytes(b"1")
    channel = _Channel()
    send_checkpoint(tmp_path / "saved", 1, channel)
    checkpoints = CheckpointStore(tmp_path / "store", "study")
    for message in channel.sent:
        if isinstance(message, CheckpointPart):
            checkpoints.add(0, "run", message)
        elif isinstance(message, CheckpointEnd):
            checkpoints.keep(0, "run", message)
    checkpoint = checkpoints.latest(0)
    assert checkpoint is not None
    Path(checkpoint.folder, "state").unlink()
    make(Path(checkpoint.folder, "state"))

    def restore() -> None:
        with pytest.warns(UserWarning, match="cannot be used"):
            assert not copy_checkpoint(checkpoint, tmp_path / "back")

    assert outcome(restore) == "nothing"


@pytest.mark.process
@pytest.mark.parametrize("make", [fifo, bound_socket, link_to_zero, device, loop])
def test_a_special_file_as_data_is_refused(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "odd")
    assert outcome(lambda: fingerprint(tmp_path / "odd")).startswith("ArgumentError: data: ")
    (tmp_path / "a").write_text("1")
    assert outcome(lambda: fingerprint(tmp_path)) == "nothing"


@pytest.mark.process
@pytest.mark.parametrize("make", [fifo, bound_socket, link_to_zero, device])
def test_a_special_file_as_a_database_is_refused(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    make(tmp_path / "tuner.db")
    found = outcome(lambda: open_store(tmp_path).find_study("s"))
    assert found.startswith("StoreCorrupt: "), found
    found = outcome(lambda: open_store(f"sqlite:///{tmp_path}/tuner.db").find_study("s"))
    assert found.startswith("StoreCorrupt: "), found
