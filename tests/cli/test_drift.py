"""The commands drift and profile, and their exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from support.command_line import call


@pytest.fixture
def tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for name, mean in (("train", 0.0), ("same", 0.0), ("moved", 0.5)):
        frame = pd.DataFrame({"x": rng.normal(mean, 1, 500), "y": rng.random(500) < 0.5})
        frame.to_csv(tmp_path / f"{name}.csv", index=False)
    return tmp_path


def test_the_exit_code_says_whether_there_is_drift(tables: Path) -> None:
    assert "no drift found" in call("drift", "train.csv", "same.csv", "--no-joint").output
    assert "drift: x" in call("drift", "train.csv", "moved.csv", "--no-joint", code=3).output
    assert "does not exist" in call("drift", "train.csv", "none.csv", code=1).output
    call("drift", "train.csv", "same.csv", "--alpha", "2", code=2)


def test_a_profile_replaces_the_reference(tables: Path) -> None:
    call("profile", "train.csv", "--to", "train.json", "--target", "y")
    (tables / "train.csv").unlink()
    output = call(
        "drift", "train.json", "moved.csv", "--no-joint", "--json", "--html", "d.html",
        code=3,
    ).output  # fmt: skip
    roles = {f["column"]: f["role"] for f in json.loads(output)["findings"]}
    assert roles == {"x": "feature", "y": "target"}
    assert "drift: x" in (tables / "d.html").read_text()
    assert "cannot write" in call("profile", "same.csv", "--to", "no/p.json", code=1).output
