"""Starting nodes as the docs show it: in the background, on real ports."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from support.cluster_shell import Shell
from support.heads import free_ports, processes_of, ray_flags, running_head
from support.processes import gone
from tuner.cluster import launch
from tuner.errors import BackendError, MissingExtra


@pytest.mark.ray
def test_a_head_starts_in_the_background(shell: Shell) -> None:
    head = shell.head
    said = (head.folder / "head.txt").read_text().splitlines()
    assert said[0] == f"cluster:   {head.address}"
    assert said[1] == f"dashboard: {head.dashboard}"
    assert said[2] == f"token:     {head.token} (new)"
    assert said[-1] == "to stop it: ray stop"
    assert stat.S_IMODE(head.token.stat().st_mode) == 0o600
    port, dashboard = head.address.rpartition(":")[2], free_ports(1)[0]
    start = ["cluster", "start", "--port", port, "--dashboard-port", str(dashboard)]
    again = shell.tuner(*start, "--", *ray_flags(head.folder), code=1)
    assert "Ray cannot start this node" in again.stderr
    assert port in again.stderr


@pytest.mark.ray
@pytest.mark.soak
def test_a_head_in_the_foreground_ends_with_its_process() -> None:
    with running_head(cpus=1, block=True) as head:
        assert processes_of(head.folder)
    assert gone({process.pid for process in processes_of(head.folder)}, within=60.0)


@pytest.mark.process  # imports Ray
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

    def test_a_named_token_file_precedes_the_environment(self, tmp_path: Path, monkeypatch) -> None:
        monkeypatch.setenv("RAY_AUTH_TOKEN", "given")
        _, _, environment = launch.start_head(token=tmp_path / "mine")
        assert environment["RAY_AUTH_TOKEN"] == ""
        assert environment["RAY_AUTH_TOKEN_PATH"] == str(tmp_path / "mine")

    def test_jobs_find_the_python_that_ray_runs_in(self, monkeypatch) -> None:
        import sys

        monkeypatch.setenv("PATH", "/bin")
        _, _, environment = launch.start_head()
        assert environment["PATH"] == f"{Path(sys.executable).parent}:/bin"

    def test_a_node_without_a_token_cannot_join(self, tmp_path: Path) -> None:
        with pytest.raises(BackendError, match="no token to join head:6379 with; copy it from"):
            launch.join("head:6379")
        with pytest.raises(BackendError, match="does not exist"):
            launch.join("head:6379", token=tmp_path / "gone")

    def test_a_dashboard_that_is_not_installed_is_named(self, monkeypatch) -> None:
        monkeypatch.setattr(launch, "_DASHBOARD_NEEDS", ("aiohttp", "no_such_module"))
        with pytest.raises(MissingExtra, match=r"no_such_module; pip install 'tuner\[cluster\]'"):
            launch.start_head()
