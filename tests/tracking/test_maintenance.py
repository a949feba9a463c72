"""A store is checked, copied and packed while it is in use, on both databases."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import text

import tuner
from conformance.stores import contents, finished
from support.forks import Fork
from tuner.cli.commands import cli
from tuner.errors import ArgumentError, StoreError
from tuner.records import Report, Run, State, Trial
from tuner.tracking import Batch, open_store
from tuner.tracking.database import maintenance
from tuner.tracking.uuid7 import uuid7


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("TUNER_ARTIFACTS", str(tmp_path / "artifacts"))
    if request.param == "sqlite":
        return str(tmp_path / "store")
    new_database: Callable[[], str] = request.getfixturevalue("new_database")
    return new_database()


def searched(url: str) -> tuner.Study:
    def objective(params, trial):
        for step in range(5):
            trial.report(params["x"] + step, step)
        trial.log_artifact(__file__, "file")
        return params["x"]

    return tuner.optimize(
        objective, {"x": tuner.Float(0, 1)}, n_trials=6, seed=1, optimizer="random",
        backend="serial", study="s", store=url, progress=False,
    )  # fmt: skip


@pytest.mark.slow
def test_an_intact_store_passes_the_check(url: str) -> None:
    searched(url)
    assert list(maintenance.check(url)) == []


def test_each_inconsistency_is_named(url: str) -> None:
    study = searched(url)
    (artifact, *_) = study.artifacts()
    (study.store.artifact_root / artifact.path / Path(__file__).name).write_text("changed")
    with study.store.writing() as connection:
        connection.execute(text("UPDATE runs SET state = 'running' WHERE trial = 2"))
        columns = "study_id, trial, attempt, state, worker, host, output"
        connection.execute(
            text(
                f"INSERT INTO runs (uid, {columns}) SELECT 'again', {columns} FROM runs "
                f"WHERE trial = 1"
            )
        )
    problems = list(maintenance.check(url))
    assert sorted(problems)[:4] == [
        "1 attempts were made twice",
        "1 finished trials have an attempt that is under way",
        "1 finished trials have runs, but none with their outcome",
        "1 trials have more than one accepted outcome",
    ]
    assert len(problems) == 4 + 6, "the content that all six runs kept is there once"
    assert len(list(maintenance.check(url, artifacts=False))) == 4
    done = CliRunner().invoke(cli, ["db", "check", "--store", url])
    assert done.exit_code == 1
    assert "attempts were made twice" in done.output


def test_a_damaged_file_is_detected(tmp_path: Path) -> None:
    searched(str(tmp_path))
    database = sqlite3.connect(tmp_path / "tuner.db")
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    (page,) = database.execute(
        "SELECT rootpage FROM sqlite_master WHERE name = 'ix_trials_best'"
    ).fetchone()
    (size,) = database.execute("PRAGMA page_size").fetchone()
    database.close()
    with (tmp_path / "tuner.db").open("r+b") as file:
        file.seek((page - 1) * size + 8)
        file.write(b"\xff" * 64)
    done = CliRunner().invoke(cli, ["db", "check", "--store", str(tmp_path)])
    assert done.exit_code == 1


def test_a_backup_is_a_consistent_snapshot(url: str, tmp_path: Path) -> None:
    study = searched(url)
    before = contents(study.store, study.info.uid)
    maintenance.backup(tmp_path / "copy", url)
    study.store.write(study.info.uid, Batch([finished(6)]))
    copy = open_store(tmp_path / "copy")
    assert contents(copy, study.info.uid) == before
    assert list(maintenance.check(tmp_path / "copy", artifacts=False)) == []
    with pytest.raises(ArgumentError, match="there is a store at"):
        maintenance.backup(tmp_path / "copy", url)
    again = tuner.load_study("s", store=tmp_path / "copy")
    assert again.ask().number == 6, "and it can be gone on with"


@pytest.mark.slow
def test_compaction_frees_space_and_changes_no_record(url: str) -> None:
    study = searched(url)
    uid = study.info.uid
    runs = [Run(uuid7(), n) for n in range(6, 10)]
    trials = [Trial(n, {"x": 0.5}, State.RUNNING, attempts=1) for n in range(6, 10)]
    reports = [(r.uid, Report(k, {"loss": k / 7.0})) for r in runs for k in range(3_000)]
    study.store.write(uid, Batch(trials, runs, reports))
    ended = [Run(r.uid, r.trial, state=State.COMPLETED) for r in runs[:3]]
    study.store.write(uid, Batch([finished(n) for n in range(6, 9)], ended))
    before = contents(study.store, uid)
    done = maintenance.compact(url)
    assert done.values == 9_000
    if not url.startswith("postgresql"):
        assert done.after < done.before
    assert contents(study.store, uid) == before
    told = CliRunner().invoke(cli, ["db", "compact", "--store", url])
    assert told.output.startswith("packed 0 values")


def test_maintenance_of_a_missing_store_does_nothing(tmp_path: Path) -> None:
    for call in (
        lambda: list(maintenance.check(tmp_path / "none")),
        lambda: maintenance.compact(tmp_path / "none"),
        lambda: maintenance.backup(tmp_path / "to", tmp_path / "none"),
    ):
        with pytest.raises(StoreError, match="store not found at"):
            call()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.process
@pytest.mark.parametrize("n", [5, pytest.param(32, marks=pytest.mark.soak)])
def test_many_processes_open_a_new_store_concurrently(tmp_path: Path, n: int) -> None:
    code = (
        "import sys\n"
        "from tuner.records import Goal, StudyInfo\n"
        "from tuner.tracking import open_store\n"
        "from tuner.tracking.uuid7 import uuid7\n"
        "store = open_store(sys.argv[1])\n"
        "store.create_study(StudyInfo(uuid7(), sys.argv[2], {}, '0', (Goal(),), 1, 1.5))\n"
    )
    processes = [Fork(code, tmp_path, i) for i in range(n)]
    for process in processes:
        _, err = process.communicate(timeout=240)
        assert process.returncode == 0, err
    assert {s.name for s in open_store(tmp_path).studies()} == {str(i) for i in range(n)}
