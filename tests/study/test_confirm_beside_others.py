"""Confirmation beside other drivers: dead ones, busy ones, more workers, older stores."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import tuner
from support.earlier_schemas import go_back
from tuner import Float, errors
from tuner.records import Run, RunPurpose, State
from tuner.tracking import schema
from tuner.tracking.batch import Batch
from tuner.tracking.database import migrate
from tuner.tracking.uuid7 import uuid7

SPACE = {"x": Float(-1.0, 1.0)}


def noisy(params: dict[str, Any], trial: tuner.LiveTrial) -> float:
    return params["x"] ** 2 + random.Random(trial.seed).gauss(0.0, 0.1)


def search(store: str | Path, **options: Any) -> tuner.Study:
    call: dict[str, Any] = {"n_trials": 5, "seed": 0, "study": "s", "optimizer": "random"}
    call |= {"backend": "serial", "progress": False, "register": False}
    return tuner.optimize(noisy, SPACE, store=store, **(call | options))


def confirm(study: tuner.Study, runs: int, objective: Any = noisy, **options: Any) -> Any:
    call: dict[str, Any] = {"backend": "serial", "progress": False, "tolerance": 0.0}
    return study.confirm(objective, runs, **(call | options))


def repeats(study: tuner.Study) -> list[Run]:
    return [run for run in study.runs() if run.purpose is RunPurpose.REPEAT]


def left_behind(study: tuner.Study) -> Run:
    """Record a repeat as a driver leaves it that was killed."""
    run = Run(uuid7(), 2, 2, State.RUNNING, purpose=RunPurpose.REPEAT, seed=1, started=5.0)
    study.store.write(study.info.uid, Batch(runs=[run]))
    return run


@pytest.mark.parametrize("next_driver", ["search", "confirm"])
def test_the_next_driver_ends_the_repeats_of_a_dead_one(tmp_path: Path, next_driver: str) -> None:
    study = search(tmp_path)
    left = left_behind(study)
    if next_driver == "search":
        search(tmp_path, n_trials=6)
    else:
        confirm(study, 2)
    (found,) = (run for run in study.runs(2) if run.uid == left.uid)
    assert (found.state, found.error and found.error.kind) == (State.FAILED, "Interrupted")
    assert found.ended is not None
    assert found.ended >= 5.0
    assert replace(found, state=left.state, error=None, ended=None) == left
    assert study.winner.repeats == (0 if next_driver == "search" else 2)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return str(tmp_path)
    new_database: Callable[[], str] = request.getfixturevalue("new_database")
    return new_database()


def test_of_two_confirmations_at_once_the_second_one_starts_nothing(url: str) -> None:
    study = search(url)
    refused = []

    def beside(params: dict[str, Any], trial: tuner.LiveTrial) -> float:
        other = tuner.load_study("s", store=url)
        for start in (lambda: confirm(other, 9), lambda: search(url, n_trials=9)):
            with pytest.raises(errors.StudyBusy):
                start()
            refused.append(1)
        return noisy(params, trial)

    assert confirm(study, 3, beside).repeats == len(repeats(study)) == 3
    assert len(refused) == 6
    assert len(study.trials) == 5


@pytest.mark.process
def test_more_workers_than_candidates_keep_to_the_budget(tmp_path: Path) -> None:
    study = search(tmp_path, n_trials=2)
    at_once: dict[str, Any] = {"backend": "processes", "workers": 4, "resources": {"cpu": 0.25}}

    def undecided(params: dict[str, Any], trial: tuner.LiveTrial) -> float:
        return random.Random(trial.seed).gauss(0.0, 10.0)

    assert confirm(study, 5, undecided, **at_once).repeats == 5
    made = repeats(study)
    assert len({(run.trial, run.seed) for run in made}) == len(made) == 5


def test_an_upgraded_store_can_confirm(tmp_path: Path) -> None:
    study = search(tmp_path)
    with study.store.writing() as connection:
        go_back(connection, "0007")
    study.store.close()
    with pytest.raises(errors.StoreVersion):
        tuner.load_study("s", store=tmp_path)
    assert migrate.upgrade(tmp_path) == list(schema.REVISIONS[7:])
    study = tuner.load_study("s", store=tmp_path)
    assert confirm(study, 3).repeats == 3
    version = study.register()
    assert version.estimate == study.winner.estimate_of(study.winner.trial)
