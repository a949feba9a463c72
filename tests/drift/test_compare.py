"""Drift is found where it is, and each unusual table has a clear outcome."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from tuner.drift import Column, DriftReport, Finding, Profile, Quality, compare, statistics
from tuner.errors import ArgumentError, ExportError


def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def table(seed: int, n: int = 1000) -> dict[str, object]:
    draw = rng(seed)
    return {"x": draw.normal(size=n), "k": draw.poisson(2, n), "c": draw.choice(list("abc"), n)}


def million(counts: dict[str, int]) -> Profile:
    """Return the profile of a million rows with one column of categories."""
    column = Column("c", "category", "feature", 1_000_000, 0, counts=counts)
    return Profile(1_000_000, {"c": column}, {"c": np.array(["a"] * 100, dtype=object)})


def columns_only(old: object, new: object, **options: object) -> DriftReport:
    return compare(old, new, joint=False, **options)


def of(report: DriftReport, column: str, what: str) -> Finding:
    (found,) = [f for f in report.findings if (f.column, f.what) == (column, what)]
    return found


def test_p_values_are_those_of_scipy() -> None:
    old, new = rng(0).normal(size=300), rng(1).normal(0.2, size=400)
    found, expected = statistics.numbers(old, new), stats.ks_2samp(old, new, method="asymp")
    assert found.effect == pytest.approx(expected.statistic)
    assert found.p_value == pytest.approx(expected.pvalue)
    found = statistics.counts({"a": 30, "b": 70}, {"a": 50, "b": 50})
    assert found.p_value == pytest.approx(
        stats.chi2_contingency([[30, 50], [70, 50]], correction=False).pvalue
    )
    assert found.effect == pytest.approx(0.2)


def test_rare_categories_are_pooled() -> None:
    rare = {f"r{i}": 1 for i in range(50)}
    found = statistics.counts({"a": 950, **rare}, {"a": 950, **{f"s{i}": 1 for i in range(50)}})
    assert found.p_value == pytest.approx(1.0)  # 5 % of rare ones on both sides
    assert statistics.counts({"a": 950, **rare}, {"a": 1000}).p_value < 1e-6


def test_bounded_counts_compare_only_categories_that_both_name() -> None:
    found = statistics.counts({"a": 500, "b": 100}, {"a": 500, "c": 100}, others=(400, 400))
    assert found.p_value == pytest.approx(1.0)


def test_the_correction_counts_every_test() -> None:
    draw = rng(3)
    p = draw.random(20)
    assert statistics.adjusted(p.tolist()) == pytest.approx(
        stats.false_discovery_control(p).tolist()
    )
    assert statistics.adjusted([]) == []


def test_welch_and_its_effect() -> None:
    old, new = Quality("accuracy", 400, 0.9, 0.3), Quality("accuracy", 400, 0.8, 0.4)
    found = statistics.quality(old, new)
    assert found.effect == pytest.approx(0.1)
    assert found.p_value < 1e-3
    same = Quality("accuracy", 400, 1.0, 0.0)
    assert statistics.quality(same, same).p_value == 1.0


@pytest.mark.parametrize(
    ("column", "change"),
    [
        ("x", lambda v, _: v + 0.3),
        ("x", lambda v, _: v * 1.6),
        ("k", lambda v, draw: v + (draw.random(len(v)) < 0.25)),
        ("c", lambda v, draw: np.where(draw.random(len(v)) < 0.2, "a", v)),
        ("c", lambda v, draw: np.where(draw.random(len(v)) < 0.05, "unseen", v)),
    ],
)
def test_a_change_of_one_column_is_found_there(column: str, change: object) -> None:
    new = table(1)
    assert not columns_only(table(0), new).drift
    new[column] = change(new[column], rng(2))  # type: ignore[operator]
    assert {f.column for f in columns_only(table(0), new).drifted} == {column}


def test_missing_values_are_found_as_such() -> None:
    new = table(1)
    new["x"] = np.where(rng(2).random(1000) < 0.05, np.nan, new["x"])
    (found,) = columns_only(table(0), new).drifted
    assert (found.column, found.what) == ("x", "missing")


@pytest.mark.slow
def test_a_correlation_is_found_jointly_only() -> None:
    old, new = rng(0).normal(size=(1500, 4)), rng(1).normal(size=(1500, 4))
    assert not compare(old, new).drift
    new[:, 1] = 0.7 * new[:, 0] + 0.71 * new[:, 1]
    report = compare(old, new)
    assert report.drift
    assert not report.drifted
    assert report.joint is not None
    assert set(list(report.joint.importances)[:2]) == {"x0", "x1"}
    assert report.verdict == "drift: columns together, none by itself"


def test_a_negligible_difference_is_not_drift() -> None:
    old, new = (million({"a": n, "b": 1_000_000 - n}) for n in (500_000, 505_000))
    found = of(columns_only(old, new), "c", "values")
    assert found.p_value is not None
    assert found.p_value < 1e-9
    assert not found.drift
    assert columns_only(old, new, min_effect=0.001).drift


def test_the_false_alarms_of_columns_are_at_most_alpha() -> None:
    alarms = [columns_only(table(2 * i, 200), table(2 * i + 1, 200)).drift for i in range(60)]
    assert sum(alarms) <= 8  # exceeded with probability 0.002 at 5 %


def test_differences_of_columns() -> None:
    old, new = table(0), table(1)
    del new["x"]
    new["extra"], new["c"] = new["k"], np.arange(1000)
    report = columns_only(old, new)
    assert {f.column: f.note for f in report.drifted} == {
        "x": "is missing in the new data",
        "c": "was category, is number",
    }
    assert of(report, "extra", "schema").note == "is new"


@pytest.mark.parametrize(
    ("old", "new", "note"),
    [
        ([None] * 50, [None] * 50, "has no values"),
        ([None] * 50, [1.0] * 50, "had no values"),
        ([1.0] * 50, [None] * 50, "has no values in the new data"),
        ([1.0] * 5 + [None] * 45, [1.0] * 50, "has too few values to test"),
        ([f"a{i}" for i in range(60)], [f"b{i}" for i in range(60)], "is nearly unique text"),
        (pd.date_range("2025", periods=50), pd.date_range("2026", periods=50), "is a datetime"),
    ],
)
def test_columns_that_are_not_tested(old: object, new: object, note: str) -> None:
    found = of(compare({"c": old}, {"c": new}), "c", "values")
    assert found.note.startswith(note)
    assert found.p_value is None
    assert not found.drift


def test_constants_and_infinities() -> None:
    assert not compare({"c": [1.0] * 50}, {"c": [1.0] * 50}).drift
    assert columns_only({"c": [1.0] * 50}, {"c": [2.0] * 50}).drift
    old, new = rng(0).normal(size=500), rng(1).normal(size=500)
    new[:60] = np.inf
    found = of(compare({"c": old}, {"c": new}), "c", "values")
    assert found.drift
    assert "60 infinite values" in found.note
    json.loads(compare({"c": old}, {"c": new}).to_json())


def test_new_data_may_lack_labels_and_predictions() -> None:
    old = Profile.of(table(0) | {"y": rng(1).random(1000)}, target="y", predictions=table(1)["x"])
    report = columns_only(old, table(1))
    assert not report.drift
    assert of(report, "y", "schema").note == "is not in the new data"
    assert not columns_only(table(0) | {"y": table(1)["x"]}, table(1), target="y").drift


@pytest.mark.parametrize(
    ("old", "new", "options", "says"),
    [
        ({"x": [1.0] * 29}, {"x": [1.0] * 50}, {}, "the reference has 29 rows"),
        ({"x": [1.0] * 50}, {"x": [1.0] * 29}, {}, "the new data has 29 rows"),
        ({"x": [1.0] * 50}, {"y": [1.0] * 50}, {}, "no column in common"),
        ({"x": [1.0] * 50}, {"x": [1.0] * 50}, {"alpha": 0.0}, "alpha=0.0"),
        ({"x": [1.0] * 50}, {"x": [1.0] * 50}, {"alpha": "x"}, "alpha='x'"),
        ({"x": [1.0] * 50}, {"x": [1.0] * 50}, {"min_effect": 1.0}, "min_effect=1.0"),
        ({"x": [1.0] * 50}, {"x": [1.0] * 50}, {"ignore": ["x"]}, "no column"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    old: object, new: object, options: dict[str, object], says: str
) -> None:
    with pytest.raises(ArgumentError, match=says):
        compare(old, new, **options)


def test_a_saved_profile_gives_the_same_report() -> None:
    old, new = Profile.of(table(0)), table(1)
    again = Profile.from_json(old.to_json())
    assert compare(again, new).to_json() == compare(old, new).to_json()


def test_text_of_data_is_escaped_in_the_page_and_in_the_terminal(tmp_path: object) -> None:
    name = "<script>alert(1)</script>\x1b[31m$x_"
    values = ["<b>$a_{$", "ok"]
    report = columns_only({name: values[:1] * 60 + values[1:] * 9}, {name: values * 40})
    page = report.to_html()
    assert report.drift
    assert "<script>" not in page
    assert "<b>" not in page
    assert "\x1b" not in page + str(report)
    assert page.count("data:image/svg+xml") == 1
    with pytest.raises(ExportError, match="cannot write"):
        report.save(f"{tmp_path}/no/such/drift.html")


def test_ranks_of_few_rows_are_not_drift_by_their_auc_alone() -> None:
    found = [compare(table(2 * i, 60), table(2 * i + 1, 60)).joint for i in range(6)]
    assert any(joint is not None and joint.auc > 0.52 for joint in found)
    assert not any(joint is None or joint.drift for joint in found)
