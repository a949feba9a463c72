"""The command that confirms the winner of a study, and the commands that show the result."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import tuner
from tuner.cli.commands import cli

SCRIPT = """
import random
import tuner
space = {"x": tuner.Float(-1, 1)}

def objective(params, trial):
    return params["x"] ** 2 + random.Random(trial.seed).gauss(0, 0.1)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "noisy.py").write_text(SCRIPT)
    return tmp_path


def call(line: str, code: int = 0) -> str:
    sys.modules.pop("noisy", None)
    result = CliRunner().invoke(cli, line.split())
    assert result.exit_code == code, result.output + repr(result.exception)
    return result.output


SEARCH = "run noisy.py:objective --backend serial --n-trials 20 --study s --seed 1 --quiet"


@pytest.mark.slow
def test_the_winner_is_confirmed_shown_and_registered(folder: Path) -> None:
    call(f"{SEARCH} --confirm 3")
    output = call(
        "confirm s noisy.py:objective --runs 5 --tolerance 0 --backend serial --quiet"
    ).splitlines()
    winner = tuner.load_study("s").winner
    assert winner.repeats == 5
    assert output[0] == f"winner: {winner.in_words()}"
    assert output[1].split() == ["trial", "runs", "observed", "estimate", "low", "high", "chance"]
    assert [int(line.split("\t")[0]) for line in output[2:]] == [e.trial for e in winner.leaders]
    shown = call("show s")
    assert f"winner:      {winner.in_words()}" in shown
    assert "luck:        the best value is" in shown
    assert len(call("find purpose='repeat' --what runs").splitlines()) == 1 + 5


def test_a_wrong_argument_is_an_error_in_one_line(folder: Path) -> None:
    call(SEARCH)
    assert "runs=0" in call("confirm s noisy.py:objective --runs 0 --backend serial", code=1)
    assert "confidence=2.0" in call(
        "confirm s noisy.py:objective --runs 2 --confidence 2 --backend serial", code=1
    )
    assert "confirm=0" in call(f"{SEARCH} --confirm 0", code=1)
