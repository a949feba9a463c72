"""Signatures: inference, checks and the JSON form."""

from __future__ import annotations

import json
import math
import tracemalloc
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuner.errors import ArgumentError, SignatureError
from tuner.signatures import Signature

FRAME = pd.DataFrame(
    {
        "age": [31.0, 45.5, None],
        "rooms": [1, 2, 3],
        "small": np.array([1, 2, 3], dtype="int8"),
        "town": ["Rome", "Oslo", "Rome"],
        "plan": pd.Categorical(["a", "b", "a"], categories=["a", "b", "c"]),
        "paid": [True, False, True],
        "since": pd.to_datetime(["2024-01-01", "2024-02-01", "2024-03-01"]),
        "seen": pd.to_datetime(["2024-01-01", "2024-02-01", "2024-03-01"], utc=True),
        "score": pd.array([1, None, 3], dtype="Int64"),
    }
)
RECORD = {
    "age": 20,
    "rooms": 2,
    "small": 7,
    "town": "Bern",
    "plan": "c",
    "paid": False,
    "since": "2024-05-01",
    "seen": "2024-05-01T00:00:00Z",
    "score": 5,
}
SIGNATURE = Signature.infer(FRAME, np.array(["yes", "no"]))


def refused(signature: Signature, data: Any) -> SignatureError:
    with pytest.raises(SignatureError) as caught:
        signature.check_inputs(data)
    return caught.value


def test_a_frame_is_returned_with_its_values_types_and_index():
    data = FRAME.set_axis(["p", "q", "r"])
    pd.testing.assert_frame_equal(SIGNATURE.check_inputs(data), data)


def test_columns_are_put_in_order_and_values_get_their_types():
    found = SIGNATURE.check_inputs([dict(reversed(RECORD.items()))])
    assert list(found.columns) == list(FRAME.columns)
    assert list(found.dtypes) == list(FRAME.dtypes)
    assert found.loc[0, "age"] == 20.0


def test_dicts_of_columns_are_frames_too():
    found = SIGNATURE.check_inputs({name: [value] for name, value in RECORD.items()})
    pd.testing.assert_frame_equal(found, SIGNATURE.check_inputs([RECORD]))


@pytest.mark.parametrize(
    ("column", "value", "allowed"),
    [
        ("age", "old", "a number (float64) or missing"),
        ("age", True, "a number (float64) or missing"),
        ("age", 10**400, "a number (float64) or missing"),
        ("rooms", 1.5, "an integer (int64)"),
        ("rooms", 2**63, "an integer (int64)"),
        ("rooms", None, "an integer (int64)"),
        ("rooms", math.inf, "an integer (int64)"),
        ("small", 300, "an integer (int8)"),
        ("town", 3, "a text"),
        ("town", None, "a text"),
        ("plan", "d", "one of 'a', 'b', 'c'"),
        ("plan", ["a"], "one of 'a', 'b', 'c'"),
        ("paid", 1, "true or false"),
        ("since", "yesterday", "a date and time"),
        ("since", "2024-05-01T00:00:00Z", "a date and time"),
        ("since", 5, "a date and time"),
        ("seen", "2024-05-01", "a date and time"),
        ("score", 1.5, "an integer (Int64) or missing"),
        ("rooms", {"a": 1}, "an integer (int64)"),
    ],
)
def test_a_wrong_value_is_refused_with_its_column_row_and_what_is_allowed(column, value, allowed):
    error = refused(SIGNATURE, [RECORD, RECORD | {column: value}])
    assert (error.column, error.row) == (column, 1)
    assert allowed in error.allowed
    assert f"column {column!r}, row 1: " in str(error)
    assert "missing" in str(error) if value is None else repr(value)[:60] in str(error)


def test_a_missing_column_is_named_with_a_similar_one_of_the_data():
    error = refused(SIGNATURE, FRAME.rename(columns={"rooms": "room"}))
    assert error.column == "rooms"
    assert "column 'rooms' is missing; the data has 'room'" in str(error)


def test_a_record_without_a_column_is_named():
    short = {k: v for k, v in RECORD.items() if k != "town"}
    error = refused(SIGNATURE, [RECORD, short])
    assert (error.column, error.row) == ("town", 1)


def test_a_record_may_lack_a_column_that_may_be_missing():
    short = {k: v for k, v in RECORD.items() if k != "age"}
    assert SIGNATURE.check_inputs([short])["age"].isna().all()


def test_a_further_column_is_refused_or_dropped():
    error = refused(SIGNATURE, [RECORD | {"id": 1}])
    assert error.column == "id"
    lenient = Signature.infer(FRAME, extra="drop")
    assert list(lenient.check_inputs([RECORD | {"id": 1}]).columns) == list(FRAME.columns)


