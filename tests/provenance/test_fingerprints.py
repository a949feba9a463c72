from __future__ import annotations

import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import scipy.sparse as sp

from tuner.errors import ArgumentError
from tuner.provenance.capture import fingerprint

A = np.arange(12.0).reshape(3, 4)
FRAME = pd.DataFrame({"a": [1, 2], "b": ["x", None], "t": pd.to_datetime(["2020", "2021"])})


@pytest.mark.parametrize(
    ("one", "same"),
    [
        (A, A.copy()),
        (A, np.asfortranarray(A)),
        (A, A.astype(">f8")),
        (A[:, ::2], A[:, ::2].copy()),
        (FRAME, FRAME.copy()),
        (sp.csr_matrix(np.eye(3)), sp.csc_matrix(np.eye(3))),
        ({"X": A, "y": [1, 2]}, {"y": [1, 2], "X": A}),
        ({1, "b"}, {"b", 1}),
        (b"abc", bytearray(b"abc")),
        (np.array(["a", None], dtype=object), np.array(["a", None], dtype=object)),
        (float("nan"), float("nan")),
    ],
)
def test_equal_content_has_one_fingerprint(one: Any, same: Any) -> None:
    assert fingerprint(one) == fingerprint(same)
    assert len(fingerprint(one)) == 32


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (A, A.T),
        (A, A.reshape(4, 3)),
        (A, A.astype("f4")),
        (A, A + 1e-15),
        (np.zeros((0, 3)), np.zeros((3, 0))),
        (FRAME, FRAME.rename(columns={"a": "c"})),
        (FRAME, FRAME[::-1]),
        (FRAME, FRAME.set_index("a")),
        (FRAME["a"], FRAME[["a"]]),
        (FRAME["b"], FRAME["b"].fillna("")),
        (sp.csr_matrix(np.eye(3)), np.eye(3)),
        (sp.csr_matrix(np.eye(3)), sp.csr_matrix(np.eye(4)[:3])),
        ([1, 2], (1, 2)),
        ([1, [2]], [[1], 2]),
        (["ab", "c"], ["a", "bc"]),
        (1, True),
        (1, 1.0),
        ("1", b"1"),
        ({"a": 1}, {"a": 2}),
        (0.0, -0.0),
    ],
)
def test_different_content_has_a_different_fingerprint(one: Any, other: Any) -> None:
    assert fingerprint(one) != fingerprint(other)


@pytest.mark.process
def test_fingerprints_are_equal_in_every_process() -> None:
    code = (
        "import numpy as np, pandas as pd; from tuner.provenance.capture import fingerprint;"
        "print(fingerprint({'b': {'x', 'y', 'z'}, 'a': pd.Series(['u', 'v']), 'c': np.ones(3)}))"
    )
    prints = {
        subprocess.run(
            [sys.executable, "-c", code],
            check=True,
            capture_output=True,
            env={"PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    }
    assert len(prints) == 1


def test_files_and_folders_count_by_content(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name / "deep").mkdir(parents=True)
        (tmp_path / name / "deep" / "a.csv").write_text("1,2\n", encoding="utf-8")
    one, two = tmp_path / "one", tmp_path / "two"
    assert fingerprint(one) == fingerprint(two)
    assert fingerprint(one / "deep" / "a.csv") == fingerprint(two / "deep" / "a.csv")
    (two / "deep" / "a.csv").rename(two / "deep" / "b.csv")
    assert fingerprint(one) != fingerprint(two)
    assert fingerprint(one / "deep" / "a.csv") == fingerprint(two / "deep" / "b.csv")
    (two / "deep" / "b.csv").write_text("1,3\n", encoding="utf-8")
    assert fingerprint(one / "deep" / "a.csv") != fingerprint(two / "deep" / "b.csv")


def test_data_that_cannot_be_hashed_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"data\['X'\]\[1\] is a builtins.object.*NumPy arrays"):
        fingerprint({"X": [1, object()]})
    with pytest.raises(ArgumentError, match="cannot be read"):
        fingerprint(tmp_path / "missing.csv")
    with pytest.raises(ArgumentError, match="pandas cannot hash"):
        fingerprint(pd.DataFrame({"a": [[1], [2]]}))
    with pytest.raises(ArgumentError, match=r"builtins\.function"):
        fingerprint(lambda: 0)


def test_fingerprints_equal_those_of_earlier_versions() -> None:
    """Studies have recorded them: another way to compute them must give the same."""
    frame = pd.DataFrame(
        {
            "n": np.arange(300_000) % 7,
            "c": pd.Categorical(["a", "b", "c"] * 100_000),
            "s": ["x", "yy", None] * 100_000,
        }
    )
    wide = np.asfortranarray(np.arange(3_000_000.0).reshape(3, 1_000_000))
    assert fingerprint(A) == "16019672336097896f1a83a09d2b5d2e"
    assert fingerprint(frame) == "3b7d2de1a51ae86d8e98058bcb7d28b2"
    assert fingerprint(wide) == "e747c203cf8eebdb6dd108a795ff56e9"
    assert fingerprint(wide[:, ::2]) == "898007df54039bf50db0aaea122edf80"
    assert fingerprint(wide.T.astype(">f4")) == "ba135cf1ea6aad7fa18fd9dfab08a8c4"


@pytest.mark.slow
def test_data_is_hashed_in_chunks(tmp_path: Path) -> None:
    """Hashing takes a few megabytes beside the data, for any memory layout."""
    values = np.arange(8_000_000.0)  # 64 MB
    values.tofile(tmp_path / "file")
    table = pa.table({"x": values})
    data = {
        "another byte order": values.astype(">f8"),
        "another layout": np.asfortranarray(values.reshape(1000, 8000)),
        "every second": np.arange(16_000_000.0)[::2],
        "a file": tmp_path / "file",
        "a folder": tmp_path,
        "a frame": pd.DataFrame({"x": values}),
        "a table": table,
        "a mapped file": np.memmap(tmp_path / "file", dtype="f8", mode="r"),
    }
    for name, each in data.items():
        tracemalloc.start()
        fingerprint(each)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 24e6, f"{name}: {peak / 1e6:.0f} MB"


def test_arrow_tables_have_fingerprints() -> None:
    table = pa.table({"x": [1, 2, 3], "y": ["a", None, "c"]})
    parts = pa.concat_tables([table.slice(0, 1), table.slice(1)])
    assert fingerprint(table) == fingerprint(parts) == fingerprint(table.to_batches()[0])
    assert fingerprint(table) != fingerprint(table.rename_columns(["x", "z"]))
    assert fingerprint(table) != fingerprint(table.take([1, 0, 2]))
    assert fingerprint(table) != fingerprint(table.set_column(0, "x", pa.array([1.0, 2.0, 3.0])))


def test_array_like_objects_have_fingerprints() -> None:
    class Tensor:
        def __array__(self, dtype=None, copy=None):
            return A

    assert fingerprint(Tensor()) == fingerprint(A)
