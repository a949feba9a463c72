from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuner.errors import ArgumentError, ChecksumMismatch, StoreReadOnly, StoreUnavailable
from tuner.records import Artifact, Upload
from tuner.tracking.artifacts.files import put_in_place
from tuner.tracking.artifacts.folder import ArtifactFolder, checksum, safe_name

RUN = "0" * 32


@pytest.fixture
def folder(tmp_path: Path) -> ArtifactFolder:
    return ArtifactFolder(tmp_path / "artifacts")


def test_different_content_of_one_name_is_stored_separately(folder: ArtifactFolder) -> None:
    kept = [folder.put(RUN, Upload("m", {"f": c})) for c in (b"1", b"2", b"2", b"1")]
    one, two = (f"sha256/{c[:2]}/{c}/m" for c in (kept[0].sha256, kept[1].sha256))
    assert [a.path for a in kept] == [one, two, two, f"{one}~2"]
    assert [folder.read(a) for a in kept] == [{"f": c} for c in (b"1", b"2", b"2", b"1")]
    other = folder.put(RUN, Upload("m~2", {"f": b"3"}))
    assert other.path.endswith(f"{other.sha256}/m%7E2")


def test_equal_content_of_two_runs_is_stored_once(folder: ArtifactFolder) -> None:
    first = folder.put(RUN, Upload("m", {"f": b"1"}))
    second = folder.put("1" * 32, Upload("m", {"f": b"1"}))
    assert first.path == second.path
    assert len(list(folder.root.rglob("f"))) == 1


def test_two_names_of_the_same_content_are_two_records(folder: ArtifactFolder) -> None:
    a, b = (folder.put(RUN, Upload(name, {"f": b"1"})) for name in "ab")
    assert a.path != b.path


def test_damaged_content_is_rewritten(folder: ArtifactFolder) -> None:
    artifact = folder.put(RUN, Upload("m", {"f": b"1"}))
    (folder.root / artifact.path / "f").write_bytes(b"2")
    assert folder.put("1" * 32, Upload("m", {"f": b"1"})).path == artifact.path
    assert folder.read(artifact) == {"f": b"1"}


def test_the_layout_of_earlier_versions_is_read(folder: ArtifactFolder) -> None:
    (folder.root / RUN / "m~2").mkdir(parents=True)
    (folder.root / RUN / "m~2" / "f").write_bytes(b"1")
    old = Artifact("m", RUN, f"{RUN}/m~2", checksum({"f": b"1"}), 1)
    assert folder.read(old) == {"f": b"1"}


def test_no_partial_files_are_left(folder: ArtifactFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreUnavailable, match="No space left"):
        folder.put(RUN, Upload("m", {"f": b"1"}))
    assert [p for p in folder.root.rglob("*") if p.name.startswith(".new") or p.is_file()] == []


def test_a_root_that_cannot_be_created_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreReadOnly, match="cannot be written below"):
        ArtifactFolder(tmp_path / "file").put(RUN, Upload("m", {"f": b""}))


def test_written_files_are_readable_by_other_users(folder: ArtifactFolder) -> None:
    previous = os.umask(0o022)
    try:
        artifact = folder.put(RUN, Upload("m", {"f": b"1"}))
    finally:
        os.umask(previous)
    assert (folder.root / artifact.path).stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize(
    "files",
    [
        {"/a": b""},
        {"..": b""},
        {"a/../b": b""},
        {"./a": b""},
        {"a/": b""},
        {"": b""},
        {"a\x00b": b""},
        {"a": b"", "a/b": b""},
    ],
)
def test_bad_paths_are_refused(folder: ArtifactFolder, files: dict[str, bytes]) -> None:
    with pytest.raises(ArgumentError, match="'m'"):
        folder.put(RUN, Upload("m", files))
    assert not folder.root.exists()


@pytest.mark.skipif(os.name != "posix", reason="other systems have other names")
@pytest.mark.parametrize("files", [{}, {"a\\b": b"1"}, {"12:30": b"1"}, {"\udcff ☃": b"1"}])
def test_valid_paths_round_trip(folder: ArtifactFolder, files: dict[str, bytes]) -> None:
    artifact = folder.put(RUN, Upload("m", files))
    assert folder.read(artifact) == files
    assert folder.put(RUN, Upload("m", files)) == artifact


