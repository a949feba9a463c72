"""The commands as steps of a pipeline: exit codes, JSON, and the pipeline of the docs."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest

from support.command_line import call, commands
from support.packages import code_of
from tuner.cli.commands import cli

PAGE = Path(__file__).parent.parent.parent / "docs" / "pipelines.md"

LONG_RUNNING = {"tuner models serve"}
"""Commands of models that serve until they are stopped, so they print no result."""


def rows() -> dict[str, tuple[str, str]]:
    """Return JSON option and further codes of each command in the table of the page."""
    found = re.findall(
        r"^\| `(tuner [\w -]+)` \| (.*?) ?\| (.*?) ?\|$", PAGE.read_text(), re.MULTILINE
    )
    assert len({name for name, *_ in found}) == len(found)
    return {name: (option.strip("`"), codes) for name, option, codes in found}


def json_option_of(command: click.Command) -> str:
    for parameter in command.params:
        if "--json" in parameter.opts:
            return "--json"
    for parameter in command.params:
        if isinstance(parameter.type, click.Choice) and "json" in parameter.type.choices:
            return f"{parameter.opts[0]} json"
    return ""


def test_the_table_has_the_json_and_the_codes_of_every_command() -> None:
    table, known = rows(), commands(cli, "tuner")
    assert {name: option for name, (option, _) in table.items()} == {
        name: json_option_of(command) for name, command in known.items()
    }
    for name, command in known.items():
        says = "exit code is 0" in " ".join((command.help or "").split())
        assert says == ("3:" in table[name][1]), f"help and table of {name} differ"


def test_every_command_of_models_prints_json() -> None:
    for name, command in commands(cli, "tuner").items():
        if name.startswith("tuner models ") and name not in LONG_RUNNING:
            assert json_option_of(command) == "--json", name


@pytest.fixture
def pipeline(folder: Path) -> str:
    """The shell script of the page, in a folder with its Python script and its input."""
    page = PAGE.read_text()
    [script] = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    [shell] = re.findall(r"^```sh\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    (folder / "train.py").write_text(script)
    (folder / "input.csv").write_text("a,b,c,d\n5.1,3.5,1.4,0.2\n6.7,3.0,5.2,2.3\n")
    return str(shell)


def test_the_commands_of_the_pipeline_print_json(
    folder: Path, pipeline: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = re.findall(r"^tuner (.*?) > (\w+)\.json", pipeline.replace("\\\n", ""), re.MULTILINE)
    said: dict[str, Any] = {}
    for line, name in lines:
        arguments = [part.replace("$model", "flowers@1") for part in shlex.split(line)]
        said[name] = json.loads(call(*arguments).stdout)
    assert said["search"]["trials"] == {"completed": 4}
    assert said["search"]["model"]["aliases"] == ["champion"]
    assert (said["promotion"]["promoted"], said["promotion"]["alias"]) == (True, "production")
    assert (said["package"]["path"], said["package"]["version"]) == ("package", 1)
    predict = code_of(folder / "package", "command", monkeypatch).main
    assert predict(folder / "package", ["input.csv", "--output", "predictions.csv"]) == 0
    assert (folder / "predictions.csv").read_text().split() == ["prediction", "0", "2"]


@pytest.mark.soak
@pytest.mark.process
def test_the_pipeline_runs_in_a_shell(folder: Path, pipeline: str) -> None:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", pipeline], env={**os.environ, "PATH": path}, capture_output=True, text=True,
        timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert (folder / "predictions.csv").read_text().split() == ["prediction", "0", "2"]
