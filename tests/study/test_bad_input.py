"""A wrong call gets one clear error before any work starts, and loses nothing."""

from __future__ import annotations

import re
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest

import tuner
from tuner import Bool, Choice, Float, Int, P, Space, errors

SPACE = {"x": Float(0, 1)}


def objective(params: dict[str, Any]) -> float:
    return float(params["x"])


def search(folder: Path, **changes: Any) -> tuner.Study:
    call: dict[str, Any] = {
        "objective": objective, "space": SPACE, "n_trials": 3, "backend": "serial",
        "store": folder / "store", "progress": False,
    }  # fmt: skip
    return tuner.optimize(**(call | changes))


def is_even(params: dict[str, Any]) -> None:
    raise AssertionError("the objective must not be called")


@pytest.mark.parametrize(
    ("space", "says"),
    [
        ({}, "empty"),
        (None, "NoneType"),
        ([1, 2], "list"),
        ({"x": 3}, r"Const\(3\)"),
        ({"x": [1, 2]}, r"Choice\(1, 2\)"),
        ({"x": {"y": Float(0, 1)}}, "Choice"),
        ({"": Float(0, 1)}, "name"),
        ({"params.b": Float(0, 1)}, "'params.b'"),
        ({"number": Float(0, 1)}, "'number'.*reserved"),
        ({"value": Float(0, 1)}, "'value'.*reserved"),
    ],
    ids=str,
)
def test_an_invalid_space_is_refused(tmp_path: Path, space: Any, says: str) -> None:
    with pytest.raises(errors.SpaceError, match=says):
        search(tmp_path, space=space, objective=is_even)
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Float(0, 1, log=True), "0.*log"),
        (lambda: Float(-1, 1, log=True), "-1.*log"),
        (lambda: Float(1, 0.001), r"Float\(0.001, 1"),
        (lambda: Int(5, 1), r"Int\(1, 5\)"),
        (lambda: Float(0, float("inf")), "inf"),
        (lambda: Choice(), "option"),
        (lambda: Choice("a", "a"), "'a'"),
        (lambda: Choice("svm", svm={"C": Float(0, 1)}), "'svm'"),
        (lambda: Space({"x": Bool()}).where(P("y") == 1), "'y'"),
        (lambda: Space({"x": Int(1, 3)}).where(P("x") > 3), "nothing|no point|none"),
        (lambda: Space({"x": Float(0, 1)}).where(P("x") > 2), "nothing|no point|none"),
    ],
)
def test_an_invalid_domain_or_constraint_is_refused(make: Any, says: str) -> None:
    with pytest.raises(errors.SpaceError, match=f"(?i){says}"):
        make()


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({"n_trials": 0}, errors.ArgumentError, "n_trials=0: write an integer of at least 1"),
        ({"n_trials": 2.5}, errors.ArgumentError, "n_trials=2.5"),
        ({"n_trials": True}, errors.ArgumentError, "n_trials=True"),
        ({"timeout": 0}, errors.ArgumentError, "timeout=0"),
        ({"timeout": float("nan")}, errors.ArgumentError, "timeout=nan"),
        ({"trial_timeout": "1h"}, errors.ArgumentError, "trial_timeout='1h'"),
        ({"workers": 0}, errors.ArgumentError, "workers=0"),
        ({"seed": -1}, errors.ArgumentError, "seed=-1"),
        ({"seed": 0.5}, errors.ArgumentError, "seed=0.5"),
        ({"max_retries": -1}, errors.ArgumentError, "max_retries=-1"),
        ({"direction": "max"}, errors.ArgumentError, '"minimize" or "maximize"'),
        ({"metric": ""}, errors.ArgumentError, "metric=''"),
        ({"metric": ["a", "b"]}, errors.ArgumentError, "1 goals, metric has 2"),
        ({"study": ""}, errors.ArgumentError, "study=''"),
        ({"study": "a/b"}, errors.ArgumentError, "'a/b'"),
        ({"register": ""}, errors.ArgumentError, "register=''"),
        ({"register": "a@b"}, errors.TunerError, "a@b"),
        ({"optimizer": "bayes"}, errors.UnknownOptimizer, "bayesian"),
        ({"optimizer": "xyz"}, errors.UnknownOptimizer, "random"),
        ({"optimizer": 3}, errors.ArgumentError, "3"),
        ({"scheduler": "ash"}, errors.ArgumentError, "asha"),
        ({"backend": "rya"}, errors.ArgumentError, "ray"),
        ({"initial": [{"x": 7}]}, errors.InvalidParams, "'x'"),
        ({"initial": [{"y": 0.5}]}, errors.InvalidParams, "'y'"),
        ({"data": object()}, errors.ArgumentError, "data|fingerprint"),
        ({"objective": lambda: 0.0}, errors.ObjectiveError, "cannot be called with params"),
        ({"objective": "f"}, errors.ObjectiveError, "not a function"),
    ],
    ids=lambda value: re.sub(r" at 0x\w+", "", str(value))[:40],
)
def test_an_invalid_argument_is_refused(
    tmp_path: Path, changes: Any, error: Any, says: str
) -> None:
    with pytest.raises(error, match=says):
        search(tmp_path, **({"objective": is_even} | changes))
    assert not (tmp_path / "store").exists(), "a call that fails leaves no trace"


