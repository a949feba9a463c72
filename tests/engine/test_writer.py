"""The writer commits everything in order, in batches, and says when it cannot."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tuner.engine.writer import Writer
from tuner.errors import StudyNotFound
from tuner.records import Report, Run, State, StudyInfo, Trial
from tuner.search_spaces import Float, Space
from tuner.tracking import open_store
from tuner.tracking.protocol import Batch, Store
from tuner.tracking.uuid7 import uuid7


def study_in(folder: Path) -> tuple[Store, StudyInfo]:
    space = Space({"x": Float(0, 1)})
    store = open_store(folder)
    info = StudyInfo(uuid7(), "s", space.to_dict(), space.fingerprint, (), 0, 0.0)
    store.create_study(info)
    return store, info


def test_everything_that_was_put_is_committed(tmp_path: Path) -> None:
    store, info = study_in(tmp_path)
    writer = Writer(store, info.uid)
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


def test_a_store_that_fails_is_heard_at_the_next_call(tmp_path: Path) -> None:
    store, info = study_in(tmp_path)
    writer = Writer(store, "0" * 32)  # no such study
    writer.put(trial=Trial(0, {"x": 0.5}))
    with pytest.raises(StudyNotFound):
        writer.flush()
    with pytest.raises(StudyNotFound):
        writer.put(trial=Trial(1, {"x": 0.5}))
    with pytest.raises(StudyNotFound):
        writer.close()
    assert "tuner-writer" not in {t.name for t in threading.enumerate()}
    assert list(store.trials(info.uid)) == []


def test_a_queue_that_is_full_makes_the_driver_wait_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tuner.engine.writer.MAX_QUEUED", 8)
    store, info = study_in(tmp_path)
    token = uuid7()
    store.write(info.uid, Batch([Trial(0, {"x": 0.5})], [Run(token, 0)]))
    writer = Writer(store, info.uid)
    for step in range(2_000):
        writer.put(report=(token, Report(step, {"value": 1.0})))
    writer.close()
    assert len(list(store.reports(info.uid, None))) == 2_000
