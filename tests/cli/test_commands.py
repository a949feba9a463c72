"""The command line on real stores, as a user types it."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

import tuner
from tuner.cli.commands import cli

ROOT = Path(__file__).parent.parent.parent

SCRIPT = """
import time
from tuner import Choice, Float

space = {"x": Float(-1, 1), "m": Choice("none", svm={"C": Float(0.1, 10, log=True)})}
HELPER = 2

def objective(params, trial):
    trial.report(params["x"] ** HELPER, 0)
    return params["x"] ** HELPER

def fails(params):
    raise ValueError("no such column")

def slow(params):
    time.sleep(0.2)
    return params["x"]
"""

SPACE = """
params:
  x: {type: float, low: -1, high: 1}
constraints: ["x > 0"]
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TUNER_STORE", raising=False)
    (tmp_path / "train.py").write_text(SCRIPT)
    (tmp_path / "space.yaml").write_text(SPACE)
    return tmp_path


def call(*args: str, code: int = 0) -> Result:
    sys.modules.pop("train", None)
    result = CliRunner().invoke(cli, args)
    assert result.exit_code == code, result.output + repr(result.exception)
    return result


def run(*more: str, objective: str = "objective", code: int = 0) -> Result:
    return call(
        "run", f"train.py:{objective}", "--backend", "serial", "--n-trials", "8", "--study", "s",
        "--optimizer", "random", "--seed", "1", "--quiet", *more, code=code,
    )  # fmt: skip


def test_a_search_from_the_command_line(folder: Path) -> None:
    output = run().stdout
    study = tuner.load_study("s")
    assert len(study.trials) == 8
    assert output.startswith("study: s\nbest: value = ")
    assert f"  x: {study.best_params['x']!r}" in output
    assert tuner.list_models()[0].name == "s"


def test_a_space_from_a_file_and_options(folder: Path) -> None:
    run("--space", "space.yaml", "--direction", "maximize", "--register", "best-x")
    study = tuner.load_study("s")
    assert all(t.params["x"] > 0 for t in study)
    assert study.best_value == max(t.value for t in study)
    assert [v.name for v in tuner.list_models()] == ["best-x"]
    (folder / "space.json").write_text(study.space.to_json())
    run("--space", "space.json", "--direction", "maximize", "--no-register", "--n-trials", "9")
    assert len(tuner.load_study("s").trials) == 9


def test_the_same_command_goes_on(folder: Path) -> None:
    run()
    before = tuner.load_study("s").trials
    run("--n-trials", "12")
    after = tuner.load_study("s").trials
    assert len(after) == 12
    assert after[:8] == before


@pytest.mark.ray
def test_a_script_travels_to_ray_workers(folder: Path) -> None:
    os.chdir("/")
    sys.modules.pop("train", None)
    store = str(folder / "store")
    call(
        "run", f"{folder}/train.py:objective", "--n-trials", "6", "--store", store, "--quiet",
        "--study", "r", "--cpus", "0.5", "--workers", "2",
    )  # fmt: skip
    assert len(tuner.load_study("r", store=store).trials) == 6


def test_studies_are_listed(folder: Path) -> None:
    assert "no studies yet" in call("studies").stderr
    assert not (folder / ".tuner").exists(), "looking makes no store"
    run()
    header, line = call("studies").stdout.splitlines()
    assert header.split("\t")[:5] == ["study", "goal", "trials", "completed", "best"]
    assert line.split("\t")[:4] == ["s", "minimize value", "8", "8"]


def test_a_study_is_shown(folder: Path) -> None:
    run()
    output = call("show", "s", "--top", "3").stdout
    assert "trials:     8 (8 completed)" in output
    assert re.search(r"optimizer:\s+random", output)
    assert len([line for line in output.splitlines() if "x=" in line]) == 3
    best = tuner.load_study("s").best_trial
    assert f"in trial {best.number}" in output


def test_failures_are_shown_by_reason(folder: Path) -> None:
    result = run(objective="fails", code=1)
    assert result.stderr.startswith("tuner: error: study 's': every trial so far failed")
    assert "no such column" in result.stderr
    assert "failed 5x: ValueError: no such column" in call("show", "s").stdout


