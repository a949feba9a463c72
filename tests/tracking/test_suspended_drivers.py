"""A driver that is suspended within a PostgreSQL transaction does not keep its study locked."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import tuner
from tuner.tracking import leases
from tuner.tracking.database.connections import LOCK_TIMEOUT
from tuner.tracking.lease import new_lease_owner
from tuner.tracking.store import open_store

SUSPEND_ITSELF = """
import os, signal, sys
from tuner.tracking import leases
from tuner.tracking.lease import new_lease_owner
from tuner.tracking.store import open_store

store = open_store(sys.argv[1])
lease = store.acquire_lease(store.find_study("shared"), new_lease_owner(), 0.1)
with store.writing() as connection:
    leases.renew(connection, store._studies.key(connection, lease.study).id, lease, None)
    os.kill(os.getpid(), signal.SIGSTOP)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGSTOP")
def test_a_successor_takes_the_study_before_its_wait_for_the_lock_ends(
    new_database: Callable[[], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNER_ARTIFACTS", str(tmp_path))
    url = new_database()
    study = tuner.create_study({"x": tuner.Float(0, 1)}, name="shared", store=url)
    study.store.close()
    process = subprocess.Popen([sys.executable, "-c", SUSPEND_ITSELF, url])
    try:
        _, status = os.waitpid(process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        store = open_store(url)
        info = store.find_study("shared")
        assert info is not None
        time.sleep(0.5)  # until its lease has expired
        began = time.monotonic()
        assert store.acquire_lease(info, new_lease_owner(), 60.0).epoch == 2
        assert time.monotonic() - began < leases.DRIVER_PATIENCE + 5.0 < LOCK_TIMEOUT
        store.close()
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(10)