def test_the_seen_values_are_all_categories_if_asked():
    signature = Signature.infer(FRAME, categories=["town", "rooms"])
    error = refused(signature, [RECORD])
    assert "column 'town', row 0: 'Bern' is not allowed" in str(error)
    assert signature.check_inputs([RECORD | {"town": "Oslo"}]).loc[0, "town"] == "Oslo"


def test_integers_that_are_missing_nowhere_become_the_floats_of_the_signature():
    found = SIGNATURE.check_inputs(FRAME.assign(age=np.array([1, 2, 3])))
    assert found["age"].tolist() == [1.0, 2.0, 3.0]
    assert found["age"].dtype == np.float64


def test_whole_floats_are_integers():
    assert SIGNATURE.check_inputs([RECORD | {"rooms": 4.0}])["rooms"].tolist() == [4]


@pytest.mark.parametrize("known", [[0, 1], [False, True], [0.5, 1.0], ["a", "b"]])
def test_categories_keep_their_type(known):
    frame = pd.DataFrame({"c": pd.Categorical(known)})
    signature = Signature.infer(frame)
    pd.testing.assert_frame_equal(signature.check_inputs({"c": known}), frame)
    assert refused(signature, {"c": [known[0], "c"]}).row == 1
    assert signature.check_inputs(frame)["c"].dtype == frame["c"].dtype


def test_a_frame_without_a_row_passes():
    assert len(SIGNATURE.check_inputs(FRAME.iloc[:0])) == 0


def test_an_array_has_rank_and_sizes():
    signature = Signature.infer(np.zeros((5, 3), dtype="float32"))
    found = signature.check_inputs([[1, 2, 3.5]])
    assert found.dtype == np.float32
    assert found.tolist() == [[1, 2, 3.5]]
    assert "(1, 2)" in str(refused(signature, [[1, 2]]))
    assert "different lengths" in str(refused(signature, [[1, 2, 3], [1]]))
    assert "(3,)" in str(refused(signature, np.zeros(3)))
    assert str(refused(signature, [[1, 2, 3], [1, "a", 3]])).startswith("column 'x1', row 1: 'a'")
    assert str(refused(signature, [[1.0, True, 3]])).startswith("column 'x1', row 0: True")
    assert refused(signature, [[1.0, math.nan, 3]]).column == "x1"
    assert refused(signature, [[1.0, None, 3]]).row == 0
    assert refused(signature, [[1.0, 1e300, 3]]).column == "x1"
    assert refused(signature, [[1.0, 10**400, 3]]).column == "x1"


def test_the_columns_of_an_array_can_be_named():
    signature = Signature.infer(np.zeros((5, 3)))
    assert signature.check_inputs([{"x2": 3, "x0": 1, "x1": 2}]).tolist() == [[1, 2, 3]]
    assert signature.check_inputs(pd.DataFrame({"x1": [2], "x0": [1], "x2": [3]})).tolist() == [
        [1, 2, 3]
    ]
    assert refused(signature, [{"x0": 1, "x1": 2}]).column == "x2"
    assert refused(signature, [{"x0": 1, "x1": 2, "x2": "a"}]).column == "x2"


def test_arrays_of_images_are_checked_in_all_axes():
    signature = Signature.infer(np.zeros((2, 4, 3)))
    assert signature.check_inputs(np.ones((7, 4, 3), dtype=int)).dtype == np.float64
    data = np.zeros((7, 4, 3))
    data[5, 2, 1] = np.nan
    assert "row 5, element (2, 1): the value is missing" in str(refused(signature, data))
    assert refused(signature, np.zeros((7, 3, 4))).allowed == "the shape (n, 4, 3)"


def test_a_long_text_takes_no_memory_in_other_elements():
    signature = Signature.infer(np.zeros((2, 1)))
    rows = [["x" * 1_000_000]] + [["y"]] * 100
    tracemalloc.start()
    try:
        assert refused(signature, rows).row == 0
        assert tracemalloc.get_traced_memory()[1] < 50_000_000
    finally:
        tracemalloc.stop()


def test_lists_of_texts_are_arrays():
    signature = Signature.infer(["a text", "another"])
    assert signature.check_inputs(["x"]).tolist() == ["x"]
    assert refused(signature, ["x", 3]).row == 1


def test_records_stay_records_and_columns_stay_columns():
    records = Signature.infer([{"a": 1.0, "b": "x"}, {"a": None, "b": "y"}])
    assert records.check_inputs([{"b": "z", "a": 3}, {"b": "z"}]) == [
        {"a": 3.0, "b": "z"},
        {"a": None, "b": "z"},
    ]
    columns = Signature.infer({"image": np.zeros((2, 4)), "name": ["x", "y"]})
    found = columns.check_inputs({"name": ["z"], "image": [[1, 2, 3, 4]]})
    assert found["image"].shape == (1, 4)
    assert found["name"].tolist() == ["z"]
    assert refused(columns, {"name": ["z"], "image": [[1, 2]]}).column == "image"
    assert refused(columns, {"name": ["z", "y"], "image": [[1, 2, 3, 4]]}).column
    assert refused(columns, {"name": "z", "image": [[1, 2, 3, 4]]}).column == "name"


