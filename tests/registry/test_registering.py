"""Versions, their numbers and lineage, and the alias champion."""

from __future__ import annotations

import math
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest

from support.forks import Fork
from tuner.errors import ArgumentError, ModelNotFound, RegistryError, StoreError
from tuner.records import (
    Artifact,
    Direction,
    Goal,
    ModelVersion,
    Run,
    State,
    StudyInfo,
    Trial,
    Upload,
)
from tuner.registry import Registry
from tuner.registry.formats import save_model
from tuner.tracking import Batch, Store
from tuner.tracking.uuid7 import uuid7

LOSS = Goal("loss")
SCORE = Goal("score", Direction.MAXIMIZE)


def record(store: Store, n_runs: int = 1) -> tuple[StudyInfo, list[tuple[Trial, Run]]]:
    """Record a study with that many completed trials of one run each."""
    uid = uuid7()
    info = store.create_study(StudyInfo(uid, f"study-{uid}", {}, "0", (LOSS,), 1, 1.5, data="d1"))
    trials = [
        Trial(n, {"x": float(n), "m": ("a", {"b": n})}, State.COMPLETED, (1.0,), {"loss": 1.0})
        for n in range(n_runs)
    ]
    runs = [Run(uuid7(), t.number, state=State.COMPLETED) for t in trials]
    store.write(info.uid, Batch(trials=trials, runs=runs))
    return info, list(zip(trials, runs, strict=True))


def register(
    store: Store, name: str, value: float = 1.0, goal: Goal = LOSS, model: Any = None
) -> ModelVersion:
    """Register a new run as a version of `name`."""
    info, [(trial, run)] = record(store)
    artifact = None
    if model is not None:
        format, files = save_model(model)
        artifact = store.put_artifact(run.uid, Upload("model", files, "model", format))
        store.write(info.uid, Batch(artifacts=[artifact]))
    return Registry(store).register(
        name, study=info, trial=trial, run=run, artifact=artifact, goal=goal, value=value
    )


# --- versions ---------------------------------------------------------------------------------


def test_an_empty_store_has_no_models(store: Store) -> None:
    registry = Registry(store)
    assert registry.models() == []
    assert registry.versions("m") == []
    assert registry.find_version("m", uuid7()) is None
    with pytest.raises(ModelNotFound, match="no models"):
        registry.get("m")


def test_versions_count_from_one_within_a_name(store: Store) -> None:
    made = [register(store, name).version for name in ["a", "b", "a", "a", "b"]]
    assert made == [1, 1, 2, 3, 2]
    registry = Registry(store)
    assert registry.models() == ["a", "b"]
    assert [v.version for v in registry.versions("a")] == [1, 2, 3]
    assert registry.get("a@2") == registry.versions("a")[1]


def test_a_version_keeps_its_lineage(store: Store) -> None:
    info, [(trial, run)] = record(store)
    artifact = store.put_artifact(run.uid, Upload("model", {"f": b"1"}, "model", "json"))
    store.write(info.uid, Batch(artifacts=[artifact]))
    made = Registry(store).register(
        "m", study=info, trial=trial, run=run, artifact=artifact, goal=SCORE, value=0.5
    )
    assert (made.study, made.trial, made.run) == (info.name, 0, run.uid)
    assert (made.params, made.goal, made.value) == (trial.params, SCORE, 0.5)
    assert (made.artifact, made.data, made.aliases) == (artifact, "d1", ("champion",))
    assert Registry(store).get("m") == made


def test_a_run_is_one_version_of_a_name(store: Store) -> None:
    info, [(trial, run)] = record(store)
    registry = Registry(store)
    call: dict[str, Any] = {"study": info, "trial": trial, "run": run, "artifact": None}
    first = registry.register("m", **call, goal=LOSS, value=1.0)
    assert registry.register("m", **call, goal=LOSS, value=0.5) == first
    assert registry.find_version("m", run.uid) == first
    assert registry.register("other", **call, goal=LOSS, value=1.0).version == 1
    assert len(registry.versions("m")) == 1


@pytest.mark.parametrize("name", ["a@b", "", "a/b", None])
def test_an_invalid_name_registers_nothing(store: Store, name: Any) -> None:
    with pytest.raises(ArgumentError):
        register(store, name)
    assert Registry(store).models() == []


def test_an_unknown_run_or_artifact_is_not_registered(store: Store) -> None:
    info, [(trial, run)] = record(store)
    call: dict[str, Any] = {"trial": trial, "goal": LOSS, "value": 1.0}
    lost = Artifact("model", run.uid, "nowhere", "0" * 64, 1, "model", "json")
    with pytest.raises(RegistryError, match=r"artifact 'model' of run .* not recorded"):
        Registry(store).register("m", study=info, run=run, artifact=lost, **call)
    other = replace(run, uid=uuid7())
    with pytest.raises(RegistryError, match=r"run .* is not recorded"):
        Registry(store).register("m", study=info, run=other, artifact=None, **call)
    other_study, _ = record(store)
    with pytest.raises(RegistryError, match="is not recorded"):
        Registry(store).register("m", study=other_study, run=run, artifact=None, **call)
    assert Registry(store).models() == []
    assert register(store, "m").version == 1  # no number was lost


# --- the champion -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("goal", "values", "champions"),
    [
        (LOSS, [0.5, 0.6, 0.4, 0.4, -1.0], [1, 1, 3, 3, 5]),
        (SCORE, [0.5, 0.6, 0.4, 0.6, 1.0], [1, 2, 2, 2, 5]),
        (LOSS, [math.nan, 0.5, math.nan], [1, 2, 2]),
        (SCORE, [math.inf, 1.0, -math.inf], [1, 1, 1]),
    ],
)
def test_the_champion_is_the_best_and_the_first_of_equals(
    store: Store, goal: Goal, values: list[float], champions: list[int]
) -> None:
    for value, expected in zip(values, champions, strict=True):
        register(store, "m", value, goal)
        assert Registry(store).get("m@champion").version == expected
    marked = [v.version for v in Registry(store).versions("m") if "champion" in v.aliases]
    assert marked == champions[-1:]


