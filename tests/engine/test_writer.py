"""The writer commits all records in order, in batches, and raises store errors."""

from __future__ import annotations

import sqlite3
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from tuner.engine.writer import Writer
from tuner.errors import StoreUnavailable, StudyBusy, StudyNotFound, StudyTakenOver
from tuner.records import Report, Run, State, StudyInfo, Trial
from tuner.search_spaces import Float, Space
from tuner.tracking import open_store
from tuner.tracking.batch import Batch
from tuner.tracking.database import connections
from tuner.tracking.lease import Lease, LeaseOwner, new_lease_owner
from tuner.tracking.store import Store
from tuner.tracking.uuid7 import uuid7


def study_in(folder: Path) -> tuple[Store, StudyInfo]:
    space = Space({"x": Float(0, 1)})
    store = open_store(folder)
    info = StudyInfo(uuid7(), "s", space.to_dict(), space.fingerprint, (), 0, 0.0)
    store.create_study(info)
    return store, info


def writer_of(store: Store, info: StudyInfo, seconds: float = 30.0) -> Writer:
    return Writer(store, store.acquire_lease(info, new_lease_owner(), seconds))


def test_every_queued_record_is_committed(tmp_path: Path) -> None:
    store, info = study_in(tmp_path)
    writer = writer_of(store, info)
    tokens = [uuid7() for _ in range(500)]
    for number, token in enumerate(tokens):
        trial = Trial(number, {"x": 0.5}, State.RUNNING, attempts=1)
        writer.put(trial=trial, run=Run(token, number))
        writer.put(report=(token, Report(0, {"value": float(number)})))
    for number in range(0, 500, 2):
        writer.put(trial=Trial(number, {"x": 0.5}, State.COMPLETED, (1.0,), attempts=1))
    writer.flush()
    states = [t.state for t in store.trials(info.uid)]
    assert states == [State.COMPLETED, State.RUNNING] * 250
    assert len(list(store.runs(info.uid, None))) == 500
    assert len(list(store.reports(info.uid, None))) == 500
    writer.close()
    assert "tuner-writer" not in {t.name for t in threading.enumerate()}


def test_a_store_error_is_raised_at_the_next_call(tmp_path: Path) -> None:
    store, info = study_in(tmp_path)
    writer = Writer(store, Lease("0" * 32, 1, new_lease_owner(), 30.0))  # no such study
    writer.put(trial=Trial(0, {"x": 0.5}))
    with pytest.raises(StudyNotFound):
        writer.flush()
    with pytest.raises(StudyNotFound):
        writer.put(trial=Trial(1, {"x": 0.5}))
    with pytest.raises(StudyNotFound):
        writer.close()
    assert "tuner-writer" not in {t.name for t in threading.enumerate()}
    assert list(store.trials(info.uid)) == []


def test_a_full_queue_blocks_the_driver_and_loses_no_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tuner.engine.writer.MAX_QUEUED", 8)
    store, info = study_in(tmp_path)
    token = uuid7()
    store.write(info.uid, Batch([Trial(0, {"x": 0.5})], [Run(token, 0)]))
    writer = writer_of(store, info)
    for step in range(2_000):
        writer.put(report=(token, Report(step, {"value": 1.0})))
    writer.close()
    assert len(list(store.reports(info.uid, None))) == 2_000


@pytest.mark.slow
def test_an_idle_writer_renews_the_lease(tmp_path: Path) -> None:
    store, info = study_in(tmp_path)
    writer = writer_of(store, info, seconds=1.0)
    elsewhere = LeaseOwner("elsewhere", 1)
    deadline = time.monotonic() + 2.0
    while time.monotonic() < deadline:
        with pytest.raises(StudyBusy):
            store.acquire_lease(info, elsewhere, 30.0)
        time.sleep(0.1)
    writer.close()
    time.sleep(1.2)
    assert store.acquire_lease(info, elsewhere, 30.0).epoch == 2


def test_a_lost_lease_is_reported_without_a_write(tmp_path: Path) -> None:
    store, info = study_in(tmp_path)
    lease = store.acquire_lease(info, new_lease_owner(), 0.0)
    store.acquire_lease(info, LeaseOwner("elsewhere", 1), 30.0)
    writer = Writer(store, Lease(lease.study, lease.epoch, lease.owner, 0.4))
    writer._thread.join(20)
    with pytest.raises(StudyTakenOver, match="process 1 on elsewhere"):
        writer.check()


def test_records_queued_while_the_store_is_locked_are_written_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "LOCK_TIMEOUT", 0.1)
    store, info = study_in(tmp_path)
    writer = writer_of(store, info)
    other = sqlite3.connect(tmp_path / "tuner.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    for number in range(10):
        writer.put(trial=Trial(number, {"x": 0.5}, State.RUNNING, attempts=1))
        time.sleep(0.1)
    assert list(store.trials(info.uid)) == []
    writer.check()
    other.execute("ROLLBACK")
    other.close()
    writer.close()
    assert len(list(store.trials(info.uid))) == 10


def test_an_unreachable_store_ends_the_study_with_the_committed_trials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "LOCK_TIMEOUT", 0.1)
    store, info = study_in(tmp_path)
    writer = Writer(store, store.acquire_lease(info, new_lease_owner(), 30.0), timeout=0.5)
    writer.put(trial=Trial(0, {"x": 0.5}))
    writer.flush()
    other = sqlite3.connect(tmp_path / "tuner.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    writer.put(trial=Trial(1, {"x": 0.5}))
    with pytest.raises(StoreUnavailable, match="was locked for"):
        writer.close()
    other.execute("ROLLBACK")
    other.close()
    assert [t.number for t in store.trials(info.uid)] == [0]


def test_a_temporarily_full_disk_loses_no_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = [10_000]

    def limit(connection: Any, _: Any) -> None:
        # SQLite's own limit on the pages of a file makes the error of a full disk.
        connection.execute(f"PRAGMA max_page_count={room[0]}")

    store, info = study_in(tmp_path)
    engine = store._database._engine  # type: ignore[attr-defined]
    event.listen(engine, "checkout", lambda connection, *_: limit(connection, None))
    writer = writer_of(store, info)
    writer.put(trial=Trial(0, {"x": 0.5}, notes={"text": "a" * 10_000}))
    writer.flush()
    room[0] = 1  # SQLite raises it to the number of pages
    for number in range(1, 30):
        writer.put(trial=Trial(number, {"x": 0.5}, notes={"text": "a" * 10_000}))
    time.sleep(0.5)
    assert len(list(store.trials(info.uid))) < 30
    writer.check()
    room[0] = 10_000
    writer.close()
    assert [t.number for t in store.trials(info.uid)] == list(range(30))
