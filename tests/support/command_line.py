"""A script, a space and a runner for tests of the command line."""

from __future__ import annotations

import sys

import click
from click.testing import CliRunner, Result

from tuner.cli.commands import cli

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


def commands(group: click.Group, prefix: str) -> dict[str, click.Command]:
    """Return the commands of a group and its groups by their full names."""
    found: dict[str, click.Command] = {}
    for name, command in group.commands.items():
        if command.hidden:
            continue
        if isinstance(command, click.Group):
            found |= commands(command, f"{prefix} {name}")
        else:
            found[f"{prefix} {name}"] = command
    return found


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
