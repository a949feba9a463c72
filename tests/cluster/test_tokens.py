"""Access without the token is refused: to the driver, to the job API, and as a node."""

from __future__ import annotations

import json
import stat
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.cluster_shell import Shell
from support.heads import RunningHead, processes_of, ray_flags, running, tuner_command
from support.strangers import METRICS, Target, attack
from tuner.backends.ray import auth as ray_tokens
from tuner.cluster import start_head
from tuner.errors import BackendError

SEARCHES = """
import json, os, sys
import ray
import tuner
from tuner.backends import RayBackend
from tuner.backends.ray.auth import read_settings_again

address, store, *environments = sys.argv[1:]
for environment in environments:
    os.environ.update(json.loads(environment))
    read_settings_again()
    try:
        study = tuner.optimize(
            lambda params: params["x"], {"x": tuner.Float(0, 1)}, n_trials=4, workers=1, seed=0,
            backend=RayBackend(address=address), progress=False, store=store,
        )
        print(len(study.trials))
    except tuner.errors.BackendError as error:
        print(f"refused: {error}")
"""


@pytest.mark.ray
class TestOnARealCluster:
    def searches(
        self, shell: Shell, tmp_path: Path, *environments: dict[str, str], home: Path
    ) -> list[str]:
        """Return what each of several searches in one process says, in its environment."""
        store = str(tmp_path / "store")
        command = [sys.executable, "-c", SEARCHES, shell.head.address, store]
        done = shell([*command, *map(json.dumps, environments)], home=home)
        assert done.stderr == ""
        return done.stdout.splitlines()

    def test_with_the_token_a_search_runs(
        self, shell: Shell, tmp_path: Path, no_token: Path
    ) -> None:
        """The token that is not at home; `test_runtime_env.py` has it from there."""
        path = str(shell.head.token)
        said = self.searches(shell, tmp_path, {"RAY_AUTH_TOKEN_PATH": path}, home=no_token)
        assert said == ["4"]

    def test_a_search_with_no_or_a_wrong_token_is_refused_immediately(
        self, shell: Shell, tmp_path: Path, no_token: Path, tmp_path_factory
    ) -> None:
        other = tmp_path_factory.mktemp("other")
        (other / ".ray").mkdir()
        (other / ".ray" / "auth_token").write_text("0" * 64)
        began = time.monotonic()
        without, wrong, mode = self.searches(
            shell, tmp_path, {}, {"HOME": str(other)}, {"RAY_AUTH_MODE": "disabled"}, home=no_token
        )
        assert time.monotonic() - began < 45  # for three
        assert "asks for a token; copy it from the head" in without
        assert f"does not accept the token from {other}/.ray/auth_token" in wrong
        assert "RAY_AUTH_MODE=disabled: unset it" in mode
        assert not (tmp_path / "store").exists()

    def test_the_dashboard_refuses_requests_without_the_token(self, head: RunningHead) -> None:
        for address in ("/api/version", "/api/jobs/", "/nodes?view=summary"):
            with pytest.raises(urllib.error.HTTPError, match="401"):
                urllib.request.urlopen(head.dashboard + address, timeout=10)

    def test_the_commands_are_refused_without_the_token(self, shell: Shell, no_token: Path) -> None:
        (shell.folder / "sweep.py").write_text("print('should not run')\n")
        at = ["--address", shell.head.dashboard]
        for args in (
            ["submit", "sweep.py", *at],
            ["job", "list", *at],
            ["cluster", "check", shell.head.dashboard],
        ):
            done = shell.tuner_here(*args, home=no_token, code=1)
            assert "asks for a token" in done.stderr
            assert done.stdout == ""
        done = shell.tuner_here("job", "list", *at, RAY_AUTH_TOKEN="0" * 64, code=1)
        assert "does not accept the token from RAY_AUTH_TOKEN" in done.stderr

    def test_a_node_joins_with_the_token_only(
        self, shell: Shell, head: RunningHead, tmp_path: Path, wrong_token: Path
    ) -> None:
        command = ["cluster", "join", head.address, "--block", "--", "--num-cpus", "1"]
        command = [*command, *ray_flags()]
        done = shell.tuner(*command, home=wrong_token, code=1)
        assert "does not accept the token" in done.stderr
        log = tmp_path / "joined.txt"
        with running(tuner_command(*command), head.environment(), log):
            deadline = time.monotonic() + 60
            while _nodes(head) < 2:
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.2)
            done = shell.tuner("cluster", "check", head.address, "--objective", "json:loads")
            assert done.stdout.startswith("2 nodes, 3 CPUs")
            rows = [line.split("\t") for line in done.stdout.splitlines()[3:]]
            assert [row[-1] for row in rows] == ["ok", "ok"]
            assert [" (head)" in row[0] for row in rows] == [True, False]

    def test_another_user_is_refused_at_every_port(self, head: RunningHead) -> None:
        pids = [process.pid for process in processes_of(head.folder)]
        paths = [str(head.token), str(head.folder / "ray")]
        target = Target(sorted(pids), head.address, paths, head.token.read_text())
        pages = (METRICS, "<title>Ray Dashboard</title>")  # told in docs/cluster.md
        found, tried = attack(target, harmless=pages)
        assert found == []
        for method in (
            "InternalKVGcsService/InternalKVPut", "NodeManagerService/RequestWorkerLease",
            "ObjectManagerService/Push", "RayletDriver/Init",
        ):  # fmt: skip
            assert f"UNAUTHENTICATED {method}" in tried
        assert "HTTP 401" in tried

    def test_the_token_file_is_readable_by_its_owner_only(self, head: RunningHead) -> None:
        assert stat.S_IMODE(head.token.stat().st_mode) == 0o600
        assert len(head.token.read_text()) == 64
        said = (head.folder / "head.txt").read_text()
        assert f"{head.token} (new)" in said
        assert head.token.read_text() not in said