@pytest.mark.parametrize(
    ("objective", "says"),
    [
        (lambda params: None, "'value' is None"),
        (lambda params: "high", "'value' is 'high'"),
        (lambda params: float("nan"), "'value' is nan"),
        (lambda params: {"loss": 1.0}, "'value' is missing"),
        (lambda params: lambda: 0, "'value' is"),
    ],
)
def test_an_objective_without_a_metric_fails(tmp_path: Path, objective: Any, says: str) -> None:
    with pytest.raises(errors.AllTrialsFailed, match=says):
        search(tmp_path, objective=objective, study="bad")
    failed = tuner.load_study("bad", store=tmp_path / "store").trials
    assert len(failed) == 3
    assert all(says in t.error.message for t in failed)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"space": {"x": Float(0, 2)}}, "'x' was Float.*and is Float"),
        ({"space": {"y": Float(0, 1)}}, "'x' is missing; 'y' is new"),
        ({"direction": "maximize"}, "minimize 'value', this call has maximize 'value'"),
        ({"metric": "loss"}, "this call has minimize 'loss'"),
        ({"seed": 8}, "its seed is 7, this call has 8"),
        ({"data": b"other"}, "its data has another fingerprint"),
    ],
)
def test_a_study_with_another_space_goal_seed_or_data_is_refused(
    tmp_path: Path, changes: Any, says: str
) -> None:
    call = {"study": "known", "seed": 7, "data": b"some"}
    before = search(tmp_path, **call).trials
    with pytest.raises(errors.StudyMismatch, match=f"'known' cannot be resumed.*{says}"):
        search(tmp_path, **(call | {"objective": is_even} | changes))
    assert tuner.load_study("known", store=tmp_path / "store").trials == before


def test_a_missing_study_is_an_error(tmp_path: Path) -> None:
    search(tmp_path, study="digits")
    with pytest.raises(errors.StudyNotFound, match=r"'digit'.*'digits'"):
        tuner.load_study("digit", store=tmp_path / "store")


def test_a_file_that_is_not_a_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "tuner.db").write_bytes(b"not a database at all" * 100)
    with pytest.raises(errors.StoreCorrupt, match=r"tuner\.db"):
        search(tmp_path, objective=is_even)
    assert (tmp_path / "store" / "tuner.db").read_bytes().startswith(b"not a database")


@pytest.mark.slow
def test_a_truncated_store_is_an_error(tmp_path: Path) -> None:
    search(tmp_path, n_trials=50, study="cut").store.close()
    database = tmp_path / "store" / "tuner.db"
    content = bytearray(database.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    database.write_bytes(content)
    with pytest.raises(errors.StoreCorrupt, match=r"tuner\.db"):
        search(tmp_path, objective=is_even, n_trials=60, study="cut")


def test_a_store_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    search(tmp_path)
    with sqlite3.connect(tmp_path / "store" / "tuner.db") as connection:
        connection.execute("UPDATE tuner_schema SET version_num = '9999'")
    connection.close()
    with pytest.raises(errors.StoreVersion, match="9999"):
        search(tmp_path, objective=is_even)


def test_an_unwritable_store_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(errors.StoreError, match="file"):
        search(tmp_path, objective=is_even, store=tmp_path / "file" / "store")


def test_a_store_opened_read_only_can_be_read_but_not_searched(tmp_path: Path) -> None:
    search(tmp_path, study="kept")
    copy = shutil.copytree(tmp_path / "store", tmp_path / "copy")
    url = f"sqlite:///file:{copy / 'tuner.db'}?mode=ro&uri=true"
    assert len(tuner.load_study("kept", store=url).trials) == 3
    with pytest.raises(errors.StoreReadOnly):
        search(tmp_path, objective=is_even, store=url, study="kept", n_trials=5)


def test_several_workers_on_the_serial_backend_are_refused(tmp_path: Path) -> None:
    with pytest.raises(errors.ResourcesError, match="ray"):
        search(tmp_path, objective=is_even, workers=2)
    assert not (tmp_path / "store").exists()
