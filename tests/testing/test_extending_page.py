"""The page on custom parts: every example passes its suite under pytest."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.process

PAGE = Path(__file__).parents[2] / "docs" / "extending.md"
PYTHON_BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command], cwd=folder, capture_output=True, text=True, timeout=300
    )


def test_the_examples_pass_the_suites(tmp_path: Path) -> None:
    code = "\n".join(PYTHON_BLOCK.findall(PAGE.read_text()))
    (tmp_path / "test_page.py").write_text(code)
    done = run(tmp_path, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_page.py")
    assert done.returncode == 0, done.stdout[-3000:]
    assert "skipped" not in done.stdout


def test_a_failure_shows_the_values_of_the_assertion(tmp_path: Path) -> None:
    (tmp_path / "test_wrong.py").write_text(
        "from tuner.schedulers import ASHA\n"
        "from tuner.testing import SchedulerConformance\n"
        "class TestWrong(SchedulerConformance):\n"
        "    def make(self):\n"
        "        return ASHA(grace=1000)\n"
    )
    done = run(tmp_path, "-m", "pytest", "-q", "test_wrong.py", "-k", "bad_trials")
    assert done.returncode == 1
    assert "assert 0 > 10" in done.stdout


def test_a_missing_dependency_is_named_with_its_extra(tmp_path: Path) -> None:
    code = "import sys; sys.modules['hypothesis'] = None; import tuner.testing"
    done = run(tmp_path, "-c", code)
    assert "MissingExtra: tuner.testing needs hypothesis" in done.stderr
    assert "pip install 'tuner[testing]'" in done.stderr


def test_the_package_itself_imports_neither_pytest_nor_hypothesis(tmp_path: Path) -> None:
    code = "import sys, tuner, tuner.cli.commands; print({'pytest', 'hypothesis'} & {*sys.modules})"
    assert run(tmp_path, "-c", code).stdout == "set()\n"
