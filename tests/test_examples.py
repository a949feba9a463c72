"""The examples run, and tell what they promise."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.mark.slow
@pytest.mark.process
def test_the_life_of_a_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(EXAMPLES / "lifecycle.py"))["main"](tmp_path)
    told = capsys.readouterr().out
    for line in (
        "register: tumors@1 is champion",
        "monday:   150 rows served, 67% benign; no drift found",
        "benign; drift: mean area",
        "rules:    tumors@2 is challenger: not champion: it is not approved yet",
        "promote:  tumors@2 is champion",
        "drift:    no drift found",
        "rollback: tumors@1 is champion",
    ):
        assert line in told
