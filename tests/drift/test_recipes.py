"""The recipes for scheduled checks in the documentation work as they are written."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from sklearn.linear_model import LogisticRegression

import tuner
from support.command_line import call
from tuner.registry import Registry

PAGE = (Path(__file__).parents[2] / "docs" / "drift.md").read_text()
SCRIPT = """
import os
import pandas as pd
from sklearn.linear_model import LogisticRegression

frame = pd.read_parquet(os.environ["TUNER_DATA"])

def objective(params, trial):
    X, y = frame[["income"]], frame["defaulted"]
    model = LogisticRegression(**params).fit(X, y)
    trial.log_model(model)
    return -model.score(X, y)
"""


def block(language: str) -> str:
    [found] = re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    return found


def commands(text: str) -> list[list[str]]:
    """Return the arguments of each call of tuner, without redirections of its output."""
    lines = [line.strip().removeprefix("- run: ") for line in text.splitlines()]
    return [
        shlex.split(line.partition(" > ")[0])[1:] for line in lines if line.startswith("tuner ")
    ]


def loans(n: int, seed: int, mean: float = 0.0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"income": rng.normal(mean, 1, n)})
    return frame.assign(defaulted=frame["income"] + rng.normal(0, 1, n) > 0)


@pytest.fixture
def credit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TUNER_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("TUNER_DATA", "")
    Path("train.py").write_text(SCRIPT)
    Path("data").mkdir()
    train = loans(300, 0)
    X, y = train[["income"]], train["defaulted"]
    tuner.optimize(
        lambda params: -params["C"], {"C": tuner.Float(0.1, 1.0)}, n_trials=1, data=(X, y),
        refit=lambda params: LogisticRegression(**params).fit(X, y), register="credit",
        backend="serial", store=tmp_path / "store", progress=False,
    )  # fmt: skip
    return tmp_path


def test_the_script_for_cron(credit: Path) -> None:
    check, retune = commands(block("sh"))
    assert "[ $code -eq 3 ]" in block("sh")
    loans(300, 1).to_parquet("data/today.parquet")
    call(*check)
    loans(300, 2, mean=1.0).to_parquet("data/today.parquet")
    call(*check, code=3)
    call(*retune, "--n-trials", "1", "--backend", "serial", code=3)
    assert Registry(credit / "store").get("credit@champion").version == 2
    assert [e.action for e in Registry(credit / "store").history("credit")].count("drift") == 2


def test_the_workflow_for_github(credit: Path) -> None:
    workflow = yaml.safe_load(block("yaml"))
    steps = workflow["jobs"]["check"]["steps"]
    [check] = commands("\n".join(step.get("run", "") for step in steps))
    loans(300, 2, mean=1.0).to_parquet("data/today.parquet")
    call(*check, code=3)
    assert Path(steps[-1]["with"]["path"]).read_text().startswith("<!")
