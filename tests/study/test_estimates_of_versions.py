"""Model versions keep the estimate of the winner."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import tuner
from tuner import Float
from tuner.cli.commands import cli
from tuner.records import ValueEstimate
from tuner.reporting import content
from tuner.reporting.report import render_report


def noisy(params: dict[str, Any], trial: tuner.LiveTrial) -> float:
    return params["x"] ** 2 + random.Random(trial.seed).gauss(0.0, 0.1)


def search(folder: Path, **options: Any) -> tuner.Study:
    call: dict[str, Any] = {"n_trials": 12, "seed": 0, "study": "s", "optimizer": "random"}
    return tuner.optimize(
        noisy,
        {"x": Float(-1.0, 1.0)},
        backend="serial",
        store=folder,
        progress=False,
        **(call | options),
    )


def test_the_version_of_the_winner_keeps_its_estimate(tmp_path: Path) -> None:
    study = search(tmp_path)
    (version,) = tuner.list_models(store=tmp_path)
    winner = study.winner
    kept = version.estimate
    assert kept is not None
    assert kept.chosen == "winner"
    assert (kept.value, kept.low, kept.high) == (winner.value, winner.low, winner.high)
    assert (kept.noise, kept.source, kept.runs) == (winner.noise, winner.source, winner.runs)
    assert (kept.confidence, kept.optimism) == (winner.confidence, winner.optimism)


@pytest.mark.slow
def test_a_registration_after_a_confirmation_replaces_the_estimate(tmp_path: Path) -> None:
    study = search(tmp_path)
    first = study.register("m", trial=study.winner.trial)
    winner = study.confirm(noisy, 6, backend="serial", progress=False)
    again = study.register("m", trial=first.trial)
    assert (again.version, again.run) == (1, first.run)
    assert again.estimate == winner.estimate_of(study.trials[first.trial]) != first.estimate
    assert again == tuner.list_models(store=tmp_path)[0]


def test_another_trial_is_marked_as_the_choice_of_the_user(tmp_path: Path) -> None:
    study = search(tmp_path, register=False)
    leaders = [e.trial for e in study.winner.leaders]
    kept = study.register("m", trial=leaders[1]).estimate
    assert kept is not None
    assert (kept.chosen, kept.confidence) == ("user", study.winner.leaders[1].chance)
    outside = next(t.number for t in study if t.number not in leaders)
    assert study.register("m", trial=outside).estimate is None


def test_several_goals_have_no_estimate(tmp_path: Path) -> None:
    study = tuner.optimize(
        lambda params: {"a": params["x"], "b": params["x"]}, {"x": Float(0, 1)},
        direction=["minimize", "maximize"],
        metric=["a", "b"],
        n_trials=3, backend="serial", store=tmp_path, progress=False,
    )  # fmt: skip
    assert study.register("m", trial=1).estimate is None


@pytest.mark.slow
def test_every_list_of_versions_shows_the_estimate(tmp_path: Path) -> None:
    study = search(tmp_path)
    version = tuner.list_models(store=tmp_path)[0]
    assert version.estimate is not None
    words = version.estimate.in_words()
    assert f"estimate: {words}" in "\n".join(tuner.lineage("s", store=tmp_path).lines())
    assert words in version._repr_html_()
    assert words in render_report(study)
    assert content.models_of(study) == [version]
    shown = CliRunner().invoke(cli, ["models", "--store", str(tmp_path)]).output.splitlines()
    row = dict(zip(shown[0].split("\t"), shown[1].split("\t"), strict=True))
    assert float(row["low"]) < float(row["estimate"]) < float(row["high"])
    found = tuner.find("estimate.value < 10 and estimate.runs = 1", what="models", store=tmp_path)
    assert [match["estimate.low"] for match in found.to_rows()] == [version.estimate.low]


def test_an_estimate_of_unknown_noise_survives_the_store(tmp_path: Path) -> None:
    search(tmp_path, n_trials=3)
    (version,) = tuner.list_models(store=tmp_path)
    kept = version.estimate
    assert kept is not None
    assert kept.noise is None
    assert math.isnan(kept.low)
    assert kept.lines() == [f"estimate: {kept.in_words()}", "choice: winner of the study"]


@pytest.mark.parametrize("repeats", [0, 4])
def test_lines_of_an_estimate(repeats: int) -> None:
    kept = ValueEstimate(1.0, 0.5, 1.5, 2, 0.25, "repeats", 0.75, 0.125, 10, repeats, "winner")
    after = ", after 4 repeats" if repeats else ""
    assert kept.lines()[1:] == [
        f"choice: winner of the study{after}",
        "noise: 0.25 per run, source repeats",
        "optimism of the best observed value: 0.125",
    ]
    assert replace(kept, chosen="user").lines()[1] == f"choice: chosen by the user{after}"
