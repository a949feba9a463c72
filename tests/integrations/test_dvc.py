from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

import tuner
from tuner import Choice, Float, Int
from tuner.errors import ArgumentError
from tuner.integrations import export_dvc


@pytest.fixture
def study(tmp_path: Path) -> tuner.Study:
    space = {
        "rate": Float(0, 1),
        "model": Choice(svm={"C": Int(1, 9)}, dummy={}),
        "at": Choice((1, 2)),
    }
    study = tuner.create_study(
        space, study="digits", store=tmp_path / "store", metric="loss", seed=3
    )
    for loss in (3.0, 1.0, 2.0):
        study.tell(study.ask(), {"loss": loss, "huge": float("inf")} if loss > 2 else loss)
    return study


def test_the_files_describe_the_best_trial(study, tmp_path: Path) -> None:
    params, metrics = export_dvc(study, tmp_path / "out")
    best = study.best_trial
    assert json.loads(metrics.read_text()) == {"loss": 1.0}
    content = yaml.safe_load(params.read_text())
    assert (content["study"], content["trial"], content["seed"]) == ("digits", 1, best.seed)
    kind, options = best.params["model"]
    assert kind == "svm"
    assert content["params"]["rate"] == best.params["rate"]
    assert content["params"]["at"] == [1, 2]
    assert content["params"]["model"] == {"option": "svm", "svm": options}


def test_a_trial_can_be_chosen_by_number(study, tmp_path: Path) -> None:
    _, metrics = export_dvc(study, tmp_path, trial=2)
    assert json.loads(metrics.read_text()) == {"loss": 2.0}
    with pytest.raises(ArgumentError, match="no trial 7"):
        export_dvc(study, tmp_path, trial=7)


def test_dvc_shows_the_files_if_it_is_installed(study, tmp_path: Path) -> None:
    export_dvc(study, tmp_path)
    dvc = shutil.which("dvc")
    if dvc is None:
        # DVC is large. It reads plain YAML and JSON, which the tests above check.
        assert json.loads((tmp_path / "metrics.json").read_text())
        return
    shown = subprocess.run(
        [dvc, "metrics", "show", "--json", "metrics.json"],
        cwd=_as_repository(tmp_path, dvc),
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(shown.stdout)[""]["data"]["metrics.json"]["data"] == {"loss": 1.0}


def _as_repository(folder: Path, dvc: str) -> Path:
    subprocess.run([dvc, "init", "--no-scm", "-q"], cwd=folder, check=True)
    return folder
