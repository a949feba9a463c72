"""Samples of served rows in the store."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

import tuner
from tuner.errors import ArgumentError, ModelNotFound
from tuner.registry import Registry, served
from tuner.registry.served import Sample, add_sample

FRAME = pd.DataFrame(
    {"a": [1.0, None], "b": pd.Categorical(["x", "y"]), "at": pd.to_datetime(["2024-01-01"] * 2)}
)


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    study = tuner.optimize(
        lambda params: params["x"],
        {"x": tuner.Int(1, 9)},
        n_trials=1,
        backend="serial",
        store=tmp_path,
        register=False,
        progress=False,
    )
    study.register("m", signature=tuner.Signature.infer(FRAME))
    return Registry(study.store)


def sample(rows: int = 1, model: str = "m") -> Sample:
    columns = {"a": [None], "b": ["y"], "at": ["2024-02-01T00:00:00"], "prediction": [3]}
    return Sample(model, 1, 10 * rows, {name: value * rows for name, value in columns.items()})


def test_rows_are_read_back_with_the_types_of_the_signature(registry: Registry):
    add_sample(registry.store, sample(2))
    found = registry.served_samples("m")
    assert found.columns.tolist() == ["a", "b", "at", "prediction"]
    assert found[["a", "b", "at"]].dtypes.tolist() == FRAME.dtypes.tolist()
    assert found["prediction"].tolist() == [3, 3]
    assert found.index.get_level_values("version").tolist() == [1, 1]


def test_rows_are_chosen_by_time_and_version(registry: Registry):
    add_sample(registry.store, sample())
    assert len(registry.served_samples("m", since=timedelta(hours=1))) == 1
    assert len(registry.served_samples("m", since=datetime(2020, 1, 1, tzinfo=UTC))) == 1
    assert len(registry.served_samples("m", since=datetime(2100, 1, 1, tzinfo=UTC))) == 0
    assert len(registry.served_samples("m", version=2)) == 0
    with pytest.raises(ArgumentError, match="since='7d'"):
        registry.served_samples("m", since="7d")  # type: ignore[arg-type]
    with pytest.raises(ModelNotFound):
        registry.served_samples("other")


def test_the_oldest_rows_are_deleted(registry: Registry, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(served, "MOST_ROWS", 25)
    for _ in range(4):
        add_sample(registry.store, sample(10))
    assert len(registry.served_samples("m")) == 20
    monkeypatch.setattr(served, "RETENTION", timedelta(seconds=-1))
    add_sample(registry.store, sample())
    assert len(registry.served_samples("m")) == 0


def test_rows_are_deleted_with_their_version_and_model(registry: Registry):
    add_sample(registry.store, sample())
    registry.delete_version("m", 1, force=True)
    assert len(registry.served_samples("m")) == 0
    registry.delete_model("m", force=True)
    with pytest.raises(ModelNotFound):
        add_sample(registry.store, sample())


def test_rows_of_another_signature_keep_their_values(registry: Registry):
    add_sample(registry.store, sample())
    registry.set_signature("m@1", tuner.Signature.infer(pd.DataFrame({"z": [1]})))
    assert registry.served_samples("m")["b"].tolist() == ["y"]
