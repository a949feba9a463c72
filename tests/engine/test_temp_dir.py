"""The temporary folder of a trial is deleted after its process has ended, and not before."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tuner.engine.worker.files import LOCK, PREFIX, TempDir

OWNER = """
import sys, time
from tuner.engine.worker.files import TempDir
folder = TempDir()
path = folder.fresh()
path.mkdir()
print(path.parent, flush=True)
time.sleep(600)
"""


@pytest.fixture(autouse=True)
def temp_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


@pytest.fixture
def owner() -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """Another process that uses a folder."""
    process = subprocess.Popen([sys.executable, "-c", OWNER], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield process, Path(process.stdout.readline().strip())
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def folders() -> list[str]:
    return sorted(path.name for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"))


def test_a_folder_is_created_on_first_use_and_removed() -> None:
    folder = TempDir()
    assert folders() == []
    first, second = folder.fresh(), folder.fresh()
    assert first != second
    assert not first.exists()
    assert len(folders()) == 1
    folder.remove()
    assert folders() == []


@pytest.mark.process
def test_only_folders_of_dead_processes_are_removed(
    owner: tuple[subprocess.Popen[str], Path],
) -> None:
    process, path = owner
    first = TempDir()
    first.fresh()
    assert path.is_dir()
    os.kill(process.pid, signal.SIGSTOP)  # a frozen process lives as well
    TempDir().fresh()
    assert path.is_dir()
    process.kill()
    process.wait()
    TempDir().fresh()
    assert not path.exists()
    first.remove()


@pytest.mark.process
def test_a_process_id_of_another_namespace_does_not_matter(
    owner: tuple[subprocess.Popen[str], Path],
) -> None:
    _, path = owner
    # As another container would name it: by an id that no process here has.
    other = path.rename(path.with_name(f"{PREFIX}4194304-abc"))
    TempDir().fresh()
    assert other.is_dir()


def test_neither_links_nor_files_nor_unlocked_folders_are_touched(temp_dir: Path) -> None:
    home = temp_dir / "home"
    home.mkdir()
    (home / "thesis.txt").write_text("years of work")
    (home / LOCK).touch()
    (temp_dir / f"{PREFIX}link").symlink_to(home)
    (temp_dir / f"{PREFIX}file").touch()
    (temp_dir / f"{PREFIX}bare").mkdir()
    fifo = temp_dir / f"{PREFIX}fifo"
    fifo.mkdir()
    os.mkfifo(fifo / LOCK)
    linked = temp_dir / f"{PREFIX}linked"
    linked.mkdir()
    (linked / LOCK).symlink_to(home / LOCK)
    TempDir().fresh()
    assert (home / "thesis.txt").read_text() == "years of work"
    assert (temp_dir / f"{PREFIX}bare").is_dir()
    assert (linked / LOCK).is_symlink()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs root")
def test_the_folder_of_another_user_is_left_alone(temp_dir: Path) -> None:
    theirs = temp_dir / f"{PREFIX}theirs"
    theirs.mkdir()
    (theirs / LOCK).touch()
    os.chown(theirs, 65534, 65534)
    TempDir().fresh()
    assert (theirs / LOCK).exists()
