"""Samples of served rows, without a server."""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from support.asgi import send
from tuner.records import Goal, ModelVersion
from tuner.registry import Registry
from tuner.registry.served import Sample
from tuner.serving import app, sampling
from tuner.serving.sampling import Sampler

VERSION = ModelVersion("m", 1, "s", 0, "r1", {}, Goal(), 1.0, 1.0)


def sampled(sampler: Sampler, written: list[Sample]) -> Sample:
    sampler.flush()
    return written[-1]


@pytest.fixture
def written() -> list[Sample]:
    return []


@pytest.fixture
def sampler(written: list[Sample]) -> Sampler:
    return Sampler(written.append, rows=20, seed=1)


@pytest.mark.parametrize("size", [1, 7, 200])
def test_each_row_is_drawn_with_the_same_probability(
    sampler: Sampler, written: list[Sample], size: int
):
    counts: Counter[float] = Counter()
    for _ in range(60):
        for begin in range(0, 200, size):
            rows = np.arange(begin, min(begin + size, 200), dtype=float)
            sampler.offer(VERSION, rows[:, None], rows, len(rows))
        sample = sampled(sampler, written)
        assert (sample.seen, sample.rows) == (200, 20)
        assert sample.columns["x0"] == sample.columns["prediction"]
        counts.update(sample.columns["x0"])
    thirds = [sum(counts[float(i)] for i in range(b, b + 50)) for b in (0, 50, 100, 150)]
    assert max(thirds) - min(thirds) < 120  # 300 expected, standard deviation 15


@pytest.mark.parametrize(
    ("inputs", "predictions", "columns"),
    [
        (
            pd.DataFrame({"a": [math.nan], "b": pd.to_datetime(["2024-01-01"])}),
            np.array([math.inf]),
            {"a": [None], "b": ["2024-01-01T00:00:00"], "prediction": [None]},
        ),
        ([{"a": 1, "b": "x"}], ["y"], {"a": [1], "b": ["x"], "prediction": ["y"]}),
        ({"a": np.array([1])}, [2], {"a": [1], "prediction": [2]}),
        (np.zeros((1, 2)), np.ones((1, 2)), {"x0": [0], "x1": [0], "prediction_0": [1],
                                             "prediction_1": [1]}),
        (np.array(["t"], dtype=object), [0], {"x0": ["t"], "prediction": [0]}),
        (np.zeros((1, 2, 2)), [0], {"prediction": [0]}),
        (np.zeros((1, 2000)), [0], {"prediction": [0]}),
    ],
)  # fmt: skip
def test_rows_of_every_container_are_columns(
    sampler: Sampler, written: list[Sample], inputs: Any, predictions: Any, columns: Any
):
    sampler.offer(VERSION, inputs, predictions, 1)
    assert sampled(sampler, written).columns == columns


def test_a_sample_has_a_bounded_size(
    sampler: Sampler, written: list[Sample], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sampling, "MOST_BYTES", 1000)
    for _ in range(20):
        sampler.offer(VERSION, [{"text": "x" * 150}], [1], 1)
    sample = sampled(sampler, written)
    assert 0 < sample.rows < 20
    assert len(json.dumps(sample.columns)) <= 1000


def test_a_failure_to_write_is_counted_and_forgotten(caplog: pytest.LogCaptureFixture):
    def fails(_: Sample) -> None:
        raise OSError("disk full")

    sampler = Sampler(fails)
    sampler.offer(VERSION, [[1]], [1], 1)
    sampler.flush()
    sampler.flush()
    assert (sampler.failed, sampler.written) == (1, 0)
    assert "disk full" in caplog.text


def test_samples_of_requests_are_read_from_the_registry(store: Path):
    served = app("m@2", store=store)
    sampler = next(
        r.endpoint.__self__._sampler  # type: ignore[attr-defined]
        for r in served.routes
        if r.path == "/predict"  # type: ignore[attr-defined]
    )
    for _ in range(3):
        send(
            served, "POST", "/predict", b'[{"a": 1, "b": 0}]', {"content-type": "application/json"}
        )
    send(served, "POST", "/predict", b'[{"a": 1}]', {"content-type": "application/json"})
    sampler.flush()
    found = Registry(store).served_samples("m", version=2)
    assert found[["a", "b"]].to_dict("list") == {"a": [1.0] * 3, "b": [0] * 3}
    assert set(found["prediction"]) <= {"no", "yes"}
