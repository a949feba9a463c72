"""Who came first writes first, and nobody waits for one that has stopped."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tuner.tracking import turns
from tuner.tracking.turns import QUEUE, turn

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such queue")

TAKE = """
import pathlib, sys
from tuner.tracking.turns import turn

turn.__globals__["PATIENCE"] = 60.0
print("here", flush=True)
with turn(pathlib.Path(sys.argv[1])):
    print("mine", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "tuner.db"
    file.write_bytes(b"")
    return file


@pytest.fixture
def processes() -> Iterator[list[subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        process.kill()
        process.communicate()


def start(file: Path, processes: list[subprocess.Popen[str]]) -> subprocess.Popen[str]:
    """Start a process that queues until it has its turn, and then until it is told to end."""
    command = [sys.executable, "-c", TAKE, str(file)]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )
    processes.append(process)
    assert process.stdout is not None
    assert process.stdout.readline() == "here\n"
    return process


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_those_who_wait_go_in_the_order_they_came(
    file: Path, processes: list[subprocess.Popen[str]]
) -> None:
    for _ in range(4):
        start(file, processes)
        time.sleep(0.3)  # until it waits in the system's call
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "mine\n"
        assert process.stdin is not None
        process.stdin.write("\n")
        process.wait(10)


def test_one_that_has_stopped_holds_nobody_up(
    file: Path, processes: list[subprocess.Popen[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "PATIENCE", 0.2)
    first = start(file, processes)
    assert first.stdout is not None
    assert first.stdout.readline() == "mine\n"
    before = descriptors()
    began = time.monotonic()
    with turn(file):
        assert 0.2 <= time.monotonic() - began < 5.0
    first.kill()
    first.communicate()
    deadline = time.monotonic() + 10
    without_pipes = before - 2
    while descriptors() > without_pipes and time.monotonic() < deadline:
        time.sleep(0.01)
    assert descriptors() == without_pipes, "the place that was left is given back in the end"
    with turn(file):
        pass


def test_no_file_is_left_open(file: Path) -> None:
    with turn(file):
        pass
    before = descriptors()
    for _ in range(10):
        with pytest.raises(KeyError), turn(file):
            raise KeyError
    assert descriptors() == before


def test_without_a_queue_it_is_everybodys_turn(file: Path) -> None:
    Path(f"{file}{QUEUE}").mkdir()
    with turn(file), turn(file):
        pass
