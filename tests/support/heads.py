"""Real Ray clusters for tests, each on free ports and in its own folder, ended by pid."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

PORTS = (
    "--ray-client-server-port", "--node-manager-port", "--object-manager-port",
    "--dashboard-agent-listen-port", "--dashboard-agent-grpc-port", "--runtime-env-agent-port",
    "--metrics-export-port",
)  # fmt: skip

_RAY_VARIABLES = (
    "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_ADDRESS",
    "RAY_API_SERVER_ADDRESS", "RAY_TMPDIR", "TUNER_STORE", "TUNER_ARTIFACTS",
)  # fmt: skip


@dataclass(frozen=True)
class RunningHead:
    """A cluster that `tuner cluster start` started; `home` is the folder of its user."""

    address: str
    dashboard: str
    home: Path
    folder: Path

    @property
    def token(self) -> Path:
        return self.home / ".ray" / "auth_token"

    def environment(self, *, home: Path | None = None, **variables: str) -> dict[str, str]:
        """Return the environment of somebody at a shell, by default the head's own user."""
        kept = {name: v for name, v in os.environ.items() if name not in _RAY_VARIABLES}
        return kept | {"HOME": str(home or self.home), "RAY_USAGE_STATS_ENABLED": "0"} | variables


def free_ports(n: int) -> list[int]:
    held = [socket.socket() for _ in range(n)]
    try:
        for one in held:
            one.bind(("", 0))
        return [one.getsockname()[1] for one in held]
    finally:
        for one in held:
            one.close()


def tuner_command(*args: str) -> list[str]:
    return [sys.executable, "-m", "tuner.cli", *args]


def ray_flags(folder: Path | None = None) -> list[str]:
    """Return options of `ray start` that keep a node apart from all others on this machine."""
    ports = free_ports(len(PORTS))
    flags = [word for name, port in zip(PORTS, ports, strict=True) for word in (name, str(port))]
    flags += ["--object-store-memory", str(100 * 2**20)]
    # No test asks for the autoscaler and the reader of logs, which take CPU time all along.
    flags += ["--no-monitor", "--include-log-monitor", "false"]
    return [*flags, "--temp-dir", str(folder / "ray")] if folder else flags


@contextmanager
def running_head(cpus: int = 2, *, block: bool = False) -> Iterator[RunningHead]:
    """Start a head in the background, or in the foreground of a process that ends with it."""
    # A short name: Ray's sockets lie below it, and their paths may have 107 characters.
    folder = Path(tempfile.mkdtemp(prefix="th", dir="/tmp"))
    home = folder / "home"
    home.mkdir()
    port, dashboard = free_ports(2)
    head = RunningHead("", f"http://127.0.0.1:{dashboard}", home, folder)
    command = tuner_command(
        "cluster", "start", *(["--head", "--block"] if block else []), "--port", str(port),
        "--dashboard-port", str(dashboard), "--", "--num-cpus", str(cpus), *ray_flags(folder),
    )  # fmt: skip
    with running(command, head.environment(), folder / "head.txt", block=block):
        try:
            _await_dashboard(head)
            said = (folder / "head.txt").read_text()
            address = said.partition("cluster:")[2].split()[0]
            yield RunningHead(address, head.dashboard, home, folder)
        finally:
            if not block:
                _end_processes_of(folder)
    shutil.rmtree(folder, ignore_errors=True)


def processes_of(folder: Path) -> list[psutil.Process]:
    """Return the processes that were started for the user whose home is below this folder."""
    ours = []
    for process in psutil.process_iter():
        try:
            home = process.environ().get("HOME", "")
        except psutil.Error:
            continue  # it has ended, or is another user's
        if folder in Path(home).parents:
            ours.append(process)
    return ours


def _end_processes_of(folder: Path) -> None:
    # Raylets end their workers, and the agents when their raylet is gone.
    ours = processes_of(folder)
    for process in ours:
        process.kill()
    psutil.wait_procs(ours, timeout=20)


@contextmanager
def running(
    command: Sequence[str], environment: dict[str, str], log: Path, *, block: bool = True
) -> Iterator[None]:
    """Run what blocks, and end it and its children: `ray start --block` ends those itself."""
    with log.open("w") as file:
        node = subprocess.Popen(
            command, env=environment, stdout=file, stderr=file, start_new_session=True
        )
    if not block:
        assert node.wait(timeout=120) == 0, log.read_text()
    try:
        yield
    finally:
        node.send_signal(signal.SIGTERM)
        try:
            node.wait(timeout=30)
        finally:
            node.kill()


def _await_dashboard(head: RunningHead) -> None:
    deadline = time.monotonic() + 90
    while True:
        try:
            request = urllib.request.Request(f"{head.dashboard}/api/version")
            if head.token.exists():
                request.add_header("Authorization", f"Bearer {head.token.read_text()}")
            urllib.request.urlopen(request, timeout=5).close()
        except (urllib.error.URLError, OSError):
            if time.monotonic() > deadline:
                raise AssertionError((head.folder / "head.txt").read_text()) from None
            time.sleep(0.2)
        else:
            return
