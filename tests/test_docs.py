"""The pages of the documentation are true: their code runs, and the names in them exist."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import tuner
from support.forks import Fork

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
PYTHON_BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
NAME = re.compile(r"`(tuner(?:\.\w+)+)`")
FILE = re.compile(r"`((?:tuner|tests|backends|search_spaces|benchmarks|examples)/[\w/.]+\.\w+)`")
NO_NAMES = {"tuner.db", "tuner.model_formats"}
"""A file, and a group of entry points."""

LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")

MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(tuner.__path__, "tuner.")
    if ".migrations." not in module.name
)


def python_of(page: Path) -> str:
    return "\n".join(PYTHON_BLOCK.findall(page.read_text()))


def test_the_readme_has_one_script() -> None:
    assert len(PYTHON_BLOCK.findall((ROOT / "README.md").read_text())) == 1


IN_ONE_PROCESS = {
    "drift.md", "extending.md", "find.md", "goals.md", "index.md", "integrations.md",
    "knowledge.md", "optimizers.md", "packages.md", "pipelines.md", "plots.md", "registry.md",
    "reports.md", "schedulers.md", "search_spaces.md", "serving.md",
    "sklearn.md", "sklearn_spaces.md", "tracking.md", "winner.md",
}  # fmt: skip
"""Pages whose code starts no process; it runs in a fork of this one, which has the imports."""


@pytest.mark.process
@pytest.mark.parametrize(
    "page", [page for page in PAGES[1:] if python_of(page)], ids=lambda page: page.name
)
def test_the_python_blocks_of_a_page_run(page: Path, tmp_path: Path) -> None:
    code = python_of(page)
    if page.name in IN_ONE_PROCESS:
        fork = Fork(code, folder=tmp_path)
        _, errors = fork.communicate(timeout=300)
        assert fork.returncode == 0, errors[-3000:]
        return
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_links_of_a_page_have_targets(page: Path) -> None:
    broken = [link for link in LINK.findall(page.read_text()) if not (page.parent / link).exists()]
    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_names_and_files_on_a_page_exist(page: Path) -> None:
    text = page.read_text()
    names = [name for name in NAME.findall(text) if name not in NO_NAMES]
    assert [name for name in names if not exists(name)] == []
    assert [file for file in FILE.findall(text) if not (ROOT / file).exists()] == []


def exists(name: str) -> bool:
    try:
        pkgutil.resolve_name(name)
    except (ImportError, AttributeError):
        return False
    return True


@pytest.mark.parametrize("name", ["tuner", *MODULES])
@pytest.mark.slow
def test_the_doctests_pass(name: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = doctest.testmod(importlib.import_module(name))
    assert result.failed == 0


def test_the_first_search_of_the_readme_is_short() -> None:
    first, *_ = PYTHON_BLOCK.findall((ROOT / "README.md").read_text())
    lines = [line for line in first.splitlines() if line.strip()]
    assert len(lines) <= 15


def test_the_reference_has_every_public_name() -> None:
    pages = sorted((ROOT / "docs" / "reference").glob("*.md"))
    listed = {
        name for page in pages for name in re.findall(r"^::: (.+)$", page.read_text(), re.MULTILINE)
    }
    public = {f"tuner.{name}" for name in tuner.__all__}
    # The record types are on a separate page.
    assert public - listed - {"tuner.State", "tuner.Trial"} == set()
    assert "tuner.records" in listed


@pytest.mark.slow
@pytest.mark.process
def test_the_site_builds_and_needs_no_network(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    shutil.copy(ROOT / "zensical.toml", tmp_path)  # its folder, links resolved, is where it builds
    for name in ("tuner", "search_spaces", "backends"):
        (tmp_path / name).symlink_to(ROOT / name)
    command = [sys.executable, "-m", "zensical", "build", "--clean", "--strict"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    pages = [path.read_text() for path in (tmp_path / "site").rglob("*.html")]
    assert len(pages) > 20
    loaded = re.compile(r"<(?:script|link|img)[^>]+(?:src|href)=\"?(https?:)?//")
    assert not any(loaded.search(page) for page in pages)
    assert any("trial_timeout" in page and "<table" in page for page in pages)