def _nodes(head: RunningHead) -> int:
    """Return the number of nodes that the dashboard tells of."""
    request = urllib.request.Request(f"{head.dashboard}/nodes?view=summary")
    request.add_header("Authorization", f"Bearer {head.token.read_text()}")
    with urllib.request.urlopen(request, timeout=10) as answer:
        summary = json.load(answer)["data"]["summary"]
    return sum(node["raylet"].get("state") == "ALIVE" for node in summary)


@pytest.mark.process  # imports Ray
class TestSessionFolders:
    """Ray's own, /tmp/ray, is open to everyone: the nodes that we start have another."""

    @pytest.fixture(autouse=True)
    def _places(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
        monkeypatch.setenv("HOME", str(tmp_path))
        with tempfile.TemporaryDirectory(dir="/tmp") as short:
            monkeypatch.setenv("RAY_TMPDIR", short)
            yield

    def folder_of(self, command: list[str]) -> Path:
        return Path(command[command.index("--temp-dir") + 1])

    def test_the_folder_of_a_head_is_private(self) -> None:
        _, command, _ = start_head()
        folder = self.folder_of(command)
        assert stat.S_IMODE(folder.parent.stat().st_mode) == 0o700
        assert self.folder_of(start_head()[1]) == folder

    def test_a_head_uses_the_given_folder(self) -> None:
        for options in (["--temp-dir", "/x"], ["--temp-dir=/x"]):
            _, command, _ = start_head(ray_options=options)
            assert " ".join(command).count("--temp-dir") == 1

    def test_a_token_readable_by_others_gives_a_warning(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        for name in (ray_tokens.TOKEN, ray_tokens.TOKEN_PATH):
            monkeypatch.delenv(name, raising=False)
        token = tmp_path / ".ray" / "auth_token"
        token.parent.mkdir()
        token.write_text("0" * 64)
        token.chmod(0o644)
        assert start_head()[0].exposed_token
        assert stat.S_IMODE(token.stat().st_mode) == 0o600
        assert not start_head()[0].exposed_token


class TestFiles:
    @pytest.fixture(autouse=True)
    def _home(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOME", str(tmp_path))
        for name in (ray_tokens.MODE, ray_tokens.TOKEN, ray_tokens.TOKEN_PATH):
            monkeypatch.delenv(name, raising=False)

    def test_a_token_is_created_once(self, tmp_path: Path) -> None:
        path = tmp_path / "new" / "token"
        assert ray_tokens.make_token_file(path)
        text = path.read_text()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert not ray_tokens.make_token_file(path)
        assert path.read_text() == text

    def test_permissions_of_readable_files_are_restricted(self, tmp_path: Path) -> None:
        path = tmp_path / "token"
        path.write_text("secret")
        path.chmod(0o644)
        assert not ray_tokens.make_token_file(path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600

    def test_a_token_is_searched_in_the_documented_places(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert ray_tokens.find_token() is None
        (tmp_path / ".ray").mkdir()
        (tmp_path / ".ray" / "auth_token").write_text("of home\n")
        assert ray_tokens.find_token().text == "of home"
        (tmp_path / "named").write_text("named")
        monkeypatch.setenv(ray_tokens.TOKEN_PATH, str(tmp_path / "named"))
        assert ray_tokens.find_token().text == "named"
        monkeypatch.setenv(ray_tokens.TOKEN, "given")
        found = ray_tokens.find_token()
        assert (found.text, found.place) == ("given", "RAY_AUTH_TOKEN")
        assert "given" not in repr(found)

    @pytest.mark.parametrize(("content", "says"), [(None, "does not exist"), ("", "is empty")])
    def test_a_named_token_file_must_exist(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None, says: str
    ) -> None:
        if content is not None:
            (tmp_path / "named").write_text(content)
        monkeypatch.setenv(ray_tokens.TOKEN_PATH, str(tmp_path / "named"))
        with pytest.raises(BackendError, match=says):
            ray_tokens.find_token()

    @pytest.mark.ray
    def test_a_port_of_another_service_is_not_a_cluster(
        self, head: RunningHead, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(ray_tokens, "PROBE_TIMEOUT", 2.0)
        assert (
            ray_tokens.probe(head.dashboard.removeprefix("http://"))
            is ray_tokens.ProbeResult.NO_CLUSTER
        )
