"""Processes write in the order of their arrival; a stopped process is skipped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tuner.tracking.database import write_queue
from tuner.tracking.database.write_queue import LOOK, QUEUE, FairLock, turn

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such queue")

TAKE = """
import pathlib, sys
from tuner.tracking.database import write_queue
from tuner.tracking.database.write_queue import turn

write_queue.PATIENCE = 60.0
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


def start_first(file: Path, processes: list[subprocess.Popen[str]]) -> subprocess.Popen[str]:
    """Start a process that has its turn at once."""
    first = start(file, processes)
    assert first.stdout is not None
    assert first.stdout.readline() == "mine\n"
    return first


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.process
def test_waiting_processes_get_their_turns_in_order(
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


@pytest.mark.process
def test_a_stopped_process_does_not_block_others(
    file: Path, processes: list[subprocess.Popen[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write_queue, "PATIENCE", 0.2)
    first = start_first(file, processes)
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


@pytest.mark.skipif(sys.platform != "linux", reason="only /proc tells who was stopped")
@pytest.mark.process
def test_a_process_stopped_by_a_signal_is_skipped_in_order(
    file: Path, processes: list[subprocess.Popen[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write_queue, "PATIENCE", 60.0)
    first = start_first(file, processes)
    waiting = [start(file, processes)]
    time.sleep(0.3)
    first.send_signal(signal.SIGSTOP)
    began = time.monotonic()
    time.sleep(2 * LOOK)  # until the one behind it notices; before that, a newcomer may overtake
    for _ in range(3):
        waiting.append(start(file, processes))
        time.sleep(0.3)
    for process in waiting:  # those who waited behind it, and those who came later
        assert process.stdout is not None
        assert process.stdout.readline() == "mine\n"
        assert process.stdin is not None
        process.stdin.write("\n")
        process.wait(10)
    assert time.monotonic() - began < 30.0, "someone waited out its patience"
    began = time.monotonic()
    for _ in range(20):
        with turn(file):
            pass
    assert time.monotonic() - began < 5.0
    first.kill()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells who has a lock")
@pytest.mark.process
def test_a_long_turn_is_waited_for_only_once(
    file: Path, processes: list[subprocess.Popen[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write_queue, "PATIENCE", 2.0)
    start_first(file, processes)
    with turn(file):
        pass
    began = time.monotonic()
    with turn(file):
        pass
    assert time.monotonic() - began < 1.5


@pytest.mark.process
def test_queues_in_one_file_are_independent(
    file: Path, processes: list[subprocess.Popen[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write_queue, "PATIENCE", 60.0)
    start_first(file, processes)
    began = time.monotonic()
    with turn(file, queue=1), turn(file, queue=2):
        assert time.monotonic() - began < 10.0


@pytest.mark.process
def test_a_killed_process_releases_its_turn(
    file: Path, processes: list[subprocess.Popen[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write_queue, "PATIENCE", 60.0)
    first = start_first(file, processes)
    threading.Timer(0.3, first.kill).start()
    began = time.monotonic()
    with turn(file):
        assert time.monotonic() - began < 20.0


def test_threads_of_one_process_take_turns(file: Path) -> None:
    inside = most = 0

    def take(_: int) -> None:
        nonlocal inside, most
        with turn(file):
            inside += 1
            most = max(most, inside)
            time.sleep(0.005)
            inside -= 1

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(take, range(20)))
    assert most == 1


def test_a_fair_lock_is_acquired_in_order() -> None:
    lock = FairLock()
    order: list[int] = []

    def take(n: int) -> None:
        with lock:
            order.append(n)

    lock.acquire()
    lock.acquire()
    lock.release()
    threads = []
    for n in range(5):
        threads.append(threading.Thread(target=take, args=(n,)))
        threads[-1].start()
        time.sleep(0.05)
    with ThreadPoolExecutor(1) as pool:
        assert not pool.submit(lock.acquire, timeout=0.01).result()
    lock.release()
    for thread in threads:
        thread.join(10)
    assert order == list(range(5))
    assert lock.acquire(timeout=0)


def test_no_file_is_left_open(file: Path) -> None:
    with turn(file):
        pass
    before = descriptors()
    for _ in range(10):
        with pytest.raises(KeyError), turn(file):
            raise KeyError
    assert descriptors() == before


def test_without_a_queue_no_process_waits(file: Path) -> None:
    Path(f"{file}{QUEUE}").mkdir()
    with turn(file), turn(file):
        pass
