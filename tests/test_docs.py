"""The pages of the documentation are true: their code runs, and the names in them exist."""

from __future__ import annotations

import doctest
import importlib
import multiprocessing
import os
import pkgutil
import re
import shutil
import subprocess
import sys
import traceback
import types
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

import tuner

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
    "drift.md", "find.md", "goals.md", "knowledge.md", "optimizers.md", "packages.md",
    "pipelines.md", "plots.md", "registry.md", "reports.md", "schedulers.md",
    "search_spaces.md", "serving.md", "sklearn.md", "sklearn_spaces.md",
    "tracking.md", "winner.md",
}  # fmt: skip
"""Pages whose code starts no process; it runs in a fork of this one, which has the imports."""


@pytest.mark.process
@pytest.mark.parametrize(
    "page", [page for page in PAGES[1:] if python_of(page)], ids=lambda page: page.name
)
def test_the_python_blocks_of_a_page_run(page: Path, tmp_path: Path) -> None:
    code = python_of(page)
    if page.name in IN_ONE_PROCESS:
        return run_in_a_fork(code, tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return None


def run_in_a_fork(code: str, folder: Path) -> None:
    """Run code as a script in a forked process, in a working directory."""

    def run() -> None:
        os.chdir(folder)
        main = sys.modules["__main__"] = types.ModuleType("__main__")
        with open(output, "w") as file, redirect_stdout(file), redirect_stderr(file):
            try:
                exec(code, main.__dict__)
            except BaseException:
                traceback.print_exc()
                raise

    output = folder.with_name(f"{folder.name}-output")
    child = multiprocessing.get_context("fork").Process(target=run)
    child.start()
    child.join(300)
    child.kill()
    assert child.exitcode == 0, output.read_text()[-3000:]


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
