"""Temporary folders in a directory that is shared with containers and other users."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tuner.engine.worker.files import TempDir

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no flock")

OWNER = """
import sys, time
from tuner.engine.worker.files import TempDir
scratch = TempDir()
folder = scratch.fresh()
folder.mkdir()
(folder / "state").write_text("alive")
print(folder, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return folder


class Owner:
    """A process that has a scratch folder, perhaps in a separate process namespace."""

    def __init__(self, *prefix: str) -> None:
        self.process = subprocess.Popen(
            [*prefix, sys.executable, "-c", OWNER], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True,
        )  # fmt: skip
        assert self.process.stdout is not None
        self.folder = Path(self.process.stdout.readline().strip())

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def owner(shared: Path) -> Iterator[Owner]:
    owner = Owner()
    yield owner
    owner.end()


def look_round() -> None:
    """Make and remove a scratch folder, which removes those that were left."""
    scratch = TempDir()
    scratch.fresh()
    scratch.remove()


@pytest.mark.process
def test_the_folder_of_a_live_process_is_kept(owner: Owner) -> None:
    look_round()
    assert (owner.folder / "state").read_text() == "alive"


@pytest.mark.process
def test_the_folder_of_a_frozen_process_is_kept(owner: Owner) -> None:
    owner.process.send_signal(signal.SIGSTOP)
    look_round()
    assert (owner.folder / "state").exists()


@pytest.mark.process
def test_the_folder_of_a_killed_process_is_removed(owner: Owner) -> None:
    owner.end()
    assert owner.folder.parent.exists()
    look_round()
    assert not owner.folder.parent.exists()


def can_unshare() -> bool:
    command = ["unshare", "--pid", "--fork", "--mount-proc", "true"]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


@pytest.mark.process
@pytest.mark.skipif(not can_unshare(), reason="this user may not make process namespaces")
@pytest.mark.usefixtures("shared")
def test_a_container_keeps_the_folder_of_another() -> None:
    contained = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")
    first = Owner(*contained)
    second = Owner(*contained)  # looks round as it begins
    look_round()
    assert (first.folder / "state").exists()
    assert (second.folder / "state").exists()
    first.end()
    look_round()
    assert not first.folder.parent.exists()
    assert (second.folder / "state").exists()
    second.end()


def test_a_folder_with_an_unknown_owner_is_kept(shared: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / ".lock").touch()
    (precious / "file").touch()
    (shared / "tuner-scratch-link").symlink_to(precious)
    old = shared / "tuner-scratch-4194000-old"  # by an earlier version, named for a process
    old.mkdir()
    linked = shared / "tuner-scratch-linked"
    linked.mkdir()
    (linked / ".lock").symlink_to(precious / "file")
    (shared / "tuner-scratch-file").touch()
    before = sorted(shared.iterdir())
    look_round()
    assert sorted(shared.iterdir()) == before
    assert (precious / "file").exists()


@pytest.mark.process
def test_a_link_in_an_abandoned_folder_is_not_followed(owner: Owner, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").touch()
    (owner.folder / "link").symlink_to(precious)
    owner.end()
    look_round()
    assert not owner.folder.parent.exists()
    assert (precious / "file").exists()


@pytest.mark.process
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to another user")
def test_the_folder_of_another_user_is_left_alone(owner: Owner) -> None:
    owner.end()
    os.chown(owner.folder.parent, 65534, 65534)
    look_round()
    assert owner.folder.exists()


@pytest.mark.process
@pytest.mark.usefixtures("shared")
def test_a_forked_child_has_its_own_folder() -> None:
    scratch = TempDir()
    first = scratch.fresh()
    first.mkdir()

    def child() -> None:
        own = scratch.fresh()
        own.mkdir()
        assert own.parent != first.parent
        scratch.remove()
        assert not own.exists()

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join()
    assert process.exitcode == 0
    assert first.exists()
    scratch.fresh().mkdir()
    scratch.remove()
    assert not first.parent.exists()


def look_round_often(folder: str) -> None:
    tempfile.tempdir = folder
    for _ in range(150):
        scratch = TempDir()
        mine = scratch.fresh()
        mine.mkdir()
        assert mine.exists()
        scratch.remove()


@pytest.mark.process
def test_concurrent_processes_create_and_remove_folders(shared: Path) -> None:
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=look_round_often, args=(str(shared),)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 4
    assert list(shared.iterdir()) == []
