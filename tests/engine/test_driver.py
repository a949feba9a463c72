"""The loop of a study, from its call to its end."""

from __future__ import annotations

from pathlib import Path

import pytest

import tuner
from tuner.errors import StoreUnavailable
from tuner.tracking.sql_store import SqlStore


def test_a_study_that_is_all_written_ends_well_though_it_cannot_be_given_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise StoreUnavailable("gone just now")

    monkeypatch.setattr(SqlStore, "release_study", away)
    study = tuner.optimize(
        lambda params: params["x"],
        {"x": tuner.Float(0, 1)},
        n_trials=3,
        backend="serial",
        store=tmp_path,
        register=False,
        progress=False,
    )
    assert len(study.trials) == 3