def test_every_change_is_detected(folder: ArtifactFolder) -> None:
    artifact = folder.put(RUN, Upload("m", {"a": b"1", "b/c": b"2"}))
    place = folder.root / artifact.path

    def broken() -> bool:
        with pytest.raises(ChecksumMismatch):
            folder.read(artifact)
        return True

    (place / "new").touch()
    assert broken()
    (place / "new").unlink()
    (place / "b" / "c").rename(place / "c")
    assert broken()
    (place / "c").rename(place / "b" / "c")
    (place / "a").unlink()
    (place / "a").symlink_to(place / "b" / "c")
    assert broken()
    (place / "a").unlink()
    assert broken()
    (place / "a").write_bytes(b"1")
    assert folder.read(artifact) == {"a": b"1", "b/c": b"2"}


def test_missing_files_are_an_error(folder: ArtifactFolder) -> None:
    with pytest.raises(ChecksumMismatch, match="is not in"):
        folder.read(Artifact("m", RUN, f"{RUN}/m", "0" * 64, 1))


@pytest.mark.parametrize("path", ["../secret", "/etc", "a/../../secret"])
def test_a_record_that_leads_outside_is_not_followed(folder: ArtifactFolder, path: str) -> None:
    (folder.root.parent / "secret").mkdir()
    with pytest.raises(ChecksumMismatch, match="tampered"):
        folder.read(Artifact("m", RUN, path, checksum({}), 0))


def test_the_checksum_depends_on_file_boundaries() -> None:
    assert checksum({"a": b"bc"}) != checksum({"ab": b"c"})
    assert checksum({"a": b"", "b": b""}) != checksum({"a": b"b"})
    assert checksum({"a": b"1", "b": b"2"}) == checksum({"b": b"2", "a": b"1"})


@given(st.text(max_size=300), st.text(max_size=300))
def test_safe_names_are_valid_and_distinct(a: str, b: str) -> None:
    safe = safe_name(a)
    assert 0 < len(safe) <= 200
    assert not {*safe} & {"/", "\\", "\x00", "~", ":"}
    assert not safe.startswith(".")
    assert (safe == safe_name(b)) == (a == b)


@pytest.mark.parametrize("moment", ["is_dir", "rename"])  # while the parent is made, and after it
def test_a_folder_is_placed_while_its_empty_parent_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    source, target = tmp_path / "new", tmp_path / "a" / "b" / "c"
    source.mkdir()
    target.parent.mkdir(parents=True)
    real, removed = getattr(Path, moment), []

    def after_removal(path: Path, *args: Path) -> Any:
        if not removed and path in (source, target.parent):
            removed.append(target.parent)
            target.parent.rmdir()
        return real(path, *args)

    monkeypatch.setattr(Path, moment, after_removal)
    put_in_place(source, target)
    monkeypatch.undo()
    assert removed
    assert target.is_dir()


@pytest.mark.parametrize("there", ["file", "folder", "link"])
def test_placing_a_folder_never_overwrites_another(tmp_path: Path, there: str) -> None:
    source, target = tmp_path / "new", tmp_path / "a" / "b"
    source.mkdir()
    target.parent.mkdir()
    if there == "file":
        target.write_text("kept")
    elif there == "link":
        target.symlink_to(tmp_path / "nowhere")
    else:
        target.mkdir()
        (target / "kept").touch()
    with pytest.raises(FileExistsError):
        put_in_place(source, target)
    assert source.is_dir()
    assert os.path.lexists(target)


@pytest.mark.parametrize("there", ["file", "link"])
def test_a_file_at_the_path_of_a_folder_is_an_error(folder: ArtifactFolder, there: str) -> None:
    upload = Upload("m", {"f": b"1"})
    parent = (folder.root / folder.put(RUN, upload).path).parent
    shutil.rmtree(parent)
    if there == "file":
        parent.write_text("in the way")
    else:
        parent.symlink_to(parent.parent / "nowhere")
    with pytest.raises(StoreReadOnly, match="Not a directory"):
        folder.put("1" * 32, upload)
    assert os.path.lexists(parent)


def test_placing_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        put_in_place(tmp_path / "new", tmp_path / "a" / "b")