def test_sparse_matrices_keep_their_shape():
    from scipy.sparse import csr_matrix

    signature = Signature.infer(csr_matrix(np.eye(3)))
    assert signature.check_inputs(csr_matrix(np.eye(3, dtype=int))).dtype == np.float64
    assert signature.check_inputs([[1, 2, 3]]).toarray().tolist() == [[1, 2, 3]]
    assert refused(signature, csr_matrix(np.eye(4))).allowed == "the shape (n, 3)"


def test_integers_as_names_of_columns_match_their_texts():
    signature = Signature.infer(pd.DataFrame(np.zeros((2, 2))))
    assert list(signature.check_inputs([{"1": 1, "0": 2}]).columns) == [0, 1]


@pytest.mark.parametrize(
    "data", [5, "text", [1, 2], [[1, 2]], {}, None, b"x", [RECORD, 5], {"age": 5}, object()]
)
def test_data_of_another_type_is_refused(data):
    refused(SIGNATURE, data)


@pytest.mark.parametrize(
    "data",
    [
        [],
        5,
        pd.DataFrame(),
        pd.DataFrame({"a": []}),
        pd.DataFrame([[1, 2]], columns=["a", "a"]),
        pd.DataFrame([[1, 2]], columns=[1, "1"]),
        pd.DataFrame([[1]], columns=[("a", "b")]),
        [[1, 2], [3]],
        {"a": 5},
        {1: [5]},
    ],
)
def test_an_example_that_is_no_table_is_refused(data):
    with pytest.raises(ArgumentError, match="example"):
        Signature.infer(data)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"inputs": None}, "inputs"),
        ({"inputs": {"container": "frame", "fields": []}}, "fields"),
        ({"inputs": {"container": "box", "fields": []}}, "container"),
        ({"inputs": {"container": "frame", "fields": [{"name": "a"}]}}, "field 0: 'dtype'"),
        ({"other": 1}, "'other'"),
        (
            {
                "inputs": {
                    "container": "frame",
                    "fields": [{"name": "a", "kind": "number", "dtype": "evil()"}],
                }
            },
            "dtype",
        ),
        (
            {
                "inputs": {
                    "container": "array",
                    "fields": [{"name": "", "kind": "number", "dtype": "float64", "shape": [-1]}],
                }
            },
            "shape",
        ),
    ],
)
def test_a_dict_that_is_no_signature_is_refused(change, match):
    with pytest.raises(ArgumentError, match=match):
        Signature.from_dict(SIGNATURE.to_dict() | change)


names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
values = {
    "number": st.lists(st.floats(allow_nan=True), min_size=3, max_size=3).map(
        lambda v: np.array(v, dtype=np.float64)
    ),
    "integer": st.lists(st.integers(-(2**62), 2**62), min_size=3, max_size=3),
    "boolean": st.lists(st.booleans(), min_size=3, max_size=3),
    "text": st.lists(names, min_size=3, max_size=3),
    "category": st.lists(names, min_size=3, max_size=3).map(pd.Categorical),
    "datetime": st.lists(
        st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1)), min_size=3, max_size=3
    ).map(lambda v: pd.Series(v, dtype="datetime64[us]").array),
}
frames = st.dictionaries(
    names, st.sampled_from(sorted(values)).flatmap(values.__getitem__), min_size=1, max_size=4
).map(pd.DataFrame)
WRONG = {
    "number": "a text",
    "integer": "a text",
    "boolean": "a text",
    "text": 5,
    "category": 5.25,
    "datetime": "no date",
}


@settings(max_examples=25, deadline=None)
@given(frames, st.randoms())
def test_a_signature_takes_its_example_and_refuses_each_mutation(frame, random):
    signature = Signature.infer(frame)
    assert Signature.from_dict(json.loads(json.dumps(signature.to_dict()))) == signature
    shuffled = frame[random.sample(list(frame.columns), len(frame.columns))]
    pd.testing.assert_frame_equal(signature.check_inputs(shuffled), frame)
    records = frame.astype(object).to_dict("records")
    pd.testing.assert_frame_equal(signature.check_inputs(records), frame)
    for field in signature.inputs.fields:
        name, row = field.name, random.randrange(3)
        worse = [dict(record) for record in records]
        worse[row][name] = WRONG[field.kind]
        error = refused(signature, worse)
        assert (error.column, error.row) == (name, row)
        worse[row][name] = None
        if not field.missing:
            assert refused(signature, worse).column == name
        assert (
            refused(signature, frame.drop(columns=name)).column == name or len(frame.columns) == 1
        )
        assert refused(signature, frame.assign(**{f"{name}!!!": 1})).column == f"{name}!!!"
