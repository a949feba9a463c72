"""Reading damaged or foreign records raises an error from `tuner.errors`."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tuner
from support.any_input import raw_error, read_all, search
from tuner import Choice, Float, Int, errors
from tuner.integrations import import_optuna

ROOT = Path(__file__).parents[2]

NOBODY = 65534


ODD_CELLS: list[Any] = [
    *(None, "text", "", b"\xff\xfe", -1, 2**63 - 1, 1e308, float("inf"), "[]", "{}", "null", "[1"),
    *('{"a":', "[" * 5000, "9" * 5000, "1e999", '{"params":3}', '{"version":1,"params":{}}'),
    *("\ud800".encode("utf-8", "surrogatepass"), "COMPLETE", "failed", "9999-99-99", "x" * 100_000),
    '{"name":"FloatDistribution"}',
    '{"name":"FloatDistribution","attributes":{"low":null,"high":"x","log":3,"step":[]}}',
    '{"name":"CategoricalDistribution","attributes":{"choices":[[1],{"a":1}]}}',
    '{"name":"IntDistribution","attributes":{"low":0,"high":NUMBER,"log":false,"step":0}}'.replace(
        "NUMBER", "9" * 4000
    ),
]


def damaged(good: Path, bad: Path, pick: random.Random) -> str:
    """Write a damaged copy of a SQLite database and return a description of the damage."""
    for suffix in ("", "-wal", "-shm", "-journal"):
        Path(f"{bad}{suffix}").unlink(missing_ok=True)
    shutil.copy(good, bad)
    size = good.stat().st_size
    kind = pick.choice(["cell"] * 6 + ["cut", "bytes", "bytes", "table", "column", "rows"])
    if kind == "cut":
        os.truncate(bad, pick.randrange(size))
        return kind
    if kind == "bytes":
        with bad.open("r+b") as file:
            for _ in range(pick.choice([1, 10, 200])):
                file.seek(pick.randrange(size))
                file.write(bytes([pick.randrange(256)]))
        return kind
    connection = sqlite3.connect(bad)
    tables = [
        name
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        if not name.startswith("sqlite_")
    ]
    table = pick.choice(tables)
    columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
    column, value = pick.choice(columns), pick.choice(ODD_CELLS)
    statements: dict[str, list[Any]] = {
        "table": [(f"DROP TABLE {table}",)],
        "column": [(f'ALTER TABLE {table} DROP COLUMN "{column}"',)],
        "rows": [(f"DELETE FROM {table} WHERE rowid % 2",)],
        "cell": [
            # A copy lacks the constraints that would refuse the value.
            (f"CREATE TABLE copy AS SELECT * FROM {table}",),
            (f"DROP TABLE {table}",),
            (f"ALTER TABLE copy RENAME TO {table}",),
            (f'UPDATE {table} SET "{column}" = ?', (value,)),
        ],
    }
    try:
        for statement in statements[kind]:
            connection.execute(*statement)
        connection.commit()
    except sqlite3.Error as error:
        return f"{kind} of {table}: {error}"
    finally:
        connection.close()
    return f"{kind} of {table}.{column}, {str(value)[:60]!r}"


def check_damaged(folder: Path, good: Path, seed: int, read: Callable[[Path], None]) -> None:
    bad = folder / "bad" / "tuner.db"
    shutil.rmtree(bad.parent, ignore_errors=True)
    bad.parent.mkdir()
    what = damaged(good, bad, random.Random(seed))
    raw = raw_error(lambda: read(bad))
    assert not raw, f"seed {seed}, {what}\n{raw}"


@pytest.fixture(scope="module")
def own_good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("own")

    def objective(params: Any, trial: Any) -> float:
        trial.report(params["x"], 0)
        trial.log_artifact(__file__, "a")
        if trial.number == 1:
            raise ValueError("no")
        return float(params["x"])

    space = {"x": Float(0, 1), "m": Choice("none", svm={"C": Float(0.1, 1)}), "n": Int(1, 3)}
    study = search(folder, objective=objective, space=space, register="m", tags={"a": "b"})
    study.set_note(0, "n", "x")
    study.store.close()
    with sqlite3.connect(folder / "tuner.db") as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return folder / "tuner.db"


def read_own(bad: Path) -> None:
    read_all(bad.parent)


@pytest.mark.parametrize("seed", range(40))
def test_a_damaged_store_raises_a_tuner_error(tmp_path: Path, own_good: Path, seed: int) -> None:
    check_damaged(tmp_path, own_good, seed, read_own)


@pytest.mark.soak
def test_many_damaged_stores_raise_tuner_errors(tmp_path: Path, own_good: Path) -> None:
    for seed in range(1000, 6000):
        check_damaged(tmp_path, own_good, seed, read_own)


@pytest.fixture(scope="module")
def optuna_good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    file = tmp_path_factory.mktemp("optuna") / "good.db"
    study = optuna.create_study(storage=f"sqlite:///{file}", study_name="s")
    study.set_user_attr("a", {"b": 1})

    def objective(trial: Any) -> float:
        x: float = trial.suggest_float("x", 0, 1, step=0.25)
        if trial.suggest_categorical("c", ["a", "b", None]) == "a":
            trial.suggest_float("y", 1e-3, 1, log=True)
        trial.suggest_int("n", 1, 100, log=True)
        trial.set_user_attr("u", "v")
        trial.report(x, 0)
        trial.report(x, 1)
        return x

    study.optimize(objective, n_trials=6)
    return file


def read_optuna(bad: Path) -> None:
    for done in import_optuna(str(bad), store=bad.parent / "store"):
        done.study.to_rows()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12))  # a read takes 0.2 s
def test_a_damaged_optuna_database_raises_a_tuner_error(
    tmp_path: Path, optuna_good: Path, seed: int
) -> None:
    check_damaged(tmp_path, optuna_good, seed, read_optuna)


@pytest.mark.soak
def test_many_damaged_optuna_databases_raise_tuner_errors(
    tmp_path: Path, optuna_good: Path
) -> None:
    for seed in range(1000, 6000):
        check_damaged(tmp_path, optuna_good, seed, read_optuna)


@pytest.mark.parametrize("name", ["a#b.db", "a?b.db", "a%41.db", "a b.db", "a?mode=rwc", "a&b"])
@pytest.mark.slow
def test_reading_creates_no_file(
    name: str, tmp_path: Path, optuna_good: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for storage in (name, f"./{name}", str(tmp_path / name), f"sqlite:///{name}"):
        with pytest.raises(errors.ForeignRecordError):
            import_optuna(storage, store="store")
        assert os.listdir() == []
        tuner.list_studies(store=name)
        assert os.listdir() == []
    shutil.copy(optuna_good, name)
    (done,) = import_optuna(name, store="store")
    assert done.added == 6
    assert sorted(os.listdir()) == sorted([name, "store"])


def test_invalid_mlflow_params_raise_a_tuner_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    from tuner.integrations import import_mlflow

    monkeypatch.chdir(tmp_path)
    for uri in ("sqlite:///none.db", "none", "file:///none", str(tmp_path / "no#ne"), "x://", 7):
        with pytest.raises(errors.TunerError):
            import_mlflow(uri, "e", store="store")  # type: ignore[arg-type]
        assert os.listdir() == []
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    client = mlflow.MlflowClient(f"file://{tmp_path}/runs")
    odd = ["9" * 4000, "-" + "9" * 99, "1e400", "nan", "9" * 5000, "(" * 500, "None", "", "\x1b"]
    for number, text in enumerate(odd):
        experiment = client.create_experiment(f"e{number}")
        for value in (text, "1", "2.5", "x" if number % 2 else "3"):
            run = client.create_run(experiment)
            client.log_param(run.info.run_id, "p", value)
            client.log_metric(run.info.run_id, "m", 1e308, step=2**62)
            client.set_terminated(run.info.run_id)
        raw = raw_error(
            lambda n=number: import_mlflow(  # type: ignore[misc]
                f"file://{tmp_path}/runs", f"e{n}", store=tmp_path / "store"
            )
        )
        assert not raw, raw
