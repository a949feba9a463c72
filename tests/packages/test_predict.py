"""Packages in a process that cannot import tuner: predictions, refusals, and MLflow."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import tuner
from support.packages import Registered, register

NO_TUNER = """
import runpy, sys

class NoTuner:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "tuner":
            raise ImportError(f"{name} is hidden")

sys.meta_path.insert(0, NoTuner())
sys.argv[0] = "predict"
runpy.run_module(sys.argv.pop(1), run_name="__main__", alter_sys=True)
"""

WITH_MLFLOW = """
import sys
from mlflow import pyfunc
import pandas as pd

_, package, rows, output = sys.argv
predictions = pyfunc.load_model(package).predict(pd.read_parquet(rows))
pd.Series(predictions, name="prediction").to_csv(output, index=False)
"""


def run(folder: Path, module: str, *args: str, **environment: str) -> subprocess.CompletedProcess:
    """Run a module in a folder, where tuner cannot be imported."""
    return subprocess.run(
        [sys.executable, "-c", NO_TUNER, module, *args],
        cwd=folder,
        env={name: text for name, text in os.environ.items() if name != "PYTHONPATH"} | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


def predict(folder: Path, *args: str, code: int = 0, **environment: str) -> str:
    done = run(folder, "predict", *args, **environment)
    assert done.returncode == code, done.stderr
    return done.stdout if code == 0 else done.stderr


def predictions(output: str) -> list[str]:
    header, *lines = output.splitlines()
    assert header == "prediction"
    return lines


@pytest.mark.process
@pytest.mark.slow
def test_a_package_predicts_as_the_registered_model(registered: Registered, tmp_path: Path) -> None:
    registered.table.to_parquet(tmp_path / "rows.parquet")
    output = predict(registered.folder, str(tmp_path / "rows.parquet"))
    assert predictions(output) == registered.expected


@pytest.mark.process
@pytest.mark.slow
def test_mlflow_loads_a_package(registered: Registered, tmp_path: Path) -> None:
    registered.table.to_parquet(tmp_path / "rows.parquet")
    (tmp_path / "with_mlflow.py").write_text(WITH_MLFLOW)
    done = run(tmp_path, "with_mlflow", str(registered.folder), "rows.parquet", "out.csv")
    assert done.returncode == 0, done.stderr[-2000:]
    assert predictions((tmp_path / "out.csv").read_text()) == registered.expected


def code_of(folder: Path, module: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a module of a package, imported into this process."""
    monkeypatch.syspath_prepend(str(folder / "src"))
    package = json.loads((folder / "manifest.json").read_text())["module"]
    return importlib.import_module(f"{package}.{module}")


def test_a_package_reads_json_lines(
    registered: Registered, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = registered.table.to_json(orient="records", lines=True)
    (tmp_path / "rows").write_text(rows)
    main = code_of(registered.folder, "command", monkeypatch).main
    arguments = [str(tmp_path / "rows"), "--output", str(tmp_path / "out.csv")]
    assert main(registered.folder, arguments) == 1  # the ending does not tell the type
    assert main(registered.folder, [*arguments, "--input-format", "jsonl"]) == 0
    assert predictions((tmp_path / "out.csv").read_text()) == registered.expected


@pytest.mark.process
def test_a_changed_file_is_refused_before_it_is_parsed(
    registered: Registered, tmp_path: Path
) -> None:
    package = shutil.copytree(registered.folder, tmp_path / "p")
    model = package / "model" / "model.skops"
    model.write_bytes(model.read_bytes()[:-1] + b"x")
    error = predict(package, "nothing.csv", code=1)
    assert "model/model.skops was changed" in error
    assert error.count("\n") == 1


@pytest.mark.process
def test_verify_compares_every_file(registered: Registered, tmp_path: Path) -> None:
    package = shutil.copytree(registered.folder, tmp_path / "p")
    assert predict(package, "--verify").startswith("verified: people, version 1")
    (package / "README.md").write_text("other")
    assert "README.md was changed" in predict(package, "--verify", code=1)


@pytest.mark.process
@pytest.mark.soak
def test_mlflows_command_predicts_with_a_package(registered: Registered, tmp_path: Path) -> None:
    rows = registered.table.to_dict(orient="split", index=False)
    text = registered.table.to_json(orient="split", index=False)
    assert rows["columns"] == json.loads(text)["columns"]
    (tmp_path / "rows.json").write_text(f'{{"dataframe_split": {text}}}')
    done = run(
        tmp_path, "mlflow", "models", "predict", "--model-uri", str(registered.folder),
        "--input-path", str(tmp_path / "rows.json"), "--env-manager", "local",
        PATH=f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout.splitlines()[-1]) == {"predictions": registered.expected}


@pytest.mark.process
@pytest.mark.slow
def test_a_pickle_is_loaded_only_with_permission(tmp_path: Path) -> None:
    from sklearn.tree import DecisionTreeClassifier

    model = DecisionTreeClassifier().fit([[0.0, 1.0], [1.0, 0.0]], ["no", "yes"])
    register(tmp_path / "store", model, format="pickle", allow_pickle=True)
    with pytest.raises(tuner.errors.UntrustedModel):
        tuner.export_model("people", tmp_path / "p", store=tmp_path / "store")
    given = {"store": tmp_path / "store", "allow_pickle": True}
    package = tuner.export_model("people", tmp_path / "p", **given).path
    assert "scikit-learn==" in (package / "requirements.lock").read_text()
    assert "--allow-pickle" in (package / "README.md").read_text()
    (tmp_path / "rows.csv").write_text("a,b\n1,0\n0,1\n")
    assert "runs whatever code" in predict(package, "../rows.csv", code=1)
    assert predictions(predict(package, "../rows.csv", "--allow-pickle")) == ["yes", "no"]
