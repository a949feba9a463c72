"""Repeats are marked wherever runs of several purposes are listed together."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import tuner
from tuner import Float
from tuner.cli.commands import cli
from tuner.records import RunPurpose
from tuner.reporting.charts import chart_data
from tuner.study.export import report_rows, run_rows


def noisy(params: dict[str, Any], trial: tuner.LiveTrial) -> float:
    value = params["x"] ** 2 + random.Random(trial.seed).gauss(0.0, 0.1)
    trial.report(value, step=0)
    return value


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("store")
    study = tuner.optimize(
        noisy, {"x": Float(-1.0, 1.0)}, n_trials=4, seed=0, study="s", optimizer="random",
        backend="serial", store=folder, progress=False, register=False,
    )  # fmt: skip
    study.confirm(noisy, 3, backend="serial", progress=False, tolerance=0.0)
    return folder


def run_cli(store: Path, *words: str) -> str:
    done = CliRunner().invoke(cli, [*words, "--store", str(store)])
    assert done.exit_code == 0, done.output
    return done.output


def repeat_of(store: Path) -> Any:
    study = tuner.load_study("s", store=store)
    return next(run for run in study.runs() if run.purpose is RunPurpose.REPEAT)


def test_show_marks_the_repeats_of_a_trial(store: Path) -> None:
    repeat = repeat_of(store)
    shown = run_cli(store, "show", "s", "--trial", str(repeat.trial))
    assert "run 1: completed" in shown
    assert f"run {repeat.attempt} (repeat): completed" in shown
    assert f"metric value of run {repeat.attempt} (repeat): " in shown


def test_find_shows_the_purpose(store: Path) -> None:
    lines = run_cli(store, "find", "purpose = 'repeat'", "--what", "runs").splitlines()
    rows = [dict(zip(lines[0].split("\t"), line.split("\t"), strict=True)) for line in lines[1:]]
    assert [row["purpose"] for row in rows] == ["repeat"] * 3


def test_tables_of_runs_and_reports_have_the_purpose(store: Path) -> None:
    study = tuner.load_study("s", store=store)
    for rows in (run_rows(study.runs()), report_rows(study.runs(), study.reports())):
        assert sorted(row["purpose"] for row in rows) == ["attempt"] * 4 + ["repeat"] * 3


def test_timelines_mark_repeats(store: Path) -> None:
    study = tuner.load_study("s", store=store)
    labels = study.plot.timeline().get_legend_handles_labels()[1]
    assert "repeat" in labels
    data = json.loads(chart_data(study, study.trials))
    assert sum(run["repeats"] for run in data["runs"]) == 3
    assert set(data["repeated"]) == {str(run.trial) for run in study.runs() if run.seed is not None}
    assert all(low < mean < high for mean, low, high in data["repeated"].values())
    assert f"{repeat_of(store).attempt} (repeat)" in {run["run"] for run in data["runs"]}


def test_a_repeat_is_replayed_and_compared_with_its_own_seed(store: Path) -> None:
    repeat = repeat_of(store)
    ref = f"s/{repeat.trial}"
    done = tuner.replay(f"{ref}/{repeat.attempt}", store=store, objective=noisy)
    assert (done.same, done.run.seed) == (True, repeat.seed)
    facts = tuner.compare(ref, f"{ref}/{repeat.attempt}", store=store).run
    assert facts["purpose"] == (None, "repeat")
    assert facts["seed"][1] == repeat.seed != facts["seed"][0]
