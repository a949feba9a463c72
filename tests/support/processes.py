"""Processes that others started, and whether they end."""

from __future__ import annotations

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


def gone(pids: set[int], within: float = 30.0) -> bool:
    """Return whether all of these processes end soon."""
    deadline = time.monotonic() + within
    while any(is_alive(pid) for pid in pids):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True
