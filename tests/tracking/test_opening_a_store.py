from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import event

from tuner.errors import (
    ArgumentError,
    MissingExtra,
    StoreCorrupt,
    StoreError,
    StoreReadOnly,
    StoreVersion,
)
from tuner.records import Code, Goal, StudyInfo
from tuner.tracking import open_store, schema
from tuner.tracking.database.connections import make_engine
from tuner.tracking.database.init_db import is_there
from tuner.tracking.database.location import locate
from tuner.tracking.uuid7 import uuid7


def made(folder: Path) -> Path:
    """Make a store with one study in it and return its database file."""
    store = open_store(folder)
    store.create_study(StudyInfo(uuid7(), "study", {}, "0", (Goal(),), 1, 0.0))
    store.close()
    return folder / "tuner.db"


# --- where it lies --------------------------------------------------------------------------------


def test_none_opens_tuner_store_or_the_default_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TUNER_STORE", raising=False)
    assert locate(None).file == tmp_path / ".tuner" / "tuner.db"
    monkeypatch.setenv("TUNER_STORE", "elsewhere")
    assert locate(None).file == tmp_path / "elsewhere" / "tuner.db"
    monkeypatch.setenv("TUNER_STORE", "sqlite:///other.sqlite")
    assert locate(None).file == tmp_path / "other.sqlite"
    assert locate(None).artifact_root == tmp_path / "artifacts"


def test_a_store_does_not_follow_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = open_store("here")
    store.put_code(Code("a"))
    (tmp_path / "away").mkdir()
    monkeypatch.chdir(tmp_path / "away")
    key = store.put_code(Code("b"))
    assert open_store(store.url).get_code(key) == Code("b")
    assert list((tmp_path / "away").iterdir()) == []


def test_an_existing_file_is_opened(tmp_path: Path) -> None:
    file = made(tmp_path)
    assert [info.name for info in open_store(file).studies()] == ["study"]
    assert [info.name for info in open_store(f"sqlite:///{file}").studies()] == ["study"]


