"""Profiles describe tables exactly, are bounded, and survive JSON."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuner.drift import Profile
from tuner.errors import ArgumentError

CELLS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**40), 2**40),
    st.floats(),
    st.text(max_size=5),
)


@settings(max_examples=30, deadline=None)
@given(
    st.integers(1, 8).flatmap(
        lambda n: st.dictionaries(
            st.text(max_size=4), st.lists(CELLS, min_size=n, max_size=n), min_size=1, max_size=4
        )
    )
)
def test_a_profile_survives_json(table: dict[str, list[object]]) -> None:
    profile = Profile.of(pd.DataFrame(table, dtype=object))
    again = Profile.from_json(profile.to_json())
    assert again.columns == profile.columns
    assert again.rows == profile.rows
    for name, values in profile.sample.items():
        assert again.sample[name].dtype == values.dtype
        np.testing.assert_array_equal(again.sample[name], values)
    assert again.to_json() == profile.to_json()


@pytest.mark.parametrize(
    ("values", "kind", "missing"),
    [
        ([1, 2, None], "number", 1),
        ([1.5, float("inf"), float("nan")], "number", 1),
        (["a", None, "b"], "category", 1),
        ([True, None, False], "boolean", 1),
        (pd.to_datetime(["2026-01-01", None, "2026-01-03"]), "datetime", 1),
        (pd.to_timedelta([1, None, 3], unit="s"), "number", 1),
        (pd.Categorical([1, 2, None]), "category", 1),
        ([None, None, None], "empty", 3),
        ([1, "a", None], "category", 1),
        (pd.array([1, 2, None], dtype="Int64"), "number", 1),
        (pd.array([True, False, None], dtype="boolean"), "boolean", 1),
        (pd.array(["x", "y", None], dtype="string"), "category", 1),
    ],
)
def test_kinds_and_missing_values(values: object, kind: str, missing: int) -> None:
    column = Profile.of({"c": values}).columns["c"]
    assert (column.kind, column.missing) == (kind, missing)


def test_nearly_unique_text_is_not_a_category() -> None:
    column = Profile.of({"id": [f"row {i}" for i in range(100)]}).columns["id"]
    assert (column.kind, column.counts) == ("text", {})


def test_quantiles_and_counts_are_exact_and_bounded() -> None:
    names = [f"c{i % 1500}" for i in range(9000)]
    profile = Profile.of({"x": np.arange(9000.0), "c": names}, sample_rows=200, seed=3)
    x, c = profile.columns["x"], profile.columns["c"]
    assert (x.quantiles[0], x.quantiles[-1], len(x.quantiles)) == (0.0, 8999.0, 101)
    assert abs(x.quantiles[50] - 4499.5) <= 1.0
    assert len(c.counts) == 1000
    assert sum(c.counts.values()) + c.other == 9000
    assert len(profile.sample["x"]) == 200
    rows = profile.sample["x"].astype(int)
    assert [names[i] for i in rows] == list(profile.sample["c"])  # whole rows are sampled


def test_a_file_is_read(tmp_path: Path) -> None:
    frame = pd.DataFrame({"x": [1.0, 2.0], "c": ["a", "b"]})
    frame.to_csv(tmp_path / "t.csv", index=False)
    frame.to_parquet(tmp_path / "t.parquet")
    expected = Profile.of(frame).to_json()
    assert Profile.of(tmp_path / "t.csv").to_json() == expected
    assert Profile.of(str(tmp_path / "t.parquet")).to_json() == expected


def test_the_metric_of_predictions() -> None:
    labels = np.array([0.0, 1.0, 1.5, np.nan])
    quality = Profile.of({"y": labels}, target="y", predictions=[0.0, 2.0, 1.5, 1.0]).quality
    assert quality is not None
    assert (quality.metric, quality.rows, quality.mean) == ("absolute error", 3, 1 / 3)
    quality = Profile.of({"y": ["a", "b"]}, target="y", predictions=["a", "a"]).quality
    assert quality is not None
    assert (quality.metric, quality.mean) == ("accuracy", 0.5)


@pytest.mark.parametrize(
    ("data", "options", "says"),
    [
        ({}, {}, "0 columns"),
        ({"x": []}, {}, "0 rows"),
        ({"x": [1], "y": [1, 2]}, {}, "not a table"),
        (np.zeros(3), {}, r"shape \(3,\)"),
        (17, {}, "a int is not a table"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), {}, "several columns are named 'a'"),
        ("no/such.csv", {}, "does not exist"),
        ({"x": [1]}, {"target": "y"}, "no column 'y'"),
        ({"x": [1]}, {"ignore": ["x"]}, "every column is ignored"),
        ({"x": [1]}, {"predictions": [1, 2]}, "one for each of the 1 rows"),
        ({"prediction": [1]}, {"predictions": [1]}, "already"),
        ({"x": [1]}, {"sample_rows": 5}, "at least 100"),
    ],
)
def test_what_is_not_a_table_is_refused(
    data: object, options: dict[str, object], says: str
) -> None:
    with pytest.raises(ArgumentError, match=says):
        Profile.of(data, **options)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": "tuner-profile-9"}', '{"format": 1'])
def test_a_text_that_is_not_a_profile_is_refused(text: str) -> None:
    with pytest.raises(ArgumentError, match="profile"):
        Profile.from_json(text)


def test_infinities_survive_json() -> None:
    profile = Profile.of({"x": [float("inf"), float("-inf"), 1.0, float("nan")]})
    again = Profile.from_json(profile.to_json())
    assert again.columns["x"].quantiles[::100] == (float("-inf"), float("inf"))
    assert again.columns["x"].infinite == 2
    np.testing.assert_array_equal(again.sample["x"], [np.inf, -np.inf, 1.0, np.nan])
