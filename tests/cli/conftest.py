"""A working directory with a script and a space."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from support.command_line import SCRIPT, SPACE


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))  # scripts put their folders there
    monkeypatch.delenv("TUNER_STORE", raising=False)
    (tmp_path / "train.py").write_text(SCRIPT)
    (tmp_path / "space.yaml").write_text(SPACE)
    return tmp_path
