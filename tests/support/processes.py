"""Processes that others started: whether they end, and how to stop them."""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from pathlib import Path

from tuner.testing.scripted_jobs import is_alive


def descendants(pid: int) -> set[int]:
    """Return the processes that a process started, directly or not."""
    parents = {}
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            try:
                parents[int(path.name)] = int(
                    (path / "stat").read_text().rsplit(")")[-1].split()[1]
                )
            except OSError:
                continue
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {pid}


def agents(pids: set[int]) -> set[int]:
    """Return the agents of Ray among processes; after a kill they exit within a minute."""
    return {pid for pid in pids if b"Agent" in Path(f"/proc/{pid}/cmdline").read_bytes()}


ORPHANS = (b"(ray::DashboardA", b"(ray::RuntimeEnv")
"""Names of Ray's agents, as the kernel cuts them."""


def end_orphaned_agents() -> None:
    """Kill the agents of Ray whose raylet was killed.

    They would end by themselves within a minute, and take a whole core until then.
    """
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            try:
                name, _, rest = (path / "stat").read_bytes().rpartition(b")")
                if name.endswith(ORPHANS) and rest.split()[1] == b"1":
                    os.kill(int(path.name), signal.SIGKILL)
            except OSError:
                continue  # it has ended, or is another user's


def gone(pids: set[int], within: float = 30.0) -> bool:
    """Return whether all of these processes end soon."""
    deadline = time.monotonic() + within
    while any(is_alive(pid) for pid in pids):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def stop(pid: int) -> None:
    """Stop a process, and wait until it has stopped: the signal reaches its threads in turn."""
    os.kill(pid, signal.SIGSTOP)
    while not _is_stopped(pid):
        time.sleep(0.001)


def _is_stopped(pid: int) -> bool:
    states = (path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/stat"))
    return all(state.rpartition(")")[2].split()[0] in "TZX" for state in states)


def stop_outside_transactions(pid: int, database: Path) -> None:
    """Stop a process while it does not write to a SQLite file, whose lock it would keep."""
    connection = sqlite3.connect(database, timeout=0, isolation_level=None)
    for _ in range(100):
        stop(pid)
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
            break
        except sqlite3.OperationalError:
            os.kill(pid, signal.SIGCONT)
            time.sleep(0.005)
    connection.close()
