"""Starting nodes as the docs show it: in the background, on real ports."""

from __future__ import annotations

import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from support.cluster_shell import Shell
from support.heads import free_ports, ray_flags
from tuner.cluster import launch
from tuner.errors import BackendError, MissingExtra


@pytest.fixture
def place() -> Iterator[Path]:
    """Give a short path for Ray's sockets, and end by pid what was started there."""
    folder = Path(tempfile.mkdtemp(prefix="tl", dir="/tmp"))
    yield folder
    ours = [p for p in psutil.process_iter(["cmdline"]) if _mentions(p, str(folder))]
    # Raylets end their workers, and the agents when their raylet is gone.
    for process in ours:
        process.kill()
    psutil.wait_procs(ours, timeout=20)
    shutil.rmtree(folder, ignore_errors=True)


def _mentions(process: psutil.Process, text: str) -> bool:
    return any(text in word for word in process.info["cmdline"] or ())


@pytest.mark.ray
def test_a_head_in_the_background(shell: Shell, place: Path) -> None:
    port, dashboard = free_ports(2)
    home = place / "home"
    home.mkdir()
    start = [
        "cluster", "start", "--port", str(port), "--dashboard-port", str(dashboard), "--",
        "--num-cpus", "1", *ray_flags(place),
    ]  # fmt: skip
    said = shell.tuner(*start, home=home).stdout.splitlines()
    assert said[0].startswith("cluster:   ")
    assert said[0].endswith(f":{port}")
    assert said[1] == f"dashboard: http://127.0.0.1:{dashboard}"
    token = home / ".ray" / "auth_token"
    assert said[2] == f"token:     {token} (new)"
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    assert said[-1] == "to stop it: ray stop"
    address = said[0].split()[1]
    # The token of the other head of these tests, in the shell's own home, is not this one's.
    refused = shell.tuner("cluster", "check", address, code=1)
    assert "does not accept the token" in refused.stderr
    checked = shell.tuner("cluster", "check", address, home=home)
    assert checked.stdout.startswith("1 node, 1 CPUs")
    again = shell.tuner(*start, home=home, code=1)
    assert "Ray cannot start this node" in again.stderr
    assert str(port) in again.stderr


class TestCommands:
    @pytest.fixture(autouse=True)
    def _home(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOME", str(tmp_path))
        for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
            monkeypatch.delenv(name, raising=False)

    def test_every_node_asks_for_a_token(self, tmp_path: Path, monkeypatch) -> None:
        monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
        head, command, environment = launch.start_head(ray_options=["--num-cpus", "3"])
        assert environment["RAY_AUTH_MODE"] == "token"
        assert environment["RAY_AUTH_TOKEN_PATH"] == str(tmp_path / ".ray" / "auth_token")
        assert head.new_token
        assert command[-2:] == ["--num-cpus", "3"]
        assert not launch.start_head()[0].new_token

    def test_a_token_in_the_environment_needs_no_file(self, tmp_path: Path, monkeypatch) -> None:
        monkeypatch.setenv("RAY_AUTH_TOKEN", "given")
        head, _, environment = launch.start_head()
        assert (head.token, head.new_token) == ("RAY_AUTH_TOKEN", False)
        assert environment["RAY_AUTH_TOKEN"] == "given"
        assert not (tmp_path / ".ray").exists()

    def test_a_named_file_goes_before_the_environment(self, tmp_path: Path, monkeypatch) -> None:
        monkeypatch.setenv("RAY_AUTH_TOKEN", "given")
        _, _, environment = launch.start_head(token=tmp_path / "mine")
        assert environment["RAY_AUTH_TOKEN"] == ""
        assert environment["RAY_AUTH_TOKEN_PATH"] == str(tmp_path / "mine")

    def test_jobs_find_the_python_that_ray_runs_in(self, monkeypatch) -> None:
        import sys

        monkeypatch.setenv("PATH", "/bin")
        _, _, environment = launch.start_head()
        assert environment["PATH"] == f"{Path(sys.executable).parent}:/bin"

    def test_nobody_joins_without_a_token(self, tmp_path: Path) -> None:
        with pytest.raises(BackendError, match="no token to join head:6379 with; copy it from"):
            launch.join("head:6379")
        with pytest.raises(BackendError, match="does not exist"):
            launch.join("head:6379", token=tmp_path / "gone")

    def test_a_dashboard_that_is_not_installed_is_named(self, monkeypatch) -> None:
        monkeypatch.setattr(launch, "_DASHBOARD_NEEDS", ("aiohttp", "no_such_module"))
        with pytest.raises(MissingExtra, match=r"no_such_module; pip install 'tuner\[cluster\]'"):
            launch.start_head()
