from __future__ import annotations

import sqlite3
from pathlib import Path

import numpy as np

from tuner.records import Goal, State, StudyInfo, Trial
from tuner.search_spaces import Bool, Choice, Float, Int, Space
from tuner.tracking import Batch, open_store
from tuner.tracking.uuid7 import uuid7

SPACE = Space(
    {
        "scaler": Choice("none", "standard"),
        "shape": Choice((64, 64), (128,), None),
        "warm": Bool(),
        "model": Choice(
            svm={"C": Float(1e-3, 1e3, log=True), "kernel": Choice(rbf={"g": Int(1, 9)}, lin={})},
            forest={"n": Int(10, 1000, log=True)},
        ),
    }
)


def test_nested_params_round_trip_and_can_be_queried_by_sql(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    info = StudyInfo(uuid7(), "s", SPACE.to_dict(), SPACE.fingerprint, (Goal(),), 1, 0.0)
    store.create_study(info)
    points = SPACE.sample(np.random.default_rng(0), 200)
    trials = [Trial(n, params, State.COMPLETED, (1.0,)) for n, params in enumerate(points)]
    store.write(info.uid, Batch(trials=trials))
    store.close()

    again = open_store(tmp_path)
    assert again.find_study("s") == info
    assert list(again.trials(info.uid)) == trials
    expected = [
        (n, params["model"][1]["C"])
        for n, params in enumerate(points)
        if params["model"][0] == "svm"
    ]
    assert len(expected) > 50
    connection = sqlite3.connect(tmp_path / "tuner.db")
    found = connection.execute(
        "SELECT number, params ->> '$.\"model.svm.C\"' FROM trials "
        "WHERE params ->> 'model' = 'svm' ORDER BY number"
    ).fetchall()
    connection.close()
    assert found == expected
