from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import importlib.util
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tuner.provenance import capture as provenance
from tuner.provenance.capture import current_code, current_environment


def objective(params: dict[str, Any]) -> float:
    return float(params["x"])


class Callable_:  # noqa: N801
    def __call__(self, params: dict[str, Any]) -> float:
        return 0.0

    def method(self, params: dict[str, Any]) -> float:
        return 1.0


def decorated(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any) -> Any:
        return function(*args)

    return wrapper


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    done = subprocess.run(
        ["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A git repository with one committed module."""
    (tmp_path / "mine.py").write_text("def f(params):\n    return 1\n", encoding="utf-8")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "first")
    return tmp_path


def imported(file: Path) -> Any:
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# --- the objective --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "name", "source"),
    [
        (objective, "objective", "def objective("),
        (functools.partial(objective, 1), "objective", "def objective("),
        (functools.partial(functools.partial(objective), 1), "objective", "def objective("),
        (decorated(objective), "objective", "def objective("),
        (Callable_(), "Callable_", "class Callable_"),
        (Callable_().method, "Callable_.method", "def method("),
        (Callable_, "Callable_", "class Callable_"),
        (lambda params: 0, "<lambda>", "lambda params: 0"),
    ],
)
def test_every_objective_has_a_name_and_source(given: Any, name: str, source: str) -> None:
    code = current_code(given)
    assert code.objective == f"{__name__}.{name}"
    assert code.source.lstrip(" (").startswith(source)
    assert code.source_sha256 == hashlib.sha256(code.source.encode()).hexdigest()


def test_an_objective_without_source_is_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, Any] = {"__name__": "__main__"}
    exec("def typed(params):\n    return 1\n", namespace)
    for given, name in ((namespace["typed"], "__main__.typed"), (max, "builtins.max")):
        code = current_code(given)
        assert (code.objective, code.source, code.source_sha256) == (name, "", "")
    assert current_code() == current_code(None)
    assert current_code().objective == ""


@pytest.mark.process
def test_a_function_of_a_script_belongs_to_main(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from tuner.provenance.capture import current_code\n"
        "def f(params):\n    return 1\n"
        "print(current_code(f).objective, len(current_code(f).source))\n",
        encoding="utf-8",
    )
    done = subprocess.run([sys.executable, script], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["__main__.f", "28"]


# --- git ------------------------------------------------------------------------------------------


def test_a_clean_repository_has_a_commit_and_no_diff(repository: Path) -> None:
    code = current_code(imported(repository / "mine.py").f)
    assert code.commit == git(repository, "rev-parse", "HEAD")
    # Python's cache of the module is not in the repository either.
    assert [line for line in code.diff.splitlines() if "__pycache__" not in line] == []


def test_differences_from_the_commit_are_recorded(repository: Path) -> None:
    function = imported(repository / "mine.py").f
    (repository / "mine.py").write_text("def f(params):\n    return 2\n", encoding="utf-8")
    (repository / "new ☃.txt").touch()
    (repository / "sub").mkdir()
    (repository / "sub" / "deep.txt").touch()
    git(repository, "add", "sub")
    diff = current_code(function).diff
    assert "-    return 1\n+    return 2\n" in diff
    assert "# untracked: new ☃.txt\n" in diff
    assert "sub/deep.txt" in diff


@pytest.mark.slow
def test_a_large_diff_is_cut(repository: Path) -> None:
    function = imported(repository / "mine.py").f
    (repository / "mine.py").write_text("x = 1\n" * 300_000, encoding="utf-8")
    diff = current_code(function).diff
    assert len(diff) < provenance.MAX_DIFF + 100
    assert diff.rstrip().endswith("more characters")


def test_the_repository_of_the_working_directory_is_the_fallback(
    repository: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside = tmp_path_factory.mktemp("outside") / "other.py"
    outside.write_text("def f(params):\n    return 1\n", encoding="utf-8")
    function = imported(outside).f
    monkeypatch.chdir(outside.parent)
    assert (current_code(function).commit, current_code(function).diff) == ("", "")
    monkeypatch.chdir(repository)
    assert current_code(function).commit == git(repository, "rev-parse", "HEAD")


def test_a_repository_without_a_commit_is_ignored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(tmp_path, "init", "-q")
    monkeypatch.chdir(tmp_path)
    assert current_code(max).commit == ""


def test_a_machine_without_git_records_no_commit(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    function = imported(repository / "mine.py").f
    monkeypatch.setenv("PATH", "/nonexistent")
    code = current_code(function)
    assert (code.commit, code.diff) == ("", "")
    assert code.source.startswith("def f")


def test_a_hanging_git_times_out(
    repository: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    function = imported(repository / "mine.py").f
    slow = tmp_path_factory.mktemp("bin") / "git"
    slow.write_text("#!/bin/sh\nexec sleep 60\n", encoding="utf-8")
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", str(slow.parent), prepend=":")
    monkeypatch.setattr("tuner.provenance.capture.GIT_TIMEOUT", 0.2)
    begun = time.monotonic()
    assert current_code(function).commit == ""
    assert time.monotonic() - begun < 5


def test_capture_does_not_modify_the_repository(repository: Path) -> None:
    before = (repository / ".git" / "index").stat().st_mtime_ns
    os.utime(repository / "mine.py", (1e9, 1e9))
    current_code(imported(repository / "mine.py").f)
    assert (repository / ".git" / "index").stat().st_mtime_ns == before


# --- the environment ------------------------------------------------------------------------------


def test_the_recorded_environment_is_the_current_one() -> None:
    environment = current_environment()
    assert environment.python == platform.python_version()
    assert environment.packages["numpy"] == importlib.metadata.version("numpy")
    assert list(environment.packages) == sorted(environment.packages, key=str.lower)
    assert current_environment() is environment


@pytest.mark.process
def test_vendored_packages_are_not_recorded() -> None:
    # Ray puts a folder with psutil and colorama on the path when it is imported.
    said = [
        subprocess.run(
            [sys.executable, "-c", f"{first}; from tuner.provenance.capture import *; "
             "print(current_environment().packages)"],
            capture_output=True, text=True, check=True,
        ).stdout
        for first in ("import sys", "import ray")
    ]  # fmt: skip
    assert said[0] == said[1]