def test_the_best_as_text_and_json(folder: Path) -> None:
    run()
    best = tuner.load_study("s").best_trial
    assert f"in trial {best.number}" in call("best", "s").stdout
    content = json.loads(call("best", "s", "--json").stdout)
    assert content["value"] == best.value
    assert content["trial"] == best.number
    assert content["params"]["m"][0] == best.params["m"][0]


def test_plots_are_drawn(folder: Path) -> None:
    run()
    output = call("plot", "s", "--to", "plots", "--kind", "history", "--format", "svg").stdout
    assert output == "plots/s-history.svg\n"
    assert (folder / "plots" / "s-history.svg").read_text().startswith("<?xml")
    call("plot", "s", "--to", "all")
    assert len(list((folder / "all").glob("s-*.png"))) == 7


def test_models_are_listed(folder: Path) -> None:
    assert "no models yet" in call("models").stderr
    run()
    header, line = call("models").stdout.splitlines()
    row = dict(zip(header.split("\t"), line.split("\t"), strict=True))
    assert (row["model"], row["version"], row["aliases"]) == ("s", "1", "champion")


def test_the_table_is_exported(folder: Path) -> None:
    run()
    rows = list(csv.DictReader(io.StringIO(call("export", "s").stdout)))
    assert len(rows) == 8
    assert float(rows[0]["x"]) == tuner.load_study("s").trials[0].params["x"]
    assert len(json.loads(call("export", "s", "--to", "json").stdout)) == 8
    call("export", "s", "--to", "csv", "--output", "s.csv")
    assert (folder / "s.csv").exists()


def test_a_store_is_upgraded(folder: Path) -> None:
    run()
    assert call("db", "upgrade").stdout == "the store is up to date\n"


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["show", "nothing"], "'nothing'"),
        (["best", "nothing"], "'nothing'"),
        (["run", "train.py"], "write SCRIPT.py:NAME"),
        (["run", "train.py:missing"], "has no 'missing'"),
        (["run", "train.py:HELPER"], "2 is no function"),
        (["run", "other.py:objective"], "no script 'other.py'"),
        (["run", "broken.py:objective"], "broken.py failed: ZeroDivisionError"),
        (["run", "train.py:objective", "--space", "none.yaml"], "none.yaml: No such file"),
        (["run", "train.py:objective", "--space", "train.py:HELPER"], "2 is a int"),
        (["run", "train.py:objective", "--n-trials", "0"], "n_trials=0"),
        (["run", "train.py:objective", "--optimizer", "tpee"], "did you mean 'tpe'"),
        (["plot", "s", "--format", "bmpx"], "bmpx"),
        (["export", "s", "--output", "no/such/folder.csv"], "cannot write"),
    ],
)
def test_an_error_is_one_line_and_exit_code_1(folder: Path, args: list[str], says: str) -> None:
    run()
    (folder / "broken.py").write_text("1 / 0")
    result = call(*args, code=1)
    assert result.stderr.startswith("tuner: error: ")
    assert says in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    "args",
    [["fly"], ["run"], ["show", "s", "--top", "-1"], ["export", "s", "--to", "xls"]],
)
def test_a_wrong_option_is_exit_code_2(folder: Path, args: list[str]) -> None:
    call(*args, code=2)


def test_register_and_no_register_exclude_each_other(folder: Path) -> None:
    run("--register", "m", "--no-register", code=2)


def test_ctrl_c_is_exit_code_130(folder: Path) -> None:
    process = subprocess.Popen(
        [Path(sys.executable).parent / "tuner", "run", "train.py:slow", "--backend", "serial",
         "--n-trials", "1000", "--study", "s", "--optimizer", "random"],
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    while not (folder / ".tuner" / "tuner.db").exists() or not tuner.load_study("s").trials:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "the same command goes on where it stopped" in err
    assert "Traceback" not in err


def _commands(group: click.Group, prefix: str) -> dict[str, click.Command]:
    found: dict[str, click.Command] = {}
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            found |= _commands(command, f"{prefix} {name}")
        else:
            found[f"{prefix} {name}"] = command
    return found


def test_every_command_and_option_is_in_the_docs() -> None:
    page = (ROOT / "docs" / "cli.md").read_text()
    for name, command in _commands(cli, "tuner").items():
        assert f"## {name}\n" in page, f"docs/cli.md does not show {name!r}"
        assert command.help, f"{name} says nothing of itself"
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                option = max(parameter.opts, key=len)
                assert f"{option}" in page, f"docs/cli.md does not show {name} {option}"
