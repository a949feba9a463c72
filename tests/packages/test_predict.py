"""Packages in a process that cannot import tuner: predictions, refusals, and MLflow."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import tuner
from support.packages import Registered, code_of, register

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

PREDICT_THEN_LOAD = """
import runpy, sys
from pathlib import Path
import pandas as pd

rows, output, loaded = sys.argv[1:]
sys.argv[1:] = [rows, "--output", output]
try:
    runpy.run_module("predict", run_name="__main__", alter_sys=True)
except SystemExit as end:
    assert end.code == 0

from mlflow import pyfunc

model = pyfunc.load_model(str(Path.cwd()))
types = [column["type"] for column in model.metadata.signature.inputs.to_dict()]
assert types == ["double", "long", "string", "any"], types
predictions = model.predict(pd.read_parquet(rows))
pd.Series(predictions, name="prediction").to_csv(loaded, index=False)
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
def test_a_package_predicts_as_the_registered_model_alone_and_in_mlflow(
    registered: Registered, tmp_path: Path
) -> None:
    registered.table.to_parquet(tmp_path / "rows.parquet")
    package = shutil.copytree(registered.folder, tmp_path / "p")
    (package / "both.py").write_text(PREDICT_THEN_LOAD)
    files = [str(tmp_path / name) for name in ("rows.parquet", "alone.csv", "mlflow.csv")]
    done = run(package, "both", *files)
    assert done.returncode == 0, done.stderr[-2000:]
    for name in ("alone.csv", "mlflow.csv"):
        assert predictions((tmp_path / name).read_text()) == registered.expected


def test_a_package_reads_csv_and_json_lines(
    registered: Registered, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registered.table.to_csv(tmp_path / "rows.csv", index=False)  # with the texts NA and 007
    registered.table.to_json(tmp_path / "rows.jsonl", orient="records", lines=True)
    main = code_of(registered.folder, "command", monkeypatch).main
    output = tmp_path / "out.csv"
    for name in ("rows.csv", "rows.jsonl"):
        assert main(registered.folder, [str(tmp_path / name), "--output", str(output)]) == 0
        assert predictions(output.read_text()) == registered.expected


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ("age,children,town\n31,2,Rome\n", "column 'color'"),
        ("age,children,town,color\nold,2,Rome,red\n", "column 'age', row 0: 'old'"),
        ("age,children,town,color\n31,2,Rome,green\n", "'green' is not allowed"),
        ("age,children,town,color\n31,,Rome,red\n", "column 'children'"),
    ],
)
def test_the_signature_refuses_other_rows(
    registered: Registered,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    rows: str,
    says: str,
) -> None:
    (tmp_path / "rows.csv").write_text(rows)
    main = code_of(registered.folder, "command", monkeypatch).main
    assert main(registered.folder, [str(tmp_path / "rows.csv")]) == 1
    said = capsys.readouterr().err
    assert says in said
    assert said.count("\n") == 1


def test_an_input_that_cannot_be_read_is_an_error(
    registered: Registered, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "rows").write_text("age\n1\n")
    (tmp_path / "rows.jsonl").write_text("{")
    main = code_of(registered.folder, "command", monkeypatch).main
    for name in ("rows", "rows.jsonl", "nowhere.csv"):
        assert main(registered.folder, [str(tmp_path / name)]) == 1


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


def test_a_pickle_is_loaded_only_with_permission(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from sklearn.tree import DecisionTreeClassifier

    monkeypatch.setenv("MODEL_ALLOW_PICKLE", "0")  # it is restored after the command has set it
    model = DecisionTreeClassifier().fit([[0.0, 1.0], [1.0, 0.0]], ["no", "yes"])
    register(tmp_path / "store", model, format="pickle", allow_pickle=True)
    with pytest.raises(tuner.errors.UntrustedModel):
        tuner.export_model("people", tmp_path / "p", store=tmp_path / "store")
    given = {"store": tmp_path / "store", "allow_pickle": True}
    package = tuner.export_model("people", tmp_path / "p", **given).path
    assert "scikit-learn==" in (package / "requirements.lock").read_text()
    assert "--allow-pickle" in (package / "README.md").read_text()
    rows = tmp_path / "rows.csv"
    rows.write_text("a,b\n1,0\n0,1\n")
    main = code_of(package, "command", monkeypatch).main
    assert main(package, [str(rows)]) == 1
    assert "runs whatever code" in capsys.readouterr().err
    assert main(package, [str(rows), "--allow-pickle"]) == 0
    assert predictions(capsys.readouterr().out) == ["yes", "no"]
