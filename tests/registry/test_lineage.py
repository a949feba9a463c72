"""From a model back to what made it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

import tuner
from tuner.cli.commands import cli
from tuner.errors import ModelNotFound


def objective(params, trial):
    trial.log_model({"weights": [params["x"]]}, format="json")
    return params["x"]


@pytest.fixture
def study(tmp_path: Path) -> tuner.Study:
    return tuner.optimize(
        objective, {"x": tuner.Float(0, 1)}, n_trials=3, backend="serial", store=tmp_path,
        study="s", seed=3, register="digits", tags={"team": "x"}, data=[1, 2], progress=False,
    )  # fmt: skip


def test_the_lineage_names_study_trial_and_code(study: tuner.Study, tmp_path: Path) -> None:
    found = tuner.lineage("digits@champion", store=tmp_path)
    best = study.best_trial
    assert found.trial == best
    assert found.run == study.runs(best.number)[0]
    assert found.study == study.info
    assert found.code is not None
    assert "log_model" in found.code.source
    assert found.environment is not None
    text = "\n".join(found.lines())
    for part in (
        "model digits@1 (champion): value = ", "files: json", f"trial s/{best.number}: completed",
        f"x = {best.params['x']!r}", "study s: minimize value", "tag team = x",
        f"data: {study.info.data}", "objective", "Python 3.",
    ):  # fmt: skip
        assert part in text
    # The tree is one: each line hangs on another.
    assert all(line.lstrip("│ ")[:3] in ("├──", "└──") for line in text.splitlines()[1:])


def test_the_command_prints_a_tree_or_json(study: tuner.Study, tmp_path: Path) -> None:
    def call(*args: str) -> str:
        result = CliRunner().invoke(cli, ["lineage", *args, "--store", str(tmp_path)])
        assert result.exit_code == 0, result.output
        return result.stdout

    assert call("digits").splitlines() == list(tuner.lineage("digits", store=tmp_path).lines())
    content = json.loads(call("digits@1", "--json"))
    assert content["trial"]["number"] == study.best_trial.number
    assert content["data"] == study.info.data


def test_the_lineage_of_a_missing_model_is_an_error(study: tuner.Study, tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match="digits"):
        tuner.lineage("digit", store=tmp_path)
