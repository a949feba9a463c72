"""The environment of the caller does not reach the tests, and the marks of tests are correct."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
HOSTILE = {
    "TUNER_STORE": "postgresql://192.0.2.1:1/nowhere",
    "TUNER_ARTIFACTS": "s3://nobodys-bucket",
    "RAY_ADDRESS": "192.0.2.1:1",
    "MLFLOW_TRACKING_URI": "http://192.0.2.1:1",
    "PYTHONHASHSEED": "7",
}

pytest_plugins = ["pytester"]


def run_tests(cwd: Path, *selected: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=short", *selected],
        cwd=cwd,
        env=kept | HOSTILE,
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_environment_variables_of_the_caller_are_removed() -> None:
    assert not HOSTILE.keys() & os.environ.keys()


@pytest.mark.process
def test_tests_pass_with_any_variables_and_in_any_folder(tmp_path: Path) -> None:
    done = run_tests(
        tmp_path,
        f"{__file__}::test_environment_variables_of_the_caller_are_removed",
        f"{TESTS}/test_docs.py::test_the_python_blocks_of_a_page_run[find.md]",
        f"{TESTS}/study/test_constraints_and_goals.py::TestSeveralGoals",
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert list(tmp_path.iterdir()) == []


UNMARKED = """
import multiprocessing, os, socket, subprocess, sys
import pytest

def test_popen(): subprocess.run([sys.executable, "-c", ""], check=True)
def test_shell(): os.system("true")
def test_fork():
    if (pid := os.fork()) == 0:
        os._exit(0)
    os.waitpid(pid, 0)
def test_spawn():
    process = multiprocessing.get_context("spawn").Process(target=print)
    process.start()
    process.join()
def test_listens(): socket.create_server(("127.0.0.1", 0)).close()
def test_ray(): import ray

@pytest.mark.process
def test_marked(): subprocess.run([sys.executable, "-c", ""], check=True)
def test_provenance(): subprocess.run(["git", "--version"], check=True)
"""


FOUND = {
    "test_popen": "starts * -c *",
    "test_shell": "starts a process (os.system)",
    "test_fork": "starts a process (os.fork)",
    "test_spawn": "starts a process (tests.fork_exec)",
    "test_listens": "listens on *",
    "test_ray": "imports ray",
}


@pytest.mark.process
def test_a_test_without_a_required_mark_fails(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(TESTS), str(TESTS.parent)]))
    pytester.makeconftest((TESTS / "conftest.py").read_text())
    pytester.makepyprojecttoml((TESTS.parent / "pyproject.toml").read_text())
    pytester.makepyfile(test_unmarked=UNMARKED)
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(failed=6, passed=2)
    for name, found in FOUND.items():
        result.stdout.fnmatch_lines([f"*_ {name} _*", f"this test {found}: mark it process,*"])
