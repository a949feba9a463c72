"""Addresses at which no cluster answers."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

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


def test_where_nothing_listens_is_an_error_at_once(silent_port: int) -> None:
    address = f"127.0.0.1:{silent_port}"
    assert f"no Ray cluster answers at {address}: " in start_at(address)


def test_the_environment_may_be_what_is_wrong(silent_port: int) -> None:
    address = f"127.0.0.1:{silent_port}"
    said = start_at(RAY_ADDRESS=address)
    assert address in said
    assert "RAY_ADDRESS" in said


@pytest.mark.parametrize("address", ["nonsense", "127.0.0.1:99999", "no.such.host.invalid:6379"])
def test_what_is_no_address_is_named(address: str) -> None:
    assert address in start_at(address)
