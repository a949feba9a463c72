"""What README and docs show is run: every Python block, in an empty folder, from top to bottom."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import tuner

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
PYTHON_BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")

MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(tuner.__path__, "tuner.")
    if ".migrations." not in module.name
)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_python_blocks_of_a_page_run(page: Path, tmp_path: Path) -> None:
    code = "\n".join(PYTHON_BLOCK.findall(page.read_text()))
    if page.name == "README.md":
        assert code, "the README shows a first search"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_links_of_a_page_lead_somewhere(page: Path) -> None:
    broken = [link for link in LINK.findall(page.read_text()) if not (page.parent / link).exists()]
    assert broken == []


@pytest.mark.parametrize("name", ["tuner", *MODULES])
def test_the_examples_in_docstrings_hold(name: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = doctest.testmod(importlib.import_module(name))
    assert result.failed == 0


def test_the_first_search_of_the_readme_is_short() -> None:
    first, *_ = PYTHON_BLOCK.findall((ROOT / "README.md").read_text())
    lines = [line for line in first.splitlines() if line.strip()]
    assert len(lines) <= 15
