"""Other users of the machine cannot use the Ray of a search or of a cluster started by tuner."""

from __future__ import annotations

import ipaddress
import json
import os
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from support.strangers import NOBODY, Target, attack
from tuner.backends.ray.auth import make_token_file
from tuner.backends.ray.local import lasting_folder, own_cluster, private_folder
from tuner.errors import BackendError

pytestmark = pytest.mark.ray

SEARCH = """
import json, os, sys, time
os.umask(0o022)
before = dict(os.environ)
from pathlib import Path
import ray
before |= {"RAY_CLIENT_MODE": os.environ.get("RAY_CLIENT_MODE", "")}  # set by the import
import tuner

def objective(params):
    while not Path("go-on").exists():
        time.sleep(0.05)
    return params["x"]

def tell():
    while not ray.is_initialized() or not any(a["State"] == "ALIVE" for a in actors()):
        time.sleep(0.1)
    from ray._private.worker import _global_node as node
    Path("there.new").write_text(json.dumps({
        "head": node.gcs_address, "session": node.get_session_dir_path(),
        "token": os.environ.get("RAY_AUTH_TOKEN_PATH", os.path.expanduser("~/.ray/auth_token")),
    }))
    os.rename("there.new", "there")

def actors():
    from ray._private.state import actors
    return actors().values()

import threading
threading.Thread(target=tell, daemon=True).start()
study = tuner.optimize(
    objective, {"x": tuner.Float(0, 1)}, n_trials=4, workers=2, seed=0, store="store",
    register=False, progress=False,
)
after = dict(os.environ)
changed = {n for n in before.keys() | after if before.get(n) != after.get(n)}
print(len(study.trials), *(n for n in changed if n.startswith("RAY")), flush=True)
"""


