"""Writes of other processes to a store, for its conformance tests."""

from __future__ import annotations

import itertools
from dataclasses import replace
from multiprocessing.connection import Connection

from tuner.errors import StudyBusy
from tuner.records import Run, State, Trial
from tuner.tracking import Batch, open_store
from tuner.tracking.lease import LeaseOwner, new_lease_owner
from tuner.tracking.uuid7 import uuid7

BATCH = 8


def write_trials(url: str, uid: str, ready: object, value: float) -> None:
    """Write 300 trials one by one in small batches, each running first, then completed."""
    store = open_store(url)
    ready.wait(60)  # type: ignore[attr-defined]
    for n in range(300):
        run = Run(uuid7(), n)
        store.write(uid, Batch([Trial(n, {"x": value}, State.RUNNING)], [run]))
        store.write(uid, Batch([finished(n, value)], [replace(run, state=State.COMPLETED)]))
    store.close()


def write_until_killed(url: str, uid: str, word: Connection, begin: int) -> None:
    """Write batches without end, and send the number of batches after each."""
    store = open_store(url)
    for k in itertools.count(begin):
        numbers = range(k * BATCH, k * BATCH + BATCH)
        runs = [Run(uuid7(), n) for n in numbers]
        store.write(uid, Batch([finished(n) for n in numbers], runs))
        word.send(k + 1)


def finished(number: int, value: float = 1.0) -> Trial:
    """Return a completed trial."""
    return Trial(number, {"x": value}, State.COMPLETED, (value,), {"value": value}, attempts=1)


def take_and_die(url: str, name: str) -> None:
    store = open_store(url)
    info = store.find_study(name)
    assert info is not None
    store.acquire_lease(info, new_lease_owner(), 3600.0)


def try_to_take(which: tuple[str, str, int]) -> bool:
    url, name, number = which
    store = open_store(url)
    info = store.find_study(name)
    assert info is not None
    try:
        store.acquire_lease(info, LeaseOwner("elsewhere", number, ""), 3600.0)
    except StudyBusy:
        return False
    finally:
        store.close()
    return True
