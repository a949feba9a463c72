"""Artifacts of trials, listed by number and written to files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import tuner
from tuner.cli.commands import cli
from tuner.errors import ArgumentError, ChecksumMismatch, ExportError
from tuner.records import Upload
from tuner.tracking import Batch


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuner.Study:
    """A study whose second trial has two runs, which kept files, a folder and a model."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plots" / "deep").mkdir(parents=True)
    (tmp_path / "plots" / "roc.png").write_bytes(b"roc")
    (tmp_path / "plots" / "deep" / "pr.png").write_bytes(b"pr")

    def objective(params: Any, trial: Any) -> float:
        for epoch in range(2):
            Path("best.bin").write_bytes(b"%d %d" % (trial.number, epoch))
            trial.log_artifact("best.bin")
        if trial.number == 1 and trial.attempt == 1:
            trial.log_artifact("best.bin", "first")
            raise ValueError("the first time")
        trial.log_artifact("plots")
        trial.log_artifact("best.bin", "models/last")
        trial.log_model({"x": params["x"]})
        return float(trial.number)

    study = tuner.optimize(
        objective, {"x": tuner.Float(0, 1)}, n_trials=3, max_retries=1, backend="serial",
        study="s", progress=False,
    )  # fmt: skip
    Path("best.bin").unlink()
    return study


def content(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def call(*args: str, code: int = 0) -> Result:
    result = CliRunner().invoke(cli, args)
    assert result.exit_code == code, result.output + repr(result.exception)
    return result


def test_every_method_takes_a_trial_or_any_integer(study: tuner.Study, tmp_path: Path) -> None:
    number = study.trials_dataframe()["number"].iloc[1]  # an integer of NumPy
    for trial, name in ((study.trials[1], "first"), (number, "plots")):
        assert study.artifacts(trial) == study.artifacts(1) != []
        assert study.runs(trial) == study.runs(1) != []
        assert study.reports(trial) == study.reports(1)
        assert study.download_artifacts(trial, "model", to=tmp_path / "to")
        study.set_note(trial, "seen", True)
        assert study.register("m", trial=trial) == study.register("m", trial=1)
        assert [a.name for a in study.delete_artifacts(trial, name)] == [name]
    wrong: Any
    for wrong in (1.5, True, [1], "1"):
        for call in (study.runs, study.reports, study.download_artifacts, study.delete_artifacts):
            with pytest.raises(ArgumentError, match="write a trial or its number"):
                call(wrong)
    with pytest.raises(ArgumentError, match="'s' has no trial 9"):
        study.register("m", trial=9)


def test_artifacts_are_listed_by_trial_number(study: tuner.Study) -> None:
    runs = [run.uid for run in study.runs(1)]
    of_trial = study.artifacts(1)
    assert {a.run for a in of_trial} == set(runs)
    assert [a.name for a in of_trial] == [
        "best.bin", "first", "best.bin", "plots", "models/last", "model",
    ]  # fmt: skip
    assert study.artifacts(runs[0]) == study.artifacts(run=runs[0]) == of_trial[:2]
    assert study.artifacts(9) == []
    assert len(study.artifacts()) == 4 + 6 + 4


def test_files_folders_and_models_are_written_under_their_names(
    study: tuner.Study, tmp_path: Path
) -> None:
    written = study.download_artifacts(1, to=tmp_path / "new" / "out")
    found = content(tmp_path / "new" / "out")
    assert {p.relative_to(tmp_path / "new" / "out").as_posix() for p in written} == set(found)
    model = found.pop("model/model.json")
    assert b'"x"' in model
    assert found == {
        "best.bin": b"1 1",
        "plots/roc.png": b"roc",
        "plots/deep/pr.png": b"pr",
        "models/last/best.bin": b"1 1",
    }
    assert study.download_artifacts(study.trials[1], "first", attempt=1, to="first") == [
        Path("first/first/best.bin")
    ]


def test_nothing_is_overwritten(study: tuner.Study, tmp_path: Path) -> None:
    first = study.download_artifacts(0, "best.bin")
    assert first == study.download_artifacts(0, "best.bin") == [Path("best.bin")]
    with pytest.raises(ExportError, match=r"best\.bin exists with another content"):
        study.download_artifacts(2, "best.bin")
    assert (tmp_path / "best.bin").read_bytes() == b"0 1"
    (tmp_path / "best.bin").unlink()
    (tmp_path / "best.bin").mkdir()
    with pytest.raises(ExportError, match="cannot be written"):
        study.download_artifacts(0, "best.bin")


def test_missing_artifacts_are_named(study: tuner.Study) -> None:
    with pytest.raises(
        ArgumentError, match=r"run 2 of trial 1 has no .*'best'; it has 'best\.bin'"
    ):
        study.download_artifacts(1, "best")
    with pytest.raises(ArgumentError, match="run 1 of the trial has it"):
        study.download_artifacts(1, "first")
    with pytest.raises(ArgumentError, match="has no trial 9 that has run"):
        study.download_artifacts(9)
    with pytest.raises(ArgumentError, match="has 2 runs, which are numbered from 1, and no run 7"):
        study.download_artifacts(1, attempt=7)


def test_a_changed_artifact_is_not_downloaded(study: tuner.Study, tmp_path: Path) -> None:
    for file in study.store.artifact_root.rglob("best.bin"):
        if file.is_file():
            file.write_bytes(b"???")
    with pytest.raises(ChecksumMismatch):
        study.download_artifacts(0, "best.bin")
    assert not (tmp_path / "best.bin").exists()


def test_no_artifact_name_escapes_the_folder(study: tuner.Study, tmp_path: Path) -> None:
    run = study.runs(0)[0].uid
    inside = (tmp_path / "out").resolve()
    for name in ("../../evil", "/evil", "a//b", "..", "a\\b", "."):
        kept = study.store.put_artifact(run, Upload(name, {"evil": b"1"}))
        study.store.write(study.info.uid, Batch(artifacts=[kept]))
        (path,) = study.download_artifacts(0, name, to=inside)
        assert path.resolve().is_relative_to(inside)
        assert path.read_bytes() == b"1"


def test_the_command_line_lists_and_downloads(study: tuner.Study, tmp_path: Path) -> None:
    lines = call("show", "s", "--trial", "1").stdout.splitlines()
    assert lines.count("artifact best.bin: 3 bytes") == 2
    assert "artifact plots: 5 bytes" in lines
    assert any(line.startswith("artifact model: model in format json, ") for line in lines)
    listed = [line.split("\t") for line in call("artifacts", "list", "s/1").stdout.splitlines()]
    assert listed[0][:4] == ["trial", "run", "name", "kind"]
    assert ["1", "2", "models/last", "file", "", "3"] in [row[:6] for row in listed]
    assert len(call("artifacts", "list", "s").stdout.splitlines()) == 15
    assert len(call("artifacts", "list", "s/1/1").stdout.splitlines()) == 3
    assert call("artifacts", "get", "s/1", "best.bin", "--to", "here").stdout == "here/best.bin\n"
    assert (tmp_path / "here" / "best.bin").read_bytes() == b"1 1"
    assert call("artifacts", "get", "s/1/1", "first").stdout == "first/best.bin\n"
    call("artifacts", "get", "s", "--to", "winner")
    assert (tmp_path / "winner" / "best.bin").read_bytes() == b"0 1"
    assert "it has 'best.bin'" in call("artifacts", "get", "s/0", "best", code=1).stderr
    assert "has no trial 9" in call("artifacts", "get", "s/9", code=1).stderr
