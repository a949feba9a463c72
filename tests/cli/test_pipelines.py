"""The commands as steps of a pipeline: exit codes, JSON, and the pipeline of the docs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from support.command_line import commands
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
        says = "exit code is 0" in (command.help or "")
        assert says == ("3:" in table[name][1]), f"help and table of {name} differ"


def test_every_command_of_models_prints_json() -> None:
    for name, command in commands(cli, "tuner").items():
        if name.startswith("tuner models ") and name not in LONG_RUNNING:
            assert json_option_of(command) == "--json", name


@pytest.mark.slow
@pytest.mark.process
def test_the_pipeline_of_the_page_runs(tmp_path: Path) -> None:
    page = PAGE.read_text()
    [script] = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    [shell] = re.findall(r"^```sh\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    (tmp_path / "train.py").write_text(script)
    (tmp_path / "input.csv").write_text("a,b,c,d\n5.1,3.5,1.4,0.2\n6.7,3.0,5.2,2.3\n")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", shell], cwd=tmp_path, env={**os.environ, "PATH": path},
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    read = {name: json.loads((tmp_path / f"{name}.json").read_text())
            for name in ("search", "promotion", "package")}  # fmt: skip
    assert read["search"]["trials"] == {"completed": 4}
    assert read["search"]["model"]["aliases"] == ["champion"]
    assert (read["promotion"]["promoted"], read["package"]["version"]) == (True, 1)
    assert (tmp_path / "predictions.csv").read_text().split() == ["prediction", "0", "2"]
