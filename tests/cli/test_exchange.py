"""Import, export, report and clean-up as a user types them."""

from __future__ import annotations

import csv
import json
import sqlite3
from pathlib import Path

import optuna
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

import tuner
import tuner.cli.exchange
from tuner import Float
from tuner.cli.commands import cli
from tuner.integrations.tensorboard import EVENTS


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TUNER_STORE", raising=False)
    study = tuner.create_study({"x": Float(0, 1)}, study="digits", seed=0)
    for value in (2.0, 1.0, 3.0):
        trial = study.ask()
        trial.report(value * 2, 0)
        trial.report(value, 1)
        trial.log_model({"x": trial.params["x"]}, format="json")
        study.tell(trial, value)
    return tmp_path


def typed(*args: str, code: int = 0) -> Result:
    result = CliRunner().invoke(cli, args)
    assert result.exit_code == code, result.output + result.stderr
    return result


def test_the_command_imports_an_optuna_study(folder: Path) -> None:
    storage = f"sqlite:///{folder / 'optuna.db'}"
    study = optuna.create_study(storage=storage, study_name="old")
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=3)
    shown = typed("import", "optuna", storage).stdout
    assert shown == ("study: old\nimported: 3 trials; 0 were imported before, 0 are not finished\n")
    assert "0 trials; 3 were imported before" in typed("import", "optuna", storage).stdout
    assert (
        "study: new" in typed("import", "optuna", storage, "--study", "old", "--name", "new").stdout
    )
    assert tuner.load_study("new").best_value == study.best_value
    with sqlite3.connect(folder / "optuna.db") as database:
        database.execute("UPDATE alembic_version SET version_num = 'v9'")
    assert "schema v9" in typed("import", "optuna", storage, code=1).stderr


@pytest.mark.slow
def test_the_commands_mirror_to_and_import_from_mlflow(folder: Path) -> None:
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    assert "sent: 3 trials" in typed("mirror", "digits", uri, "--experiment", "e").stdout
    assert "sent: 0 trials" in typed("mirror", "digits", uri, "--experiment", "e").stdout
    Path("space.yaml").write_text("params:\n  x: {type: float, low: 0, high: 1}\n")
    options = ["--experiment", "e", "--metric", "value", "--direction", "minimize"]
    shown = typed(
        "import", "mlflow", uri, *options, "--space", "space.yaml", "--name", "back"
    ).stdout
    assert "imported: 3 trials" in shown
    assert tuner.load_study("back").best_value == 1.0


def test_the_command_exports_runs_and_reports(folder: Path) -> None:
    typed("export", "digits", "--what", "reports", "--output", "r.csv")
    rows = list(csv.DictReader(Path("r.csv").read_text().splitlines()))
    assert [(r["trial"], r["step"], r["metric"], float(r["value"])) for r in rows][:2] == [
        ("0", "0", "value", 4.0),
        ("0", "1", "value", 2.0),
    ]
    typed("export", "digits", "--what", "runs", "--to", "json", "--output", "r.json")
    runs = json.loads(Path("r.json").read_text())
    assert [(r["trial"], r["state"]) for r in runs] == [(i, "completed") for i in range(3)]
    typed("export", "digits", "--what", "runs", "--to", "parquet", "--output", "r.parquet")
    assert pq.read_table("r.parquet").num_rows == 3


def test_the_command_exports_into_a_folder(folder: Path) -> None:
    typed("export", "digits", "--to", "dvc", "--output", "dvc")
    assert json.loads(Path("dvc/metrics.json").read_text()) == {"value": 1.0}
    typed("export", "digits", "--to", "tensorboard", "--output", "logs")
    assert len(list(Path("logs").rglob(EVENTS))) == 4
    typed("export", "digits", "--to", "dvc", code=2)


@pytest.mark.slow
def test_the_command_writes_a_report(folder: Path) -> None:
    assert typed("report", "digits").stdout == "digits-report.html\n"
    assert "digits" in Path("digits-report.html").read_text()
    typed("report", "digits", "-o", "r.html")
    assert "cannot write" in typed("report", "digits", "-o", "no/r.html", code=1).stderr


def test_the_command_collects_garbage(folder: Path) -> None:
    assert "deleted: 0 artifacts" in typed("gc").stdout
    shown = typed("gc", "--keep-best", "1", "digits", "--older-than", "0", "--dry-run").stdout
    assert "would forget: 2 models of digits" in shown
    assert "would be deleted: 2 artifacts" in shown
    assert len(tuner.load_study("digits").artifacts()) == 3
    shown = typed("gc", "--keep-best", "1", "digits", "--older-than", "0").stdout
    assert "forgot: 2 models of digits" in shown
    assert "deleted: 2 artifacts" in shown
    assert len(tuner.load_study("digits").artifacts()) == 1
