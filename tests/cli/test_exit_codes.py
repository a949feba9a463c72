"""Errors, exit codes and output of the command line, and its commands in the docs."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest

import tuner
import tuner.cli.exchange
from support.command_line import SCRIPT, call, commands, run
from support.interrupts import heed_interrupts
from tuner.cli.commands import cli

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.slow
@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["show", "nothing"], "'nothing'"),
        (["best", "nothing"], "'nothing'"),
        (["run", "train.py"], "write SCRIPT.py:NAME or MODULE:NAME"),
        (["run", "train.py:missing"], "has no 'missing'"),
        (["run", "train.py:HELPER"], "2 is not a function"),
        (["run", "quits.py:objective"], "exited while it was loaded"),
        (["run", "typo.py:objective"], "SyntaxError"),
        (["run", "no.such.module:objective"], "module 'no.such.module' is neither"),
        (["run", "needs.py:objective"], "No module named 'nowhere'"),
        (["run", "train.py:objective", "--space", "latin.yaml"], "'latin.yaml' cannot be read"),
        (["run", "other.py:objective"], "script 'other.py' does not exist"),
        (["run", "broken.py:objective"], "broken.py failed: ZeroDivisionError"),
        (
            ["run", "train.py:objective", "--space", "none.yaml"],
            "'none.yaml' cannot be read: No such file",
        ),
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
    (folder / "quits.py").write_text("import sys\nsys.exit(3)")
    (folder / "typo.py").write_text("def objective(params:\n")
    (folder / "needs.py").write_text("import nowhere")
    (folder / "latin.yaml").write_bytes(b"params: {\xe4: 1}")
    result = call(*args, code=1)
    assert result.stderr.startswith("tuner: error: ")
    assert says in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "args",
    [["fly"], ["run"], ["show", "s", "--top", "-1"], ["export", "s", "--to", "xls"]],
)
def test_a_wrong_option_is_exit_code_2(folder: Path, args: list[str]) -> None:
    call(*args, code=2)


def test_an_error_message_of_several_lines_is_shown_as_one(folder: Path) -> None:
    (folder / "train.py").write_text(SCRIPT.replace("no such column", "no such\\ncolumn"))
    result = run(objective="fails", code=1)
    assert "no such column" in result.stderr
    assert result.stderr.count("\n") == 1


def test_register_and_no_register_exclude_each_other(folder: Path) -> None:
    run("--register", "m", "--no-register", code=2)


@pytest.mark.process
def test_ctrl_c_is_exit_code_130(folder: Path) -> None:
    process = subprocess.Popen(
        [Path(sys.executable).parent / "tuner", "run", "train.py:slow", "--backend", "serial",
         "--n-trials", "1000", "--study", "s", "--optimizer", "random"],
        stderr=subprocess.PIPE, text=True, preexec_fn=heed_interrupts,
    )  # fmt: skip
    while "s" not in {info.name for info in _studies()} or not tuner.load_study("s").trials:
        time.sleep(0.1)
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "repeat the command to resume" in err
    assert "Traceback" not in err


def _studies() -> list[tuner.records.StudyInfo]:
    """Return the studies of a store that is perhaps being made at this moment."""
    try:
        return tuner.list_studies()
    except tuner.errors.StoreError:
        return []


def test_every_command_and_option_is_in_the_docs() -> None:
    page = (ROOT / "docs" / "cli.md").read_text()
    for name, command in commands(cli, "tuner").items():
        assert f"## {name}\n" in page, f"docs/cli.md does not show {name!r}"
        assert command.help, f"{name} says nothing of itself"
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                option = max(parameter.opts, key=len)
                assert f"{option}" in page, f"docs/cli.md does not show {name} {option}"


def _examples() -> list[list[str]]:
    page = (ROOT / "docs" / "cli.md").read_text()
    helps = "".join(command.help or "" for command in commands(cli, "tuner").values())
    return [
        shlex.split(line)[1:] for line in re.findall(r"^ +(tuner .*)$", page + helps, re.MULTILINE)
    ]


@pytest.mark.parametrize("args", _examples(), ids=" ".join)
def test_the_examples_of_docs_and_help_are_valid_commands(args: list[str]) -> None:
    command: click.Command = cli
    while args and isinstance(command, click.Group):
        name, *args = args
        command = command.commands[name]
    command.make_context(command.name, args)


def test_the_space_in_the_docs_is_valid() -> None:
    page = (ROOT / "docs" / "cli.md").read_text()
    block = re.search(r"^    params:\n(?:    .*\n)+", page, re.MULTILINE)
    assert block is not None
    space = tuner.Space.from_yaml(block[0])
    assert [c.path for c in space.columns] == [
        "lr", "model", "model.svm.C", "model.forest.trees",
    ]  # fmt: skip


@pytest.mark.process
def test_a_closed_output_pipe_is_not_an_error(folder: Path) -> None:
    run()
    command = f"{Path(sys.executable).parent / 'tuner'} export s | head -1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert done.stdout.startswith("number,state,value")
    assert done.stderr == ""


@pytest.mark.process
def test_tables_are_drawn_in_a_terminal(folder: Path) -> None:
    import pty

    run("--n-trials", "3")
    master, slave = pty.openpty()
    subprocess.run([Path(sys.executable).parent / "tuner", "studies"], stdout=slave, check=True)
    os.close(slave)
    output = os.read(master, 100_000).decode()
    assert "─" in output
    assert "minimize value" in output
