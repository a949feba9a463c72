"""Addresses at which no cluster answers, and a local cluster that does not come up."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tuner.backends.ray import cluster, local

pytestmark = pytest.mark.ray

SCRIPT = """
import os, signal, sys
import ray
from tuner.backends import RayBackend
from tuner.errors import BackendError

before = dict(os.environ), signal.getsignal(signal.SIGTERM)
backend = RayBackend(*sys.argv[1:])
try:
    backend.start(print, workers=1)
except BackendError as error:
    print(error)
assert not ray.is_initialized()
assert dict(os.environ) == before[0]
assert signal.getsignal(signal.SIGTERM) == before[1]
"""


@pytest.fixture
def silent_port() -> Iterator[int]:
    """Reserve a port of this machine on which nothing listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


def start_at(*address: str, **variables: str) -> str:
    """Return the error of a backend that is started in another process, within 20 s."""
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *address],
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | variables,
    )
    assert time.monotonic() - began < 20
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_an_address_without_a_server_is_an_immediate_error(silent_port: int) -> None:
    address = f"127.0.0.1:{silent_port}"
    assert f"no Ray cluster answers at {address}: " in start_at(address)


def test_an_error_names_a_wrong_environment_variable(silent_port: int) -> None:
    address = f"127.0.0.1:{silent_port}"
    said = start_at(RAY_ADDRESS=address)
    assert address in said
    assert "RAY_ADDRESS" in said


@pytest.mark.parametrize("address", ["nonsense", "127.0.0.1:99999", "no.such.host.invalid:6379"])
def test_an_invalid_address_is_named(address: str) -> None:
    assert address in start_at(address)


TIMED_OUT = (
    "The current node timed out during startup. This could happen because some of the raylet "
    "failed to startup or the GCS has become overloaded."
)


class Start:
    """Stands for ``ray.init``: raises these errors, one a call, then works."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.calls = 0

    def __call__(self, **options: object) -> None:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)


@pytest.mark.parametrize(
    ("errors", "calls", "raised"),
    [
        ([Exception(TIMED_OUT)], 2, None),
        ([TimeoutError("no port file")], 2, None),
        ([Exception(TIMED_OUT), Exception(TIMED_OUT), Exception(TIMED_OUT)], 2, "timed out"),
        ([ValueError("no such option")], 1, "no such option"),
    ],
)
def test_a_start_that_times_out_is_tried_once_more(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, errors, calls: int, raised: str | None
) -> None:
    start = Start(*errors)
    monkeypatch.setattr("ray.init", start)
    monkeypatch.setattr("ray.shutdown", lambda: None)
    if raised is None:
        local.start(tmp_path)
    else:
        with pytest.raises(Exception, match=raised):
            local.start(tmp_path)
    assert start.calls == calls


def test_a_failed_start_leaves_no_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    started: list[subprocess.Popen[bytes]] = []

    def fail(**options: object) -> None:
        started.append(subprocess.Popen(["sh", "-c", "sleep 60", str(tmp_path)]))
        started.append(subprocess.Popen(["sleep", "60"]))
        raise ValueError("no such option")

    monkeypatch.setattr("ray.init", fail)
    monkeypatch.setattr("ray.shutdown", lambda: None)
    with pytest.raises(ValueError, match="no such option"):
        local.start(tmp_path)
    ours, other = started
    try:
        assert ours.wait(10) == -signal.SIGKILL
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


@pytest.mark.parametrize(("free", "reserved"), [(2**40, True), (0, False)])
def test_a_new_cluster_reserves_memory_for_shared_arrays(
    monkeypatch: pytest.MonkeyPatch, free: int, reserved: bool
) -> None:
    class Usage:
        def __init__(self, _folder: str) -> None:
            self.free = free

    monkeypatch.setattr("shutil.disk_usage", Usage)
    size = cluster._object_store(2**30)
    assert (size > cluster.OBJECT_STORE + 2**30) is reserved
    assert cluster._object_store(0) == cluster.OBJECT_STORE