# The measures that protect a deliberately open Ray protect the others too.
@pytest.fixture(
    params=[pytest.param({}, marks=pytest.mark.soak), {"RAY_AUTH_MODE": "disabled"}],
    ids=["plain", "disabled"],
)
def search(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[tuple[subprocess.Popen[str], Path, Target]]:
    """A plain search of a user without a token, paused in the middle."""
    folder = tmp_path_factory.mktemp("search")
    (folder / "home").mkdir()
    clean = {name: v for name, v in os.environ.items() if not name.startswith("RAY_")}
    process = subprocess.Popen(
        [sys.executable, "-c", SEARCH],
        cwd=folder,
        env=clean | {"HOME": str(folder / "home")} | request.param,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        deadline = time.monotonic() + 90
        while not (folder / "there").exists():
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline, "Ray did not start"
            time.sleep(0.1)
        there = json.loads((folder / "there").read_text())
        tree = [process.pid, *(p.pid for p in psutil.Process(process.pid).children(recursive=True))]
        paths = [there["token"], there["session"], str(Path(there["token"]).parent)]
        text = Path(there["token"]).read_text()
        yield process, folder, Target(tree, there["head"], paths, text)
    finally:
        process.kill()
        process.communicate()


def test_another_user_cannot_use_the_ray_of_a_search(
    search: tuple[subprocess.Popen[str], Path, Target],
) -> None:
    process, folder, target = search
    assert len(target.token) == 64
    token = Path(target.paths[0])
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    assert stat.S_IMODE(token.parent.stat().st_mode) == 0o700
    assert token.parent in Path(target.paths[1]).parents
    assert not (folder / "home" / ".ray").exists()

    listeners = target.listeners()
    assert len(listeners) > 6
    outside = [a for a in listeners if not _is_loopback(a.ip)]
    assert outside == []

    found, tried = attack(target)
    assert found == []
    # Each kind of process was reached, and refused.
    for method in ("InternalKVGcsService/InternalKVPut", "NodeManagerService/RequestWorkerLease",
                   "CoreWorkerService/PushTask", "ObjectManagerService/Push"):  # fmt: skip
        assert f"UNAUTHENTICATED {method}" in tried
    assert "AuthenticationError" in tried
    if os.geteuid() == 0:
        assert len(target.sockets()) >= 2
        assert "refused a socket" in tried
        assert "refused a path" in tried

    (folder / "go-on").touch()
    out, err = process.communicate(timeout=120)
    assert (process.returncode, out, err) == (0, "4\n", "")
    assert not token.parent.exists()


def _is_loopback(ip: str) -> bool:
    address = ipaddress.ip_address(ip)
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


OPEN = """
import sys, ray
ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False,
         logging_level="ERROR")
from ray._private.worker import _global_node as node
print(node.gcs_address, node.get_session_dir_path(), flush=True)
sys.stdin.read()
"""


@pytest.mark.soak
def test_another_user_can_use_a_ray_without_a_token(tmp_path: Path) -> None:
    """The probe of the test above does find an open port."""
    clean = {name: v for name, v in os.environ.items() if not name.startswith("RAY_")}
    with subprocess.Popen(
        [sys.executable, "-c", OPEN],
        env=clean | {"HOME": str(tmp_path), "RAY_AUTH_MODE": "disabled"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        head, session = process.stdout.readline().split()
        children = psutil.Process(process.pid).children(recursive=True)
        tree = [process.pid, *(child.pid for child in children)]
        target = Target(tree, head, [session], "no token at all")
        try:
            assert not all(_is_loopback(address.ip) for address in target.listeners())
            found, _ = attack(target)
        finally:
            process.communicate("")
    said = "\n".join(found)
    assert f"joined {head} with {{}}" in said
    for method in ("NodeInfoGcsService/GetAllNodeInfo", "NodeManagerService/GetNodeStats"):
        assert f"answers OK to {method}, token: none" in said
    if os.geteuid() == 0:
        assert "renamed" in said


@pytest.mark.soak
@pytest.mark.parametrize("search", [{}], indirect=True, ids=["plain"])
def test_another_user_cannot_join_with_ray_start(
    search: tuple[subprocess.Popen[str], Path, Target],
) -> None:
    """As above, with the calls of Ray that a user would make; each takes a while to give up."""
    _, _, target = search
    for address in (target.head, f"ray://{target.head}"):
        found, tried = attack(target, connect=address, timeout=300.0)
        assert found == []
        assert any(one.startswith("ray.init: ") for one in tried)


@contextmanager
def running_as(user: int, script: str) -> Iterator[None]:
    with subprocess.Popen(["bash", "-c", script], user=user, cwd="/") as process:
        try:
            while psutil.Process(process.pid).cmdline()[0] != "raylet":
                time.sleep(0.01)
            yield
        finally:
            for child in psutil.Process(process.pid).children():
                child.kill()
            process.kill()


FAKE = "exec -a raylet bash -c 'sleep 60; exit' --gcs-address=127.0.0.1:1"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_auto_follows_no_node_of_another_user() -> None:
    """Ray itself would: it sends the token to the cluster there and unpickles the answer."""
    address = message = ""
    with running_as(NOBODY, FAKE):
        try:
            address = own_cluster()  # the cluster of another test, if one runs now
        except BackendError as error:
            message = str(error)
    assert address != "127.0.0.1:1"
    assert address or ('address="auto": no node' in message and "nobody" in message)


def test_auto_follows_a_node_of_the_same_user() -> None:
    with running_as(os.geteuid(), FAKE):
        assert own_cluster() == "127.0.0.1:1"


def test_a_folder_that_others_can_rename_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as open_to_all:
        Path(open_to_all).chmod(0o777)
        monkeypatch.setenv("RAY_TMPDIR", open_to_all)
        folder = private_folder()
        try:
            assert folder.parent != Path(open_to_all)
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        finally:
            folder.rmdir()
        with pytest.raises(BackendError, match="other users can replace files"):
            make_token_file(Path(open_to_all) / "token")
        Path(open_to_all).chmod(0o1777)
        lasting = lasting_folder()
        assert lasting.parent == Path(open_to_all)
        assert lasting_folder() == lasting
        lasting.rmdir()
        lasting.symlink_to(tmp_path)
        assert lasting_folder() not in (lasting, tmp_path)
