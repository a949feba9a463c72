"""Files and rows that garbage collection frees or keeps after a deletion."""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner

import tuner
from support.kept_models import DAY, History, check_all_is_there, files, model
from tuner.cli.commands import cli
from tuner.errors import StoreError
from tuner.records import CheckpointEnd, CheckpointPart, Code, Environment, Run, State, Trial
from tuner.registry import Registry
from tuner.search_spaces import Float
from tuner.tracking import Batch, Store, open_store
from tuner.tracking.artifacts.checkpoint_store import CheckpointStore, checksum
from tuner.tracking.artifacts.retention import collect
from tuner.tracking.uuid7 import uuid7


def test_files_of_a_deleted_study_are_freed_except_registered_ones(tmp_path: Path) -> None:
    history = History(tmp_path)
    for number in range(3):
        history.trial(float(number), [number])
    history.register(1)
    assert history.study.delete() == ["m@1"]
    history.age()
    assert len(files(history)) == 3, "deleting touches no file"
    assert collect(history.store).artifacts == 2
    assert [path.read_bytes() for path in files(history)] == [b"1"]
    check_all_is_there(history)
    tuner.delete_model("m", force=True, store=tmp_path)
    assert collect(history.store).artifacts == 1
    assert files(history) == []


def test_content_shared_with_another_study_is_kept(tmp_path: Path) -> None:
    history = History(tmp_path)
    history.trial(1.0, [7])
    other = tuner.create_study({"x": Float(0, 1)}, study="other", store=tmp_path)
    run = Run(uuid7(), 0, state=State.COMPLETED)
    kept = history.store.put_artifact(run.uid, model(7))
    trial = Trial(0, {"x": 0.5}, State.COMPLETED, (1.0,), attempts=1)
    history.store.write(other.info.uid, Batch([trial], [run], artifacts=[kept]))
    history.study.delete()
    history.age()
    assert collect(history.store).artifacts == 0
    assert history.store.read_artifact(kept) == {"model.json": b"7"}


def test_files_of_deleted_artifacts_and_versions_are_freed(tmp_path: Path) -> None:
    history = History(tmp_path)
    for number in range(3):
        history.trial(float(number), [number])
    history.register(1)
    for number in range(2):
        history.study.delete_artifacts(number)
    history.age()
    assert collect(history.store).artifacts == 1
    check_all_is_there(history)
    version = history.study.register("fitted", refit=lambda params: {"fitted": params["x"]})
    assert version.artifact is not None
    Registry(history.store).delete_version("fitted", 1, force=True)
    history.age()
    assert collect(history.store).artifacts == 1, "the model that was fitted for the version"


def save_checkpoint(store: Store, study: str, trial: int) -> None:
    checkpoints = CheckpointStore(store.artifact_root, study)
    run = uuid7()
    checkpoints.add(trial, run, CheckpointPart(1, "state", b"12345"))
    (staged,) = store.artifact_root.glob(f"checkpoints/*/{trial}/.new-{run}")
    assert checkpoints.keep(trial, run, CheckpointEnd(1, checksum(staged, ["state"]), 5))


@pytest.mark.parametrize("copied", [False, True])
def test_checkpoints_of_a_deleted_study_are_freed(tmp_path: Path, copied: bool) -> None:
    history = History(tmp_path)
    other = tuner.create_study({"x": Float(0, 1)}, study="other", store=tmp_path)
    for uid in (history.study.info.uid, other.info.uid):
        history.trial(None, [0])
        for number in range(2):
            save_checkpoint(history.store, uid, number)
    if copied:
        with closing(sqlite3.connect(tmp_path / "tuner.db")) as ours:
            ours.execute("VACUUM INTO ?", [str(tmp_path / "copy.db")])
        tuner.load_study("s", store=tmp_path / "copy.db").set_tag("a", "b")
    history.study.delete()
    assert collect(history.store).artifacts == 0, "they are young"
    history.age()
    collect(history.store)
    left = sorted(p.name for p in (tmp_path / "artifacts" / "checkpoints").iterdir())
    both = sorted([history.study.info.uid, other.info.uid])
    assert left == (both if copied else [other.info.uid])


def put(store: Store, name: str) -> Run:
    """Record code and an environment of that name, and return a run of them."""
    code = store.put_code(Code(name))
    environment = store.put_environment(Environment("3", name))
    return Run(uuid7(), 0, state=State.COMPLETED, code=code, environment=environment)


def test_unreferenced_code_and_environments_are_freed(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    studies = [
        tuner.create_study({"x": Float(0, 1)}, study=name, store=tmp_path) for name in ("a", "b")
    ]
    runs = [put(store, name) for name in ("a", "both", "b", "both")]
    trials = [Trial(n, {"x": 0.5}, State.COMPLETED, (1.0,), attempts=1) for n in range(2)]
    for study, (first, second) in zip(studies, (runs[:2], runs[2:]), strict=True):
        numbered = [first, Run(second.uid, 1, code=second.code, environment=second.environment)]
        store.write(study.info.uid, Batch(trials, numbered))
    studies[0].delete()
    now = time.time()
    collect(store, now=now)
    store.get_code(runs[0].code)
    collect(store, now=now + DAY, dry_run=True)
    store.get_code(runs[0].code)
    collect(store, now=now + DAY)
    with pytest.raises(StoreError, match="no row"):
        store.get_code(runs[0].code)
    with pytest.raises(StoreError, match="no row"):
        store.get_environment(runs[0].environment)
    for run in runs[1:]:
        store.get_code(run.code)
        store.get_environment(run.environment)


def test_runs_are_written_although_their_code_was_collected(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    study = tuner.create_study({"x": Float(0, 1)}, study="a", store=tmp_path)
    trial = Trial(0, {"x": 0.5}, State.COMPLETED, (1.0,), attempts=1)
    for again in range(3):
        run = put(store, "a")
        collect(open_store(tmp_path), now=time.time() + DAY)
        open_store(tmp_path).put_code(Code(f"another, with its id: {again}"))
        store.write(study.info.uid, Batch([trial], [run]))
        (found,) = store.runs(study.info.uid)
        assert store.get_code(found.code) == Code("a")
        study.delete()
        study = tuner.create_study({"x": Float(0, 1)}, study="a", store=tmp_path)


def test_cached_row_ids_are_not_used_after_a_collection(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    trial = Trial(0, {"x": 0.5}, State.COMPLETED, (1.0,), attempts=1)
    for _ in range(2):
        study = tuner.create_study({"x": Float(0, 1)}, study="a", store=tmp_path)
        store.write(study.info.uid, Batch([trial], [put(store, "a")]))
        (found,) = store.runs(study.info.uid)
        assert store.get_code(found.code) == Code("a")
        study.delete()
        collect(open_store(tmp_path), now=time.time() + DAY)
        open_store(tmp_path).put_code(Code("another, with its id"))
        put(open_store(tmp_path), "a")


def test_the_command_frees_what_a_deleted_study_kept(tmp_path: Path) -> None:
    history = History(tmp_path)
    history.trial(1.0, [1])
    history.study.delete()
    then = time.time() - DAY
    for path in tmp_path.rglob("*"):
        os.utime(path, (then, then))
    result = CliRunner().invoke(cli, ["gc", "--store", str(tmp_path)])
    assert result.stdout == "deleted: 1 artifacts, 1 bytes\n"
    assert not any((tmp_path / "artifacts").rglob("model.json"))
