"""Studies are copied and pickled; each copy reconnects to the store and goes on by itself."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

import tuner
from tuner import Float, Int, State, errors
from tuner.optimizers import RandomOptimizer, TPEOptimizer
from tuner.tracking import open_store

SPACE = {"x": Float(-1, 1), "n": Int(1, 5)}

COPIES: dict[str, Callable[[Any], Any]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda study: pickle.loads(pickle.dumps(study)),
    "cloudpickle": lambda study: pickle.loads(cloudpickle.dumps(study)),
}


class Unregistered(RandomOptimizer):
    """An optimizer without a registered name, which the record cannot restore."""

    def describe(self) -> dict[str, Any]:
        return {"name": "unregistered"}


@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize("optimizer", [TPEOptimizer(n_startup=2), Unregistered()])
@pytest.mark.slow
def test_a_copy_and_its_original_continue_one_study(
    tmp_path: Path, how: str, optimizer: Any
) -> None:
    study = tuner.create_study(
        SPACE, store=tmp_path / "a", study="s", optimizer=optimizer, scheduler="median", seed=3
    )
    alone = tuner.create_study(
        SPACE, store=tmp_path / "b", study="s", optimizer=copy.deepcopy(optimizer), seed=3
    )
    copied = COPIES[how](study)
    assert (copied.name, copied.info, copied.space) == (study.name, study.info, study.space)
    for k in range(8):
        asker = (study, copied)[k % 2]
        trial, same = asker.ask(), alone.ask()
        assert trial.params == same.params
        (copied, study)[k % 2].tell(trial.number, trial.params["x"])
        alone.tell(same, same.params["x"])
    again = COPIES[how](study)
    assert [t.state for t in again] == [State.COMPLETED] * 8
    again.optimize(lambda p: p["x"], n_trials=10, backend="serial", progress=False)
    assert len(study.trials) == 10


def test_a_copy_reads_the_current_record(tmp_path: Path) -> None:
    study = tuner.create_study(SPACE, store=tmp_path, study="s")
    tuner.load_study("s", store=tmp_path).set_tag("team", "red")
    assert study.info.tags == {}
    assert copy.copy(study).info.tags == {"team": "red"}


@pytest.mark.process
def test_a_pickle_is_loaded_in_another_process_and_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    monkeypatch.chdir(here)
    study = tuner.create_study(SPACE, study="s", store="relative", seed=1, optimizer="random")
    (there / "study.pickle").write_bytes(pickle.dumps(study))
    code = (
        "import pickle; study = pickle.load(open('study.pickle', 'rb')); trial = study.ask(); "
        "trial.log_artifact('study.pickle'); study.tell(trial, 0.5); print(study.name)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=there, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "s\n"
    assert [t.value for t in study] == [0.5]
    assert len(study.store.read_artifact(study.artifacts()[0])) == 1
    assert [p.name for p in there.iterdir()] == ["study.pickle"], "no second store"


def test_a_study_is_captured_by_an_objective(tmp_path: Path) -> None:
    study = tuner.create_study(SPACE, study="s", store=tmp_path, seed=1)
    study.tell(study.ask(), 2.0)
    objective = pickle.loads(cloudpickle.dumps(lambda params: params["x"] + study.best_value))
    assert objective({"x": 1.0}) == 3.0


def test_a_pickle_of_a_deleted_study_raises_study_not_found(tmp_path: Path) -> None:
    study = tuner.create_study(SPACE, study="s", store=tmp_path / "store")
    content = pickle.dumps(study)
    study.store.close()
    (tmp_path / "store").rename(tmp_path / "elsewhere")
    with pytest.raises(errors.StudyNotFound, match="'s'"):
        pickle.loads(content)


def test_a_pickled_store_keeps_the_place_of_its_artifacts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNER_ARTIFACTS", f"file://{tmp_path}/files")
    content = pickle.dumps(open_store(tmp_path / "store"))
    monkeypatch.delenv("TUNER_ARTIFACTS")
    loaded = pickle.loads(content)
    assert f"artifacts in file://{tmp_path}/files" in repr(loaded._database.location)
    assert "file://" not in repr(open_store(tmp_path / "store")._database.location)
