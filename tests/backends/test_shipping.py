"""The pickled work: large arrays beside it, everything else in it."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse

from tuner.backends import shipping
from tuner.backends.protocol import Channel
from tuner.backends.shipping import SHARED_FROM, load_work, map_parts, pickle_work, share
from tuner.errors import ObjectiveError
from tuner.records import Job, Outcome, State

ROWS = SHARED_FROM // 8


def work_with(data: Any) -> Any:
    def work(job: Job, channel: Channel) -> Outcome:
        return data

    return work


def shipped(data: Any) -> tuple[Any, int, int]:
    """Return data as a worker has it, and the bytes of the pickle and of the shared arrays."""
    pickled = pickle_work(work_with(data))
    file = share(pickled)
    try:
        work, problem = load_work(*map_parts(file.descriptor, file.parts))
    finally:
        file.close()
    assert problem == ""
    assert work is not None
    return work(None, None), len(pickled.data), sum(b.nbytes for b in pickled.buffers)  # type: ignore[arg-type]


def matrix() -> np.ndarray:
    return np.arange(4.0 * ROWS).reshape(ROWS, 4)


def memory_mapped(folder: Path) -> np.ndarray:
    np.save(folder / "array.npy", matrix())
    return np.load(folder / "array.npy", mmap_mode="r")


@pytest.mark.parametrize(
    "make",
    [
        lambda _: matrix(),
        lambda _: np.asfortranarray(matrix()),
        lambda _: matrix()[:, :2],
        lambda _: matrix()[::-2],
        lambda _: np.arange(ROWS).astype("datetime64[s]"),
        lambda _: np.zeros(ROWS, dtype=[("a", "f8"), ("b", "i4")]),
        lambda _: np.full(ROWS, "text"),
        memory_mapped,
    ],
    ids=["rows", "columns", "gaps", "steps", "dates", "records", "text", "memory-mapped"],
)
def test_large_arrays_are_shared_and_read_only(
    make: Callable[[Path], np.ndarray], tmp_path: Path
) -> None:
    array = make(tmp_path)
    got, in_pickle, in_memory = shipped(array)
    np.testing.assert_array_equal(got, array)
    assert got.dtype == array.dtype
    assert in_pickle < 4000
    assert in_memory == array.nbytes
    with pytest.raises(ValueError, match="read-only"):
        got[0] = got[1]


@pytest.mark.parametrize(
    "table",
    [
        pd.DataFrame(matrix()),
        pd.DataFrame(matrix())[[0, 2]],
        pd.DataFrame(matrix()).iloc[::3],
        pd.Series(pd.date_range("2020", periods=ROWS, freq="s")),
    ],
    ids=["table", "columns", "rows", "dates"],
)
def test_tables_are_shared(table: Any) -> None:
    got, in_pickle, in_memory = shipped(table)
    assert got.equals(table)
    assert in_pickle < 10_000
    assert in_memory >= table.to_numpy().nbytes


def test_sparse_matrices_are_shared() -> None:
    sparse = scipy.sparse.csr_matrix(matrix())
    got, _, in_memory = shipped(sparse)
    assert (got != sparse).nnz == 0
    assert in_memory == sparse.data.nbytes + sparse.indices.nbytes


def test_small_arrays_are_copied_and_stay_writable() -> None:
    got, _, in_memory = shipped(np.arange(10.0))
    assert in_memory == 0
    got += 1
    assert got[0] == 1.0


def test_an_array_with_two_names_stays_one_array() -> None:
    array = matrix()
    got, _, in_memory = shipped([array, array])
    assert in_memory == array.nbytes
    assert got[0] is got[1]


def test_code_that_writes_to_a_read_only_array_changes_its_own_copy_only() -> None:
    pickled = pickle_work(work_with(matrix()))
    file = share(pickled)
    try:
        first, second = (
            load_work(*map_parts(file.descriptor, file.parts))[0](None, None)  # type: ignore[misc,arg-type]
            for _ in range(2)
        )
    finally:
        file.close()
    address = first.__array_interface__["data"][0]
    ctypes.c_double.from_address(address).value = 7.0
    assert (first[0, 0], second[0, 0]) == (7.0, 0.0)


def test_without_free_memory_a_file_is_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        available = 0

    monkeypatch.setattr("psutil.virtual_memory", Full)
    file = share(pickle_work(work_with(matrix())))
    try:
        assert os.fstat(file.descriptor).st_nlink == 0
        work, _ = load_work(*map_parts(file.descriptor, file.parts))
    finally:
        file.close()
    assert work is not None
    np.testing.assert_array_equal(work(None, None), matrix())  # type: ignore[arg-type]


def test_a_file_that_cannot_be_written_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[int] = []
    monkeypatch.setattr(
        shipping,
        "_open",
        lambda _: opened.append(os.open("/dev/full", os.O_RDWR)) or opened[0],
    )
    with pytest.raises(OSError, match="No space"):
        share(pickle_work(work_with(matrix())))
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(opened[0])


def test_work_that_cannot_be_pickled_is_refused() -> None:
    with pytest.raises(ObjectiveError, match=r"cannot be shipped.*lock.*in the objective itself"):
        pickle_work(work_with(threading.Lock()))


def test_work_that_cannot_be_loaded_names_the_problem() -> None:
    class Missing:
        def __reduce__(self) -> tuple[object, ...]:
            return __import__, ("no_such_module",)

    pickled = pickle_work(work_with(Missing()))
    work, problem = load_work(pickled.data, pickled.buffers)
    assert work is None
    assert problem == "ModuleNotFoundError: No module named 'no_such_module'"


def test_the_outcome_of_shipped_work_is_that_of_the_original() -> None:
    def work(job: Job, channel: Channel) -> Outcome:
        return Outcome(State.COMPLETED, {"value": 1.0})

    pickled = pickle_work(work)
    loaded, _ = load_work(pickled.data, pickled.buffers)
    assert loaded is not None
    assert loaded(None, None) == work(None, None)  # type: ignore[arg-type]
