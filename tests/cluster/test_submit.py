"""A sweep sent to a real cluster through the job API, as a user types it."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

import tuner
from support.cluster_shell import Shell
from support.heads import tuner_command
from support.interrupts import heed_interrupts
from tuner.cluster import JobClient, Sweep
from tuner.cluster.jobs import dashboard_address
from tuner.errors import ArgumentError

SWEEP = """
import os
import sys

import scaling
import tuner


def objective(params):
    assert open("data.txt").read() == "seven\\n"
    assert os.environ["COLOUR"] == "red"
    assert not os.path.exists(".tuner")
    return scaling.objective(params)


if __name__ == "__main__":
    study = tuner.optimize(
        objective, {"x": tuner.Float(0, 1)}, n_trials=int(sys.argv[1]), workers=2, seed=0,
        study=sys.argv[2], progress=False, optimizer="random",
    )
    print("done:", len(study.trials), sys.argv[2])
"""

COUNTING = """
import sys, time
for n in range(int(sys.argv[1])):
    print("line", n)
    time.sleep(0.1)
sys.exit(7)
"""


@pytest.fixture
def at(shell: Shell) -> list[str]:
    (shell.folder / "sweep.py").write_text(SWEEP)
    (shell.folder / "counting.py").write_text(COUNTING)
    return ["--address", shell.head.dashboard]


@pytest.mark.ray
class TestOnARealCluster:
    def test_a_submitted_sweep_runs_with_its_folder(
        self, shell: Shell, at: list[str], tmp_path: Path
    ) -> None:
        (shell.folder / ".tuner").mkdir()
        (shell.folder / ".tuner" / "tuner.db").write_text("never shipped")
        done = shell.tuner_here(
            "submit", "sweep.py", *at, "--env", "COLOUR=red", "--store", str(tmp_path / "store"),
            "--", "6", "a name with spaces",
            # Ray itself would let these win over the address that it is given.
            RAY_ADDRESS="http://127.0.0.1:1", RAY_API_SERVER_ADDRESS="http://127.0.0.1:1",
        )  # fmt: skip
        assert "done: 6 a name with spaces\n" in done.stdout
        assert re.fullmatch(r"job \S+ at \S+, store \S+ as seen from there\n", done.stderr)
        study = tuner.load_study("a name with spaces", store=tmp_path / "store")
        assert [t.value == 2 * t.params["x"] for t in study] == [True] * 6

    def test_the_exit_code_equals_that_of_the_script(self, shell: Shell, at: list[str]) -> None:
        done = shell.tuner_here("submit", "counting.py", *at, "--", "1", code=7)
        assert "line 0\n" in done.stdout
        assert re.search(r"job \S+ FAILED: .*exit code 7$", done.stderr)

    def test_a_job_is_submitted_listed_followed_and_stopped(
        self, shell: Shell, at: list[str]
    ) -> None:
        name = shell.tuner_here(
            "submit", "counting.py", *at, "--name", "long-one", "--no-wait", "--", "900"
        ).stdout
        assert name == "long-one\n"
        listener = subprocess.Popen(
            tuner_command("job", "follow", "long-one", *at),
            env=shell.head.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=heed_interrupts,
        )
        assert listener.stdout is not None
        while not listener.stdout.readline().startswith("line 1"):
            assert listener.poll() is None
        listener.send_signal(signal.SIGINT)
        _, said = listener.communicate(timeout=30)
        assert listener.returncode == 130
        assert f"to stop it: tuner job stop long-one {' '.join(at)}" in said
        assert "Traceback" not in said
        rows = shell.tuner_here("job", "list", *at).stdout.splitlines()
        assert any(row.startswith("long-one\tRUNNING\t") for row in rows)
        assert (
            shell.tuner_here("job", "stop", "long-one", *at).stdout == "long-one is being stopped\n"
        )
        done = shell.tuner_here("job", "follow", "long-one", *at, code=1)
        assert "job long-one STOPPED" in done.stderr
        assert (
            shell.tuner_here("job", "stop", "long-one", *at).stdout
            == "long-one has already ended\n"
        )

    def test_following_a_job_survives_lost_connections(self, shell: Shell, at: list[str]) -> None:
        shell.tuner_here("submit", "counting.py", *at, "--name", "cut", "--no-wait", "--", "60")
        heard: list[str] = []
        with pytest.MonkeyPatch.context() as patch, Tunnel(shell.head.dashboard) as tunnel:
            patch.setenv("HOME", str(shell.head.home))
            patch.delenv("RAY_AUTH_TOKEN_PATH", raising=False)

            def write(text: str) -> None:
                heard.append(text)
                if f"line {5 + 15 * tunnel.cuts}\n" in "".join(heard) and tunnel.cuts < 2:
                    tunnel.cut()

            end = JobClient(tunnel.address).follow("cut", write)
        assert tunnel.cuts == 2
        assert end.exit_code == 7
        lines = [line for line in "".join(heard).splitlines() if line.startswith("line")]
        assert lines == [f"line {n}" for n in range(60)]

    def test_a_missing_job_is_named(self, shell: Shell, at: list[str]) -> None:
        done = shell.tuner_here("job", "follow", "nobody", *at, code=1)
        assert "knows no such job; see `tuner job list`" in done.stderr
        cluster = ["--address", shell.head.address]
        done = shell.tuner_here("submit", "sweep.py", *cluster, code=1)
        assert "no dashboard answers at" in done.stderr
        assert "Traceback" not in done.stderr
        done = shell.tuner_here("submit", "sweep.py", "--address", "http://127.0.0.1:1", code=1)
        assert "ssh -L 8265:127.0.0.1:8265 HEAD" in done.stderr

    def test_a_job_name_must_be_unique(self, shell: Shell, at: list[str]) -> None:
        send = ["submit", "counting.py", *at, "--name", "twice", "--no-wait", "--", "1"]
        shell.tuner_here(*send)
        assert "twice" in shell.tuner_here(*send, code=1).stderr


class Tunnel:
    """A TCP tunnel whose connections can be cut, as a laptop's are when its lid closes."""

    def __init__(self, to: str) -> None:
        host, port = to.removeprefix("http://").split(":")
        self._to = host, int(port)
        self._server = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self.cuts = 0
        self.address = f"http://127.0.0.1:{self._server.getsockname()[1]}"

    def __enter__(self) -> Tunnel:
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.close()
        self._close()

    def cut(self) -> None:
        self.cuts += 1
        self._close()

    def _close(self) -> None:
        for one in self._open:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._server.accept()
                far = socket.create_connection(self._to)
                self._open += [near, far]
                for source, target in ((near, far), (far, near)):
                    threading.Thread(target=_pump, args=(source, target), daemon=True).start()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def here(project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(project)
    monkeypatch.delenv("TUNER_STORE", raising=False)
    (project / "jobs").mkdir()
    (project / "jobs" / "sweep.py").write_text("")
    return project


class TestASweep:
    def test_a_job_has_the_command_and_environment(self, here: Path) -> None:
        sweep = Sweep.of_script("jobs/sweep.py", ["--name", "two words"], env_vars={"A": "b"})
        assert sweep.entrypoint == "python jobs/sweep.py --name 'two words'"
        assert sweep.runtime_env["working_dir"] == str(here)
        assert sweep.runtime_env["env_vars"] == {
            "A": "b", "PYTHONUNBUFFERED": "1", "TUNER_STORE": "~/.tuner",
            "TUNER_ARTIFACTS": "~/.tuner/artifacts",
        }  # fmt: skip

    def test_the_script_is_found_in_the_folder_or_from_here(self, here: Path) -> None:
        for script in ("jobs/sweep.py", "sweep.py", str(here / "jobs" / "sweep.py")):
            sweep = Sweep.of_script(script, working_dir="jobs", python="python3.11")
            assert sweep.entrypoint == "python3.11 sweep.py"

    def test_a_script_elsewhere_is_refused(self, here: Path, tmp_path: Path) -> None:
        (tmp_path / "outside.py").write_text("")
        with pytest.raises(ArgumentError, match=r"is not in .*--working-dir"):
            Sweep.of_script(str(tmp_path / "outside.py"))
        with pytest.raises(ArgumentError, match=r"script gone\.py"):
            Sweep.of_script("gone.py")
        assert Sweep.of_script("gone.py", working_dir="s3://b/c.zip").entrypoint == "python gone.py"

    @pytest.mark.parametrize("store", ["runs", "./runs", "sqlite:///runs.db"])
    def test_a_store_that_would_be_lost_is_refused(self, here: Path, store: str) -> None:
        with pytest.raises(ArgumentError, match="which Ray deletes; write a place on the head"):
            Sweep.of_script("jobs/sweep.py", store=store)
        with pytest.raises(ArgumentError, match="which Ray deletes"):
            Sweep.of_script("jobs/sweep.py", env_vars={"TUNER_STORE": store})

    @pytest.mark.parametrize(
        "store", ["/data/runs", "~/runs", "sqlite:////data/runs.db", "postgresql://tuner@db/tuner"]
    )
    def test_other_stores_are_accepted(self, here: Path, store: str) -> None:
        assert Sweep.of_script("jobs/sweep.py", store=store).store == store

    def test_a_job_inherits_a_database_url_but_not_a_folder(
        self, here: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TUNER_STORE", "postgresql://tuner:secret@db/tuner")
        sweep = Sweep.of_script("jobs/sweep.py")
        assert sweep.store == "postgresql://tuner:secret@db/tuner"
        assert sweep.place == "postgresql://tuner:***@db/tuner"
        monkeypatch.setenv("TUNER_STORE", str(here))
        assert Sweep.of_script("jobs/sweep.py").store == "~/.tuner"


@pytest.mark.parametrize(
    ("given", "becomes"),
    [
        ("head:8265", "http://head:8265"),
        ("https://head/ray/", "https://head/ray"),
        (None, "http://127.0.0.1:8265"),
    ],
)
def test_dashboard_addresses_are_accepted(
    given: str | None, becomes: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_API_SERVER_ADDRESS", raising=False)
    assert dashboard_address(given) == becomes


@pytest.mark.parametrize("address", ["ray://head:10001", "auto", "http://"])
def test_other_addresses_are_refused(address: str) -> None:
    with pytest.raises(ArgumentError, match="http://HEAD:8265"):
        dashboard_address(address)


@pytest.mark.process
def test_without_a_dashboard_the_extra_is_named(tmp_path: Path) -> None:
    code = """
import sys
from importlib.util import find_spec
class Without:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "aiohttp":
            raise ModuleNotFoundError(name)
import importlib.util
importlib.util.find_spec = lambda name, *a: None if name == "aiohttp" else find_spec(name, *a)
from tuner.cluster import JobClient
try:
    JobClient("http://127.0.0.1:1")
except ImportError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, env=os.environ
    )
    assert "needs aiohttp; pip install 'tuner[cluster]'" in done.stdout, done.stderr
