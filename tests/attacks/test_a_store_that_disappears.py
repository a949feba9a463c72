"""Deleting, replacing or truncating the store during a search ends it with a `StoreError`."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

import tuner
from tuner import Float
from tuner.engine import writer
from tuner.errors import StoreError, StoreReadOnly, StoreUnavailable
from tuner.records import Goal, StudyInfo, Upload
from tuner.tracking import open_store
from tuner.tracking.artifacts.folder import ArtifactFolder
from tuner.tracking.artifacts.retention import collect
from tuner.tracking.database import file_monitor, maintenance
from tuner.tracking.lease import new_lease_owner

pytestmark = pytest.mark.skipif(os.name != "posix", reason="open files cannot be deleted there")

SPACE = {"x": tuner.Float(0, 1)}


def search(store: Path | str, objective: Callable[..., float], n: int = 6, **how: Any) -> Any:
    return tuner.optimize(
        objective, SPACE, n_trials=n, backend="serial", optimizer="random", seed=1, study="s",
        store=store, progress=False, register=False, **how,
    )  # fmt: skip


def harmless(params: dict[str, float]) -> float:
    return params["x"]


def delete_file(folder: Path) -> None:
    (folder / "tuner.db").unlink()


def delete_folder(folder: Path) -> None:
    shutil.rmtree(folder)


def recreate_folder(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


def move_folder(folder: Path) -> None:
    folder.rename(folder.with_name("elsewhere"))


def replace_by_another_store(folder: Path) -> None:
    (folder.parent / "other" / "tuner.db").rename(folder / "tuner.db")


def overwrite_with_another_store(folder: Path) -> None:
    shutil.copyfile(folder.parent / "other" / "tuner.db", folder / "tuner.db")


def overwrite_with_text(folder: Path) -> None:
    (folder / "tuner.db").write_text("hello " * 10_000)


def truncate(folder: Path) -> None:
    os.truncate(folder / "tuner.db", 0)


def truncate_to_half(folder: Path) -> None:
    os.truncate(folder / "tuner.db", os.path.getsize(folder / "tuner.db") // 8192 * 4096)


def delete_log(folder: Path) -> None:
    (folder / "tuner.db-wal").unlink()


def delete_shared_memory(folder: Path) -> None:
    (folder / "tuner.db-shm").unlink()


def delete_all_files(folder: Path) -> None:
    for file in folder.glob("tuner.db*"):
        file.unlink()


ATTACKS = [
    delete_file,
    delete_folder,
    recreate_folder,
    move_folder,
    replace_by_another_store,
    overwrite_with_another_store,
    overwrite_with_text,
    truncate,
    truncate_to_half,
    delete_log,
    delete_shared_memory,
    delete_all_files,
]


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two stores of one study each, whose files hold all of it."""
    place = tmp_path_factory.mktemp("stores")
    for name in ("store", "other"):
        search(place / name, harmless, 2).store.close()
        with closing(sqlite3.connect(place / name / "tuner.db")) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return place


@pytest.fixture
def folder(stores: Path, tmp_path: Path) -> Path:
    """A store, with another one beside it."""
    shutil.copytree(stores, tmp_path / "stores")
    return tmp_path / "stores" / "store"


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("at", [3, 5])  # in the midst, and in the very last trial
def test_a_search_ends_if_its_store_is_deleted(
    folder: Path, attack: Callable[[Path], None], at: int
) -> None:
    def objective(params: dict[str, float], trial: tuner.Trial) -> float:
        if trial.number == at:
            time.sleep(0.2)  # earlier records are committed
            attack(folder)
        return params["x"]

    with pytest.raises(StoreError, match=r"store .*tuner\.db .* while this process was using it"):
        search(folder, objective)


