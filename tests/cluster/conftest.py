"""One real cluster with a token and a dashboard for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.cluster_shell import Shell
from support.heads import RunningHead, running_head

HELPER = "SCALE = 2\n\n\ndef objective(params):\n    return SCALE * params['x']\n"


@pytest.fixture(scope="package")
def head() -> Iterator[RunningHead]:
    with running_head() as head:
        yield head


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with a module and data, as a user's sweep has them."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "scaling.py").write_text(HELPER)
    (folder / "data.txt").write_text("seven\n")
    return folder


@pytest.fixture
def shell(head: RunningHead, project: Path) -> Shell:
    return Shell(head, project)


@pytest.fixture
def no_token(tmp_path: Path) -> Path:
    """The home folder of a user without a token."""
    home = tmp_path / "stranger"
    home.mkdir()
    return home


@pytest.fixture
def wrong_token(no_token: Path) -> Path:
    (no_token / ".ray").mkdir()
    (no_token / ".ray" / "auth_token").write_text("0" * 64)
    return no_token