@pytest.mark.parametrize("goal", [SCORE, Goal("loss", Direction.MAXIMIZE), Goal("score")])
@pytest.mark.slow
def test_a_champion_of_another_goal_stays_with_a_note_on_the_version(
    store: Store, goal: Goal
) -> None:
    register(store, "m", 0.5, LOSS)
    for value in (0.0, 1.0):
        made = register(store, "m", value, goal)
        assert made.aliases == ("challenger",)
        assert "cannot be compared" in made.note
        assert "(version 1) to minimize 'loss'" in made.note
    registry = Registry(store)
    assert registry.get("m@champion").version == 1
    assert registry.get("m@champion").note == ""
    registry.set_alias("m", "champion", 2)
    assert [bool(v.note) for v in registry.versions("m")] == [False, False, True]


# --- aliases ----------------------------------------------------------------------------------


def test_an_alias_moves(store: Store) -> None:
    for _ in range(2):
        register(store, "m")
    registry = Registry(store)
    registry.set_alias("m", "staging", 2)
    assert registry.get("m@staging").version == 2
    registry.set_alias("m", "staging", 1)
    assert registry.get("m@staging").aliases == ("champion", "staging")
    assert registry.get("m@2").aliases == ("challenger",)
    assert [v.version for v in registry.versions("m")] == [1, 2]


def test_aliases_belong_to_their_model(store: Store) -> None:
    register(store, "a")
    register(store, "b")
    Registry(store).set_alias("a", "staging", 1)
    with pytest.raises(ModelNotFound):
        Registry(store).get("b@staging")


def test_a_failure_of_the_operating_system_is_a_store_error(
    store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    register(store, "m", model={"threshold": 0.5})
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    with pytest.raises(StoreError, match="missing"):
        Registry(store).load("m")


@pytest.mark.parametrize("version", [0, 2, -1])
def test_an_alias_of_a_missing_version_is_refused(store: Store, version: int) -> None:
    register(store, "m")
    with pytest.raises(ModelNotFound, match="versions 1 to 1"):
        Registry(store).set_alias("m", "staging", version)
    with pytest.raises(ModelNotFound, match="no model 'x'"):
        Registry(store).set_alias("x", "staging", 1)
    with pytest.raises(ArgumentError, match="alias '2'"):
        Registry(store).set_alias("m", "2", 1)


# --- missing objects --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ref", "says"),
    [
        ("digit", "no model 'digit'; it has 'digits'$"),
        ("xyz", "no model 'xyz'; it has 'digits', 'iris'$"),
        ("iris@2", "'iris' has no version or alias '2'; it has the versions 1 to 1"),
        ("iris@staging", "no version or alias 'staging'.*aliases 'champion'$"),
        ("iris:1", "no model 'iris:1'; it has 'iris'; a version is written 'iris@1'$"),
    ],
)
def test_an_error_for_a_missing_model_lists_existing_ones(
    store: Store, ref: str, says: str
) -> None:
    register(store, "iris")
    register(store, "digits")
    for ask in (Registry(store).get, Registry(store).load):
        with pytest.raises(ModelNotFound, match=says):
            ask(ref)


def test_errors_do_not_show_the_password(store: Store) -> None:
    with pytest.raises(ModelNotFound) as caught:
        Registry(store).get("m")
    assert str(store) in str(caught.value)


# --- at the same time -------------------------------------------------------------------------


REGISTER_ALL = """
import sys
import tempfile
from tuner.registry import Registry
from tuner.tracking import open_store

url, name, every, offset = sys.argv[1:]
store = open_store(url)
info = store.find_study(name)
pairs = list(zip(store.trials(info.uid), store.runs(info.uid), strict=True))
for trial, run in pairs[int(offset)::int(every)]:
    Registry(store).register(
        "m", study=info, trial=trial, run=run, artifact=None,
        goal=info.goal, value=float(trial.number),
    )
"""


@pytest.mark.process
def test_processes_that_register_at_once_leave_no_gaps(store: Store) -> None:
    info, pairs = record(store, n_runs=40)
    shares = [("2", "0"), ("2", "1"), ("3", "0")]
    processes = [Fork(REGISTER_ALL, store.url, info.name, *share) for share in shares]
    told = [process.communicate(60) for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes), told
    versions = Registry(store).versions("m")
    assert [v.version for v in versions] == list(range(1, 41))
    assert {v.run for v in versions} == {run.uid for _, run in pairs}
    assert Registry(store).get("m@champion").value == 0.0
    # The order of the history is the order of the versions, and no change is lost.
    moves = [(e.before, e.after) for e in Registry(store).history("m", "champion")]
    lowest = list(accumulate((v.value for v in versions), min))
    bests = [v.version for v, low in zip(versions, lowest, strict=True) if v.value == low]
    assert moves == list(zip([None, *bests], bests, strict=False))


def test_threads_that_register_the_same_run_make_one_version(store: Store) -> None:
    info, [(trial, run)] = record(store)

    def register_it(_: int) -> int:
        return (
            Registry(store)
            .register("m", study=info, trial=trial, run=run, artifact=None, goal=LOSS, value=1.0)
            .version
        )

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(register_it, range(8))) == {1}
    assert [v.version for v in Registry(store).versions("m")] == [1]
