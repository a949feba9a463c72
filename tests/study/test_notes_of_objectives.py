"""Texts and other small values that an objective notes on its trial."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import tuner
from tuner import Float
from tuner.backends import SimulatedBackend
from tuner.cli.commands import cli
from tuner.errors import ArgumentError

SPACE = {"x": Float(0, 1)}


def objective(params: Any, trial: Any) -> dict[str, Any]:
    trial.set_note("device", f"cuda:{trial.number}")
    trial.set_user_attr("shape", [3, 4])
    trial.set_tag("dropped", "soon")
    trial.set_notes({"dropped": None, "host": {"name": "n1"}})
    return {"value": params["x"], "verdict": "ok" if trial.number else "bad"}


@pytest.mark.parametrize("backend", ["serial", "simulated"])
def test_notes_of_the_objective_are_recorded_found_and_shown(tmp_path: Path, backend: str) -> None:
    where = SimulatedBackend(workers=2) if backend == "simulated" else backend
    study = tuner.optimize(
        objective, SPACE, n_trials=3, backend=where, store=tmp_path, study="s", register=False,
        progress=False, optimizer="random", seed=0,
    )  # fmt: skip
    assert [trial.notes for trial in study] == [
        {
            "device": f"cuda:{n}",
            "shape": [3, 4],
            "host": {"name": "n1"},
            "verdict": "ok" if n else "bad",
        }
        for n in range(3)
    ]
    assert all(trial.metrics.keys() == {"value"} for trial in study)
    assert [t.number for t in study.find("notes.device = 'cuda:1'")] == [1]
    assert [t.number for t in study.find("notes.verdict = 'ok' order by number")] == [1, 2]
    assert study.find("notes.host.name = 'n1'").count() == 3

    place = ["--store", str(tmp_path)]
    found = CliRunner().invoke(cli, ["find", "notes.verdict = 'bad'", *place]).output
    header, row = (line.split("\t") for line in found.splitlines())
    assert dict(zip(header, row, strict=True))["notes.verdict"] == "bad"
    assert (
        "note device: 'cuda:1'"
        in CliRunner().invoke(cli, ["show", "s", "--trial", "1", *place]).output
    )
    frame = study.trials_dataframe()
    assert frame["device"].tolist() == ["cuda:0", "cuda:1", "cuda:2"]
    assert "cuda:2" in study.export(tmp_path / "t.csv").read_text()
    study.export(tmp_path / "t.json")

    study.set_note(1, "verdict", "read again")
    assert study.trials[1].notes["device"] == "cuda:1"
    assert study.trials[1].notes["verdict"] == "read again"


def test_notes_of_a_trial_that_failed_or_stopped_are_kept(tmp_path: Path) -> None:
    def objective(params: Any, trial: Any) -> float:
        trial.set_note("phase", "warmup")
        if trial.number == 1:
            trial.stop()
        if trial.number == 2:
            raise RuntimeError
        return params["x"]

    study = tuner.optimize(
        objective, SPACE, n_trials=3, backend="serial", store=tmp_path, register=False,
        progress=False, optimizer="random",
    )  # fmt: skip
    assert [t.state.value for t in study] == ["completed", "stopped", "failed"]
    assert [t.notes for t in study] == [{"phase": "warmup"}] * 3


def test_a_note_is_a_copy_of_what_was_given(tmp_path: Path) -> None:
    def objective(params: Any, trial: Any) -> float:
        sizes = [1]
        trial.set_note("sizes", sizes)
        sizes.append(2)
        return params["x"]

    study = tuner.optimize(
        objective, SPACE, n_trials=1, backend="serial", store=tmp_path, register=False,
        progress=False,
    )  # fmt: skip
    assert study.trials[0].notes == {"sizes": [1]}


@pytest.mark.parametrize("name", ["", 3, None, "a" * 600, "a\0b"])
def test_a_wrong_name_of_a_note_is_an_error_at_the_call(tmp_path: Path, name: Any) -> None:
    trial = tuner.create_study(SPACE, store=tmp_path).ask()
    with pytest.raises(ArgumentError, match="note"):
        trial.set_note(name, "text")


def test_notes_of_an_asked_trial_are_told_with_its_value(tmp_path: Path) -> None:
    study = tuner.create_study(SPACE, store=tmp_path)
    trial = study.ask()
    trial.set_note("device", "cpu")
    assert study.tell(trial, 1.0).notes == {"device": "cpu"}
    failed = study.ask()
    failed.set_note("device", "gpu")
    study.tell(failed, state="failed")
    assert [t.notes for t in study] == [{"device": "cpu"}, {"device": "gpu"}]
