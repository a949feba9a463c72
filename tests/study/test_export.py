"""A study as a table: its columns, and that every format gives back the values it was given."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuner.errors import ExportError
from tuner.records import Failure, Goal, State, Trial
from tuner.search_spaces import Choice, Float, Int, Space
from tuner.study.export import FORMATS, format_table, rows, write_table
from tuner.testing.strategies import spaces_and_points

SPACE = Space({"x": Float(0, 1), "model": Choice("none", svm={"C": Float(0.1, 10.0)})})

TRIALS = [
    Trial(
        0, {"x": 0.1, "model": ("svm", {"C": 0.30000000000000004})}, State.COMPLETED, (0.5,),
        {"value": 0.5, "time": 3.0}, started=10.0, ended=12.5,
    ),
    Trial(
        1, {"x": 0.2, "model": ("none", {})}, State.FAILED, error=Failure("ValueError", 'no, "so"')
    ),
]  # fmt: skip

cells = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
)


def read_csv(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode(), newline="")))


# --- rows -----------------------------------------------------------------------------------------


def test_a_row_has_the_trial_its_params_and_its_metrics() -> None:
    first, second = rows(SPACE, [Goal()], TRIALS)
    assert first == {
        "number": 0, "state": "completed", "value": 0.5, "duration": 2.5, "x": 0.1, "model": "svm",
        "model.svm.C": 0.30000000000000004, "time": 3.0, "error": None,
    }  # fmt: skip
    assert list(second) == list(first)
    assert (second["value"], second["model.svm.C"], second["time"]) == (None, None, None)
    assert second["error"] == 'ValueError: no, "so"'


def test_several_goals_have_a_column_each() -> None:
    trial = Trial(0, {"x": 0.5, "model": ("none", {})}, State.COMPLETED, (1.0, 2.0))
    (row,) = rows(SPACE, [Goal("loss"), Goal("size")], [trial])
    assert (row["loss"], row["size"]) == (1.0, 2.0)
    assert "value" not in row


def test_a_duplicate_column_name_gets_a_prefix() -> None:
    space = Space({"loss": Int(1, 2), "x": Int(1, 2)})
    metrics = {"x": 7.0, "duration": 8.0}
    trial = Trial(0, {"loss": 1, "x": 2}, State.COMPLETED, (0.5, 0.6), metrics)
    (row,) = rows(space, [Goal("loss"), Goal("other")], [trial])
    assert (row["loss"], row["params.loss"]) == (0.5, 1)
    assert (row["x"], row["metrics.x"], row["metrics.duration"]) == (2, 7.0, 8.0)


def test_no_trials_are_no_rows() -> None:
    assert rows(SPACE, [Goal()], []) == []


@given(spaces_and_points())
def test_every_point_is_in_its_row(drawn: tuple[Space, list[dict[str, Any]]]) -> None:
    space, points = drawn
    trials = [Trial(i, p, State.COMPLETED, (1.0,)) for i, p in enumerate(points)]
    for row, point in zip(rows(space, [Goal()], trials), points, strict=True):
        flat = {c.path: row[c.path] for c in space.columns if c.path in space.flatten(point)}
        assert space.unflatten(flat) == point


# --- formats --------------------------------------------------------------------------------------


@given(st.lists(st.fixed_dictionaries({"a": cells, "b": cells, "c,\n": cells}), min_size=1))
def test_json_round_trips_every_value(table: list[dict[str, Any]]) -> None:
    back = json.loads(format_table(table, "json"))
    wrong = {math.inf: "Infinity", -math.inf: "-Infinity"}
    assert back == [
        {k: wrong.get(v, v) if isinstance(v, float) else v for k, v in row.items()} for row in table
    ]


@given(st.lists(st.fixed_dictionaries({"a": cells, "b": cells, "c,\n": cells}), min_size=1))
def test_csv_round_trips_every_text_and_number(table: list[dict[str, Any]]) -> None:
    for row, back in zip(table, read_csv(format_table(table, "csv")), strict=True):
        for name, value in row.items():
            text = back[name]
            if isinstance(value, bool) or value is None:
                assert text == ("" if value is None else str(value))
            elif isinstance(value, int | float):
                assert type(value)(text) == value
            else:
                assert text.removeprefix("'") == value.removeprefix("'")


@pytest.mark.parametrize("text", ["=1+1", "+cmd", "-x", "@a", "\tx", "\rx"])
def test_csv_escapes_spreadsheet_formulas(text: str) -> None:
    (row,) = read_csv(format_table([{"a": text}], "csv"))
    assert row["a"] == f"'{text}"
    assert json.loads(format_table([{"a": text}], "json")) == [{"a": text}]


@pytest.mark.parametrize("number", ["-1.5", "+3", "-1e-5"])
def test_csv_does_not_escape_numbers_in_texts(number: str) -> None:
    (row,) = read_csv(format_table([{"a": number}], "csv"))
    assert row["a"] == number


def test_json_writes_nonfinite_numbers_as_words() -> None:
    table = [{"a": math.nan, "b": (1, math.inf)}]
    assert json.loads(format_table(table, "json")) == [{"a": "NaN", "b": [1, "Infinity"]}]


def test_parquet_keeps_types_and_missing_values() -> None:
    table = [
        {"i": 1, "f": 0.1, "b": True, "s": "x", "mixed": 1, "huge": 2**70, "none": None},
        {"i": 2, "f": None, "b": False, "s": None, "mixed": "y", "huge": 1, "none": None},
    ]
    frame = pd.read_parquet(io.BytesIO(format_table(table, "parquet")))
    assert frame["i"].tolist() == [1, 2]
    assert frame["f"][0] == 0.1
    assert np.isnan(frame["f"][1])
    assert frame["b"].tolist() == [True, False]
    assert frame["mixed"].tolist() == ["1", '"y"']
    assert frame["huge"].tolist() == [str(2**70), "1"]
    assert frame["none"].isna().all()


# --- files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("to", FORMATS)
def test_a_table_is_written_by_suffix_or_by_name(tmp_path: Path, to: str) -> None:
    table = rows(SPACE, [Goal()], TRIALS)
    by_suffix = write_table(table, tmp_path / f"table.{to.upper()}")
    by_name = write_table(table, str(tmp_path / "table"), to)
    assert by_suffix.read_bytes() == by_name.read_bytes() == format_table(table, to)


@pytest.mark.parametrize("to", FORMATS)
def test_an_empty_table_is_an_empty_file(to: str) -> None:
    content = format_table([], to)
    assert {"csv": content == b"", "json": content == b"[]\n", "parquet": len(content) > 0}[to]


def test_an_export_error_names_the_cause(tmp_path: Path) -> None:
    table = [{"a": 1}]
    with pytest.raises(ExportError, match=r"'table.xls'.*\.csv, \.json or \.parquet, or pass to="):
        write_table(table, "table.xls")
    with pytest.raises(ExportError, match=r"unknown format 'xls'; choose csv, json or parquet"):
        write_table(table, tmp_path / "table.csv", "xls")
    with pytest.raises(ExportError, match=r"cannot write .*writable folder"):
        write_table(table, tmp_path / "no" / "table.csv")
    assert list(tmp_path.iterdir()) == []
