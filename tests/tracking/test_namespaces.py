"""Stores that share an artifact root, and copies of a store, never lose files to each other."""

from __future__ import annotations

import os
import shutil
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

import tuner
from support.earlier_schemas import go_back
from support.kept_models import DAY, History, check_all_is_there, files, model
from tuner.tracking import open_store, schema
from tuner.tracking.artifacts.retention import Collected, collect
from tuner.tracking.database import migrate
from tuner.tracking.database.connections import make_engine
from tuner.tracking.database.location import locate
from tuner.tracking.uuid7 import uuid7


def loaded(store: str | Path) -> History:
    """Return a store that is there already, with its study."""
    history = History.__new__(History)
    history.study = tuner.load_study("s", store=store)
    history.store = open_store(store)
    history.n = len(history.study.trials)
    return history


def filled(store: str | Path, contents: int = 4) -> History:
    """Return a store with trials of the same contents in each, the first of them registered."""
    history = History(store)
    for n in range(contents):
        history.trial(float(n), [n])
    history.register(contents - 1)
    return history


def close(history: History) -> None:
    """Let go of a store, so that its file has all of it."""
    history.store.close()
    history.study.store.close()


def cleaned(history: History) -> Collected:
    """Forget all models except the best trial's, and collect as if a day had passed."""
    history.study.keep_models(1)
    return collect(history.store, older_than=-1.0, now=time.time() + DAY)


def check_they_do_not_harm_each_other(*histories: History) -> None:
    for history in histories:
        cleaned(history)
        for each in histories:
            check_all_is_there(each)
    for n, history in enumerate(histories):
        history.trial(-1.0, [50 + n, 7])
        history.trial(9.0, [7, 60 + n])
    for history in histories:
        cleaned(history)
        for each in histories:
            check_all_is_there(each)


@pytest.mark.slow
def test_two_database_files_in_a_folder_have_separate_namespaces(tmp_path: Path) -> None:
    a, b = (filled(f"sqlite:///{tmp_path}/{name}.db") for name in "ab")
    assert a.store.artifact_root == b.store.artifact_root
    check_they_do_not_harm_each_other(a, b)
    assert len(files(a)) == 2 * 2, (
        "of each store the registered model and the latest one of its best trial"
    )


def test_an_unneeded_artifact_is_deleted_although_another_store_has_it(tmp_path: Path) -> None:
    a, b = (filled(f"sqlite:///{tmp_path}/{name}.db") for name in "ab")
    assert cleaned(a) == Collected(2, 2)
    assert len(files(b)) == 2 + 4
    check_all_is_there(b)


def test_postgresql_databases_and_schemas_have_separate_namespaces(
    tmp_path: Path, new_database: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    urls = [new_database(), new_database()]
    for schema_name in ("one", "two"):
        engine = create_engine(urls[0].replace("postgresql:", "postgresql+psycopg:"))
        with engine.begin() as connection:
            connection.execute(text(f"CREATE SCHEMA {schema_name}"))
        engine.dispose()
        urls.append(f"{urls[0]}&options=-csearch_path%3D{schema_name}")
    histories = [filled(".tuner"), *map(filled, urls)]
    assert {h.store.artifact_root for h in histories} == {tmp_path / ".tuner" / "artifacts"}
    check_they_do_not_harm_each_other(*histories)
    for history in histories:
        close(history)


def test_stores_with_one_artifact_url_have_separate_namespaces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNER_ARTIFACTS", f"memory://{uuid.uuid4().hex}/artifacts")
    histories = [filled(tmp_path / name) for name in "abc"]
    check_they_do_not_harm_each_other(*histories)
    assert cleaned(histories[0]).artifacts == 0, "all of it is gone already"


@pytest.mark.parametrize("first", [0, 1])
def test_a_copied_database_file_gets_its_own_namespace(tmp_path: Path, first: int) -> None:
    original = filled(f"sqlite:///{tmp_path}/a.db")
    close(original)
    shutil.copy(tmp_path / "a.db", tmp_path / "c.db")
    both = [original, loaded(f"sqlite:///{tmp_path}/c.db")]
    check_they_do_not_harm_each_other(both[first], both[1 - first])


def test_a_copy_that_was_never_opened_loses_no_artifact(tmp_path: Path) -> None:
    original = filled(f"sqlite:///{tmp_path}/a.db")
    close(original)
    shutil.copy(tmp_path / "a.db", tmp_path / "monday.backup")
    cleaned(original)
    check_all_is_there(loaded(tmp_path / "monday.backup"))
    assert cleaned(original) == Collected()
    (tmp_path / "monday.backup").unlink()
    assert cleaned(original) == Collected(2, 2), "nobody names them any more"
    check_all_is_there(original)


@pytest.mark.parametrize("first", [0, 1])
def test_a_copied_database_file_with_an_artifact_url_loses_no_artifact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: int
) -> None:
    monkeypatch.setenv("TUNER_ARTIFACTS", f"memory://{uuid.uuid4().hex}/artifacts")
    original = filled(tmp_path / "a")
    close(original)
    shutil.copytree(tmp_path / "a", tmp_path / "copy")
    copy = loaded(tmp_path / "copy")
    copy.trial(-2.0, [77])  # from here on the original can know of it
    both = [original, copy]
    check_they_do_not_harm_each_other(both[first], both[1 - first])
    check_they_do_not_harm_each_other(*map(loaded, (tmp_path / "a", tmp_path / "copy")))