def test_a_store_is_returned_as_it_is(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    assert open_store(store) is store


@pytest.mark.parametrize("folder", ["with space", "100%", "é☃", "a?b=c", "a#b", "it's"])
def test_any_folder_name_is_accepted(tmp_path: Path, folder: str) -> None:
    file = made(tmp_path / folder)
    assert file.is_file()
    store = open_store(tmp_path / folder)
    assert [info.name for info in open_store(store.url).studies()] == ["study"]


@pytest.mark.parametrize("store", ["sqlite://", "sqlite:///:memory:"])
def test_a_store_in_memory_is_refused(store: str) -> None:
    with pytest.raises(ArgumentError, match=r"tempfile\.mkdtemp"):
        open_store(store)


@pytest.mark.parametrize("store", ["mysql://host/db", "://", "nothing://x"])
def test_another_database_is_refused(store: str) -> None:
    with pytest.raises(ArgumentError, match=r"SQLAlchemy URL|SQLite or PostgreSQL"):
        open_store(store)


def test_a_number_is_refused_as_a_store() -> None:
    with pytest.raises(ArgumentError, match="store=3"):
        open_store(3)  # type: ignore[call-overload]


def test_a_missing_driver_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    # Python treats a module that is None here like a missing one.
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(MissingExtra, match=r"pip install 'tuner\[postgres\]'") as raised:
        open_store("postgresql://me:secret@host/db")
    assert "secret" not in str(raised.value)


@pytest.mark.process
def test_importing_the_package_is_light() -> None:
    code = "import sys, tuner.tracking; sys.exit('sqlalchemy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- nothing there yet ----------------------------------------------------------------------------


def test_reading_creates_no_files(tmp_path: Path) -> None:
    store = open_store(tmp_path / "deep" / "folder")
    assert list(store.studies()) == []
    assert list(store.trials(uuid7())) == []
    with store.reading() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM models").scalar() == 0
    store.close()
    assert list(tmp_path.iterdir()) == []


def test_a_store_opened_before_its_creation_sees_it(tmp_path: Path) -> None:
    reader = open_store(tmp_path / "store")
    assert list(reader.studies()) == []
    made(tmp_path / "store")
    assert [info.name for info in reader.studies()] == ["study"]


def test_an_empty_file_becomes_a_store(tmp_path: Path) -> None:
    # A process that is killed while it creates the store leaves this file.
    (tmp_path / "tuner.db").touch()
    assert list(open_store(tmp_path).studies()) == []
    made(tmp_path)
    assert [info.name for info in open_store(tmp_path).studies()] == ["study"]


def test_the_default_folder_is_ignored_by_git(tmp_path: Path) -> None:
    made(tmp_path / ".tuner")
    assert (tmp_path / ".tuner" / ".gitignore").read_text(encoding="utf-8") == "*\n"
    made(tmp_path / "mine")
    assert not (tmp_path / "mine" / ".gitignore").exists()


def make_at_once(store: str) -> None:
    """Let four processes create the store concurrently, each with its own study."""
    code = (
        "import sys; from tuner.records import *; from tuner.tracking import open_store\n"
        "from tuner.tracking.uuid7 import uuid7\n"
        "store = open_store(sys.argv[1]); print('ready', flush=True); sys.stdin.readline()\n"
        "store.create_study(StudyInfo(uuid7(), sys.argv[2], {}, '0', (Goal(),), 1, 0.0))"
    )
    makers = [
        subprocess.Popen(
            [sys.executable, "-c", code, store, name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in "0123"
    ]
    for maker in makers:
        assert maker.stdout is not None
        assert maker.stdout.readline() == "ready\n"
    for maker in makers:
        assert maker.stdin is not None
        maker.stdin.write("go\n")
        maker.stdin.flush()
    for maker in makers:
        maker.communicate(timeout=60)
    assert [maker.returncode for maker in makers] == [0] * 4
    assert sorted(info.name for info in open_store(store).studies()) == list("0123")


@pytest.mark.process
def test_concurrent_processes_create_one_store(tmp_path: Path) -> None:
    make_at_once(str(tmp_path / "store"))


# --- what cannot be -------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"not a database, and long enough for a header" * 50, b"x"])
def test_a_file_of_another_kind_is_corrupt(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "tuner.db"
    file.write_bytes(content)
    with pytest.raises(StoreCorrupt, match=r"tuner\.db"):
        open_store(tmp_path)
    assert file.read_bytes() == content


def test_another_programs_database_is_refused(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "tuner.db") as connection:
        connection.execute("CREATE TABLE studies (study_id INTEGER)")
    with pytest.raises(StoreCorrupt, match="another program, with the tables studies"):
        open_store(tmp_path)


def test_a_damaged_page_is_corrupt(tmp_path: Path) -> None:
    file = made(tmp_path)
    content = bytearray(file.read_bytes())
    size = int.from_bytes(content[16:18])
    for page in range(1, len(content) // size):
        content[page * size : page * size + 64] = b"\xff" * 64
    file.write_bytes(content)
    with pytest.raises(StoreCorrupt, match="damaged"):
        list(open_store(tmp_path).studies())


def test_a_truncated_file_is_corrupt(tmp_path: Path) -> None:
    file = made(tmp_path)
    os.truncate(file, 5000)
    with pytest.raises(StoreCorrupt):
        list(open_store(tmp_path).studies())


def test_a_store_folder_below_a_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    store = open_store(tmp_path / "file" / "store")
    assert list(store.studies()) == []
    with pytest.raises(StoreReadOnly, match="cannot be made"):
        store.put_code(Code())


def test_a_store_folder_without_permission_is_an_error() -> None:
    with pytest.raises(StoreReadOnly, match="cannot be made"):
        open_store("/proc/tuner-store").put_code(Code())


def test_a_store_opened_to_be_read_only_cannot_be_written(tmp_path: Path) -> None:
    file = made(tmp_path)
    store = open_store(f"sqlite:///file:{file}?mode=ro&uri=true")
    assert [info.name for info in store.studies()] == ["study"]
    with pytest.raises(StoreReadOnly, match=r"write another|write a folder"):
        store.put_code(Code())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="users are told apart on POSIX")
@pytest.mark.parametrize("writer_there", [False, True])
@pytest.mark.process
def test_a_user_without_write_permission_can_read(writer_there: bool) -> None:
    # Not in tmp_path, which only its owner may enter.
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    file = made(folder / "store")
    store = open_store(folder / "store")
    if writer_there:
        store.put_code(Code())
    for path in folder.rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)
    child = os.fork()
    if child == 0:
        code = 1
        with suppress(BaseException):
            if os.geteuid() == 0:
                os.setuid(65534)
            reader = open_store(folder / "store")
            assert [info.name for info in reader.studies()] == ["study"]
            try:
                reader.put_code(Code("other"))
            except StoreReadOnly:
                code = 0
        os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert file.exists()
    file.parent.chmod(0o755)
    store.close()
    shutil.rmtree(folder)


def test_a_folder_at_the_path_of_the_database_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "tuner.db").mkdir()
    with pytest.raises(StoreError, match=r"tuner\.db"):
        open_store(tmp_path).put_code(Code())


def test_a_newer_schema_asks_for_a_newer_tuner(tmp_path: Path) -> None:
    file = made(tmp_path)
    with sqlite3.connect(file) as connection:
        connection.execute("UPDATE tuner_schema SET version_num = '9999'")
    with pytest.raises(StoreVersion, match=r"9999 of a newer tuner.*pip install --upgrade tuner"):
        open_store(tmp_path)


def test_an_older_schema_asks_for_an_upgrade(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(tmp_path)
    newest = schema.REVISIONS[-1]
    monkeypatch.setattr(schema, "REVISIONS", (*schema.REVISIONS, "9999"))
    with pytest.raises(StoreVersion, match=rf"older schema {newest}.*tuner db upgrade --store"):
        open_store(tmp_path)


@pytest.mark.process
def test_a_lock_timeout_names_the_holder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = made(tmp_path)
    monkeypatch.setattr("tuner.tracking.database.connections.LOCK_TIMEOUT", 0.1)
    store = open_store(tmp_path)
    code = (
        "import sqlite3, sys, time; c = sqlite3.connect(sys.argv[1], isolation_level=None);"
        "c.execute('BEGIN IMMEDIATE'); print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, str(file)], stdout=subprocess.PIPE)
    try:
        assert holder.stdout is not None
        holder.stdout.readline()
        assert [info.name for info in store.studies()] == ["study"]
        who = f"process {holder.pid}" if Path("/proc/locks").exists() else "another process"
        with pytest.raises(StoreError, match=rf"locked for .* s by {who}; end whatever"):
            store.put_code(Code())
    finally:
        holder.kill()
        holder.communicate()
    store.put_code(Code())


# --- PostgreSQL -----------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
def test_a_server_store_keeps_artifacts_in_a_local_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TUNER_ARTIFACTS", raising=False)
    location = locate(f"{scheme}://me:secret@host/db")
    assert location.url.drivername == "postgresql+psycopg"
    assert location.artifact_root == tmp_path / ".tuner" / "artifacts"
    assert "secret" not in str(location)
    monkeypatch.setenv("TUNER_ARTIFACTS", "kept")
    assert locate(f"{scheme}://host/db").artifact_root == tmp_path / "kept"


def test_concurrent_processes_create_one_server_schema(new_database: Callable[[], str]) -> None:
    make_at_once(new_database())


def test_an_unreachable_server_is_an_error(tmp_path: Path) -> None:
    url = f"postgresql://me:secret@/db?host={tmp_path}"
    with pytest.raises(StoreError, match="cannot be reached") as raised:
        open_store(url)
    assert "secret" not in str(raised.value)


def test_a_missing_server_database_is_an_error(new_database: Callable[[], str]) -> None:
    with pytest.raises(StoreError, match=r"cannot be reached.*not exist"):
        open_store(new_database().replace("/tuner_", "/nobodys_"))


def test_tables_of_another_program_are_not_changed(new_database: Callable[[], str]) -> None:
    import psycopg

    url = new_database()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE others (id int)")
        assert list(open_store(url).studies()) == []
        connection.execute("CREATE TABLE trials (id int)")
    with pytest.raises(StoreCorrupt, match="another program, with the tables trials"):
        open_store(url)


def test_a_read_only_database_user_can_read(new_database: Callable[[], str]) -> None:
    import psycopg

    url = new_database()
    open_store(url).put_code(Code())
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE ROLE reader LOGIN")
        connection.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader")
    store = open_store(url.replace("//postgres@", "//reader@"))
    assert list(store.studies()) == []
    with pytest.raises(StoreReadOnly, match="cannot be written: permission denied"):
        store.put_code(Code("other"))


def test_a_store_created_between_two_checks_is_accepted(new_database: Callable[[], str]) -> None:
    url = new_database()
    location = locate(url)
    engine = make_engine(location)
    makers = [open_store(url)]

    @event.listens_for(engine, "after_cursor_execute")
    def make(*_: object) -> None:
        if makers:
            makers.pop().put_code(Code())

    assert is_there(engine, location)
    assert not makers
    engine.dispose()
