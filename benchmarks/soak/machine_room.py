"""A Ray cluster of three nodes on this machine, and the sweep's driver on the first of them."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from random import Random
from typing import Any

from benchmarks.soak.faults import Fault, children_of, descendants_of
from tuner.backends.ray.auth import read_settings_again
from tuner.backends.ray.local import private_folder, remove, use_private_token

NODE = {"num_cpus": 1, "object_store_memory": 80 * 2**20, "include_log_monitor": False}
"""Options of each node; no process reads its logs."""

PR_SET_CHILD_SUBREAPER = 36
"""See prctl(2): orphans become children of this process, so that all of them can be ended."""


class MachineRoom:
    """Three nodes of one CPU each; `address` is the cluster's."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        self._cluster = Cluster(
            initialize_head=True,
            head_node_args={"include_dashboard": False, "no_monitor": True, **NODE},
        )
        self.address: str = self._cluster.address
        self._nodes: list[Any] = []
        self.mend()

    def mend(self) -> None:
        """Replace nodes whose raylet was killed."""
        for node in list(self._nodes):
            if not node.any_processes_alive() or _raylet(node) is None:
                self._cluster.remove_node(node, allow_graceful=False)
                self._nodes.remove(node)
        while len(self._nodes) < 2:
            self._nodes.append(self._cluster.add_node(wait=False, **NODE))

    def victims(self, kind: str) -> Sequence[int]:
        """Return the raylets, except on the driver's node, or the workers of the sweep."""
        raylets = {pid for node in self._nodes if (pid := _raylet(node)) is not None}
        if kind == "raylet":
            return sorted(raylets)
        head = _raylet(self._cluster.head_node)
        commands = children_of(raylets | ({head} if head is not None else set()))
        return sorted(pid for pid, command in commands.items() if b"ray::Worker" in command)

    def close(self) -> None:
        """End all nodes."""
        for node in [*self._nodes, self._cluster.head_node]:
            with suppress(Exception):
                node.kill_all_processes(check_alive=False, allow_graceful=False)


@contextmanager
def machine_room() -> Iterator[MachineRoom]:
    """Run a cluster; on exit, end its processes and those of its users."""
    variables = dict(os.environ)
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    logging.getLogger("ray").setLevel(logging.ERROR)
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
    before = descendants_of(os.getpid())
    folder = private_folder()
    os.environ["RAY_TMPDIR"] = str(folder)
    use_private_token(folder)  # otherwise every user of this machine could use the cluster
    room = None
    try:
        room = MachineRoom()
        yield room
    finally:
        if room is not None:
            room.close()
        end_all_but(before)
        remove(folder)
        os.environ.clear()
        os.environ.update(variables)
        read_settings_again()  # another Ray of this process has another token
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 0)


def end_all_but(spared: set[int]) -> None:
    """End all descendants of this process, including new ones, and wait for them."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        left = descendants_of(os.getpid()) - spared
        if not left:
            return
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)


class Driver:
    """The process that calls a sweep, repeated until the call returns."""

    def __init__(self, arguments: Sequence[str]) -> None:
        self._command = [sys.executable, "-m", "benchmarks.soak.sweep", *arguments]
        self.starts = 0
        self._process = self._start()

    def _start(self) -> subprocess.Popen[str]:
        self.starts += 1
        return subprocess.Popen(
            self._command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    def is_running(self) -> bool:
        """Whether the call is still running."""
        return self._process.poll() is None

    def failure(self) -> str:
        """Return the last errors of a call that failed by itself, or an empty string."""
        if self._process.returncode in (0, -signal.SIGKILL):
            return ""
        _, errors = self._process.communicate()
        return f"exit {self._process.returncode}: {errors[-1500:]}"

    def has_returned(self) -> bool:
        """Whether the call returned normally."""
        return self._process.poll() == 0

    def restart(self) -> None:
        """Repeat the call."""
        self._process.wait()
        self._process = self._start()

    def end(self) -> None:
        """Kill the process."""
        self._process.kill()
        self._process.wait()


def strike(fault: Fault, random: Random, driver: Driver, room: MachineRoom) -> bool:
    """Apply a fault to a random victim; return whether one exists."""
    victims = [driver.pid] if fault.victim == "driver" else room.victims(fault.victim)
    if not victims or not driver.is_running():
        return False
    fault.strike(random.choice(list(victims)))
    return True


def _raylet(node: Any) -> int | None:
    """Return the raylet of a node, None if it has ended."""
    for info in node.all_processes.get("raylet", ()):
        if info.process.poll() is None:
            return int(info.process.pid)
    return None