@pytest.mark.parametrize("first", [0, 1])
def test_a_restored_dump_loses_no_artifact(
    tmp_path: Path, new_database: Callable[[], str], monkeypatch: pytest.MonkeyPatch, first: int
) -> None:
    monkeypatch.setenv("TUNER_ARTIFACTS", str(tmp_path / "kept"))
    url = new_database()
    original = filled(url)
    close(original)
    name = url.partition("?")[0].rpartition("/")[2]
    postgres = url.replace("postgresql:", "postgresql+psycopg:").replace(f"/{name}?", "/postgres?")
    engine = create_engine(postgres, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}_restored TEMPLATE {name}"))
    engine.dispose()
    copy = loaded(url.replace(f"/{name}?", f"/{name}_restored?"))
    copy.trial(-2.0, [77])
    both = [original, copy]
    check_they_do_not_harm_each_other(both[first], both[1 - first])
    for history in both:
        close(history)


def test_a_postgresql_backup_in_its_artifact_folder_loses_no_artifact(
    tmp_path: Path, new_database: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from tuner.tracking.database import maintenance

    monkeypatch.chdir(tmp_path)
    original = filled(new_database())
    maintenance.backup(tmp_path / ".tuner", original.store.url)
    cleaned(original)
    copy = loaded(tmp_path / ".tuner")
    check_all_is_there(copy)
    check_they_do_not_harm_each_other(copy, original)
    close(original)


@pytest.mark.parametrize("how", [shutil.move, shutil.copytree])
def test_a_moved_or_copied_folder_works_as_before(
    tmp_path: Path, how: Callable[[Path, Path], object]
) -> None:
    close(filled(tmp_path / "old"))
    how(tmp_path / "old", tmp_path / "new")
    moved = loaded(tmp_path / "new")
    check_all_is_there(moved)
    assert cleaned(moved) == Collected(2, 2)
    moved.trial(-1.0, [9])
    check_all_is_there(moved)
    assert len(list((moved.store.artifact_root / "stores").iterdir())) == 1
    if (tmp_path / "old").exists():
        check_all_is_there(loaded(tmp_path / "old"))


def test_a_renamed_file_keeps_artifacts_that_another_may_reference(tmp_path: Path) -> None:
    close(filled(f"sqlite:///{tmp_path}/a.db"))
    (tmp_path / "a.db").rename(tmp_path / "c.db")
    renamed = loaded(f"sqlite:///{tmp_path}/c.db")
    done = cleaned(renamed)
    assert (done.artifacts, done.kept, done.kept_size) == (0, 2, 2)
    assert "tuner gc --alone" in done.notes[0]
    check_all_is_there(renamed)
    renamed.trial(-1.0, [9])
    renamed.trial(5.0, [8])
    assert cleaned(renamed).artifacts == 1, "what it kept since is its own"
    assert collect(renamed.store, alone=True, now=time.time() + DAY).artifacts == 3
    check_all_is_there(renamed)


def test_partial_files_of_other_stores_are_kept(tmp_path: Path) -> None:
    a, b = (filled(f"sqlite:///{tmp_path}/{name}.db") for name in "ab")
    namespace = a.store.namespace.path()
    staged = a.store.artifact_root / namespace / "sha256" / ".new-1"
    staged.mkdir()
    cleaned(b)
    assert staged.exists()
    cleaned(a)
    assert not staged.exists()


def test_an_unreadable_database_in_the_folder_prevents_deletion(tmp_path: Path) -> None:
    history = filled(tmp_path)
    close(history)
    content = (tmp_path / "tuner.db").read_bytes()
    (tmp_path / "copy.db").write_bytes(content[:100] + b"garbage" * 600 + content[4300:])
    done = cleaned(history)
    assert (done.artifacts, done.kept) == (0, 2)
    assert "copy.db cannot be read" in done.notes[0]
    (tmp_path / "copy.db").write_bytes(b"no database")
    assert cleaned(history).artifacts == 2


def test_concurrent_openers_of_a_new_store_share_one_namespace(tmp_path: Path) -> None:
    History(tmp_path).trial(0.0, [])
    stores = [open_store(tmp_path) for _ in range(8)]
    assert len({store.put_artifact(uuid7(), model(1)).path for store in stores}) == 1


# --- stores of earlier versions -------------------------------------------------------------------


def go_back_to_0005(history: History) -> None:
    """Convert a store to the layout before namespaces: its files lie in the root itself."""
    root = history.store.artifact_root
    engine = make_engine(locate(history.store.url))
    with engine.begin() as connection:
        for (uid,) in connection.execute(text("SELECT uid FROM areas")).all():
            shutil.copytree(root / "stores" / uid / "sha256", root / "sha256", dirs_exist_ok=True)
            shutil.rmtree(root / "stores" / uid)
            connection.execute(
                text(f"UPDATE artifacts SET path = replace(path, 'stores/{uid}/', '')")
            )
        go_back(connection, "0005")
    engine.dispose()
    close(history)
    if (root / "stores").exists() and not list((root / "stores").iterdir()):
        (root / "stores").rmdir()


def upgraded(store: str | Path) -> History:
    go_back_to_0005(filled(store))
    assert migrate.upgrade(store) == list(schema.REVISIONS[5:])
    return loaded(store)


def test_a_single_store_collects_artifacts_from_before_namespaces(tmp_path: Path) -> None:
    history = upgraded(tmp_path / "runs")
    check_all_is_there(history)
    assert cleaned(history) == Collected(2, 2)
    history.trial(-1.0, [9])
    check_all_is_there(history)


def test_shared_files_from_before_namespaces_are_kept(tmp_path: Path) -> None:
    urls = [f"sqlite:///{tmp_path}/{name}.db" for name in "ab"]
    histories = [upgraded(urls[0]), upgraded(urls[1])]
    done = cleaned(histories[0])
    assert done == Collected(), "the other store names every one of them"
    lost = histories[0].store.artifact_root / "sha256" / "00" / ("0" * 64) / "model"
    lost.mkdir(parents=True)
    done = cleaned(histories[0])
    assert (done.artifacts, done.kept) == (0, 1)
    assert "tuner gc --alone" in done.notes[0]
    check_they_do_not_harm_each_other(*histories)
    assert collect(histories[0].store, alone=True, now=time.time() + DAY).kept == 0
    for history in histories:
        check_all_is_there(history)


def test_the_default_store_keeps_artifacts_that_postgresql_may_reference(
    tmp_path: Path, new_database: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    url = new_database()
    go_back_to_0005(filled(url))
    local = upgraded(".tuner")
    done = cleaned(local)
    assert (done.artifacts, done.kept) == (0, 2)
    assert done.notes
    migrate.upgrade(url)
    remote = loaded(url)
    check_all_is_there(remote)
    check_they_do_not_harm_each_other(local, remote)
    assert collect(local.store, alone=True, now=time.time() + DAY).artifacts == 3
    close(remote)


def test_a_copy_made_before_the_upgrade_loses_no_artifact(tmp_path: Path) -> None:
    go_back_to_0005(filled(f"sqlite:///{tmp_path}/a.db"))
    shutil.copy(tmp_path / "a.db", tmp_path / "c.db")
    urls = [f"sqlite:///{tmp_path}/{name}.db" for name in "ac"]
    migrate.upgrade(urls[0])
    first = loaded(urls[0])
    cleaned(first)
    migrate.upgrade(urls[1])
    check_they_do_not_harm_each_other(first, loaded(urls[1]))


def test_remote_files_from_before_namespaces_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fsspec

    monkeypatch.setenv("TUNER_ARTIFACTS", f"memory://{uuid.uuid4().hex}/artifacts")
    history = filled(tmp_path)
    fs, root = fsspec.core.url_to_fs(os.environ["TUNER_ARTIFACTS"])
    fs.pipe_file(f"{root}/sha256/00/{'0' * 64}/model/model.json", b"1")
    done = cleaned(history)
    assert (done.artifacts, done.kept, done.kept_size) == (2, 1, 1)
    assert collect(history.store, alone=True, now=time.time() + DAY).artifacts == 1
    check_all_is_there(history)