def checked_for(watching: writer.Writer, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        watching.check()
        time.sleep(0.05)


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.slow
def test_an_idle_session_detects_a_deleted_store_within_seconds(
    folder: Path, attack: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "CHECK_INTERVAL", 0.1)
    store = open_store(folder)
    info = store.find_study("s")
    assert info is not None
    watching = writer.Writer(store, store.acquire_lease(info, new_lease_owner(), 60.0))
    watching.flush()
    attack(folder)
    with pytest.raises(StoreError, match="while this process was using it"):
        checked_for(watching, 5.0)
    with pytest.raises(StoreError):
        watching.close()


@pytest.mark.parametrize("attack", ATTACKS)
def test_ask_and_tell_fail_if_the_store_is_deleted(
    folder: Path, attack: Callable[[Path], None]
) -> None:
    study = tuner.create_study(SPACE, study="s", store=folder, load_if_exists=True)
    first = study.ask()
    study.tell(first, 1.0)
    attack(folder)
    with pytest.raises(StoreError, match="while this process was using it"):
        study.tell(study.ask(), 1.0)


def test_a_replacement_store_is_not_written_to(folder: Path) -> None:
    other = folder.parent / "other"
    before = (other / "tuner.db").read_bytes()

    def objective(params: dict[str, float], trial: tuner.Trial) -> float:
        if trial.number == 3:
            replace_by_another_store(folder)
        return params["x"]

    with pytest.raises(StoreError):
        search(folder, objective, 20)
    assert (folder / "tuner.db").read_bytes() == before


@pytest.mark.process
def test_the_log_of_a_replacement_store_is_not_deleted(folder: Path) -> None:
    """SQLite's last connection deletes the log at its path, unless the file has moved."""
    script = """
import sys, tuner
from tuner.errors import StoreError
study = tuner.create_study({"x": tuner.Float(0, 1)}, study="s", store=sys.argv[1],
                           load_if_exists=True)
study.tell(study.ask(), 1.0)
print("ready", flush=True)
input()
try:
    study.ask()
except StoreError:
    study.store.close()
    print("noticed", flush=True)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    for file in folder.glob("tuner.db*"):
        file.unlink()
    replace_by_another_store(folder)
    study = tuner.create_study(SPACE, study="s", store=folder, load_if_exists=True)
    study.tell(study.ask(), 1.0)
    log = (folder / "tuner.db-wal").stat().st_ino
    assert process.communicate("go\n", timeout=120)[0] == "noticed\n"
    assert process.returncode == 0
    assert (folder / "tuner.db-wal").stat().st_ino == log
    study.tell(study.ask(), 1.0)


@pytest.mark.process
def test_checking_a_file_releases_no_locks(folder: Path) -> None:
    """Closing any descriptor of a file drops the locks that SQLite has on it in this process."""
    stores = {}
    for name in "ab":
        shutil.copy(folder / "tuner.db", folder / f"{name}.db")
        stores[name] = open_store(folder / f"{name}.db")
        with stores[name].writing() as connection:
            connection.execute(text("UPDATE studies SET data = 'x'"))
    collect(stores["a"])  # which asks the other one
    for name, store in stores.items():
        assert open_store(folder / f"{name}.db").find_study("s") is not None
        store.check_in_place()
    for name in stores:
        log = (folder / f"{name}.db-wal").stat().st_ino
        script = (
            "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); "
            "print(c.execute('SELECT count(*) FROM studies').fetchone()); c.close()"
        )
        subprocess.run([sys.executable, "-c", script, folder / f"{name}.db"], check=True)
        assert (folder / f"{name}.db-wal").stat().st_ino == log, "it was not the last one"


def test_commits_in_a_deleted_log_are_not_lost(folder: Path) -> None:
    study = tuner.create_study(SPACE, study="s", store=folder, load_if_exists=True)
    for value in range(3):
        study.tell(study.ask(), float(value))
    delete_log(folder)
    with pytest.raises(StoreError, match=r"tuner\.db-wal"):
        study.ask()
    assert len(tuner.load_study("s", store=folder).trials) >= 5
    assert list(maintenance.check(folder)) == []


def keeps(params: dict[str, float], trial: tuner.Trial) -> float:
    trial.log_model({"x": params["x"]}, format="json")
    return params["x"]


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("at", [3, 5])
def test_a_search_ends_if_its_artifact_folder_is_deleted(
    folder: Path, again: bool, at: int
) -> None:
    def objective(params: dict[str, float], trial: tuner.Trial) -> float:
        if trial.number == at:
            time.sleep(0.2)
            shutil.rmtree(folder / "artifacts")
        if trial.number != at or again:
            keeps(params, trial)
        return params["x"]

    with pytest.raises(StoreError, match=r"artifact folder .* was deleted or replaced"):
        search(folder, objective)


def test_undisturbed_searches_finish(folder: Path) -> None:
    search(folder, keeps, 6)
    other = open_store(folder)
    study = search(folder, keeps, 8)
    maintenance.compact(folder)
    search(folder, keeps, 10)
    other.close()
    study.store.close()
    assert len(search(folder, keeps, 12).trials) == 12
    shutil.rmtree(folder)
    assert len(search(folder, keeps, 2).trials) == 2


def test_a_reader_sees_the_current_store(folder: Path) -> None:
    reader = open_store(folder)
    first = reader.find_study("s")
    assert first is not None
    for file in folder.glob("tuner.db*"):
        file.unlink()
    assert reader.find_study("s") is None
    assert not (folder / "tuner.db").exists()
    replace_by_another_store(folder)
    second = reader.find_study("s")
    assert second is not None
    assert second.uid != first.uid


def test_a_store_that_was_removed_between_two_reads_is_empty(folder: Path) -> None:
    store = open_store(folder)
    assert store.find_study("s") is not None
    store.close()
    shutil.rmtree(folder)
    assert store.find_study("s") is None
    assert not folder.exists()


@contextmanager
def small_disk(place: Path) -> Iterator[None]:
    """Mount a file system of a few megabytes."""
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(place)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("needs the right to mount")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.mark.process
def test_a_disk_that_becomes_read_only_is_an_error(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk"):
        study = tuner.create_study(SPACE, study="s", store=tmp_path / "disk")
        study.tell(study.ask(), 1.0)
        study.store.close()  # the system refuses while a file is open for writing
        files = ArtifactFolder(tmp_path / "disk" / "artifacts")
        upload = Upload("m", {"f": b"1"})
        subprocess.run(["mount", "-o", "remount,ro", str(tmp_path / "disk")], check=True)
        with pytest.raises(StoreReadOnly, match=r"store .*tuner\.db"):
            study.ask()
        with pytest.raises(StoreReadOnly, match="Read-only file system"):
            files.put("0" * 32, upload)
        subprocess.run(["mount", "-o", "remount,rw", str(tmp_path / "disk")], check=True)
        study.tell(study.ask(), 2.0)
        files.put("0" * 32, upload)
        study.store.close()


@pytest.mark.process
def test_a_full_disk_is_an_error(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk"):
        store = open_store(tmp_path / "disk")
        store.create_study(StudyInfo("0" * 32, "s", {}, "0", (Goal(),), 1, 1.5))
        store.put_artifact("0" * 32, Upload("small", {"f": b"1"}))
        upload = Upload("large", {"f": b"1" * 4 * 2**20})
        with pytest.raises(StoreUnavailable, match="No space left"):
            store.put_artifact("0" * 32, upload)
        subprocess.run(["mount", "-o", "remount,size=9m", str(tmp_path / "disk")], check=True)
        assert store.read_artifact(store.put_artifact("0" * 32, upload)) == dict(upload.files)
        store.close()


@pytest.mark.process
def test_an_interrupted_wal_checkpoint_is_completed(folder: Path) -> None:
    """A process that is killed in a checkpoint leaves a file shorter than its header states."""
    study = tuner.create_study({"x": Float(0, 1)}, study="half", store=folder)
    for _ in range(60):
        study.tell(study.ask(), 0.5)
    file, copy = folder / "tuner.db", folder / "copy.db"
    for suffix in ("", "-wal"):
        shutil.copy(f"{file}{suffix}", f"{copy}{suffix}")
    with closing(sqlite3.connect(copy)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert copy.stat().st_size > file.stat().st_size
    # Write the first page as a checkpoint does; in another process, as closing a database file
    # drops the locks of this one.
    page = "import sys; a, b = sys.argv[1:]; open(b, 'r+b').write(open(a, 'rb').read(4096))"
    subprocess.run([sys.executable, "-c", page, copy, file], check=True)
    with pytest.raises(sqlite3.DatabaseError):
        file_monitor.read_mark(file)
    for _ in range(3):
        study.tell(study.ask(), 0.5)
    assert file_monitor.read_mark(file)
    assert len(tuner.load_study("half", store=folder).trials) == 63
