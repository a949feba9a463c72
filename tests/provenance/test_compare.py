"""Studies, trials and runs side by side."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

import tuner
from tuner.cli.commands import cli
from tuner.errors import ArgumentError, ModelNotFound, StudyNotFound
from tuner.records import Code, Environment, Run, State
from tuner.tracking import Batch, open_store
from tuner.tracking.uuid7 import uuid7

SPACE = {
    "lr": tuner.Float(0.1, 1.0),
    "model": tuner.Choice(svm={"C": tuner.Float(0.1, 10)}, forest={"trees": tuner.Int(1, 9)}),
}


def loss(params):
    return params["lr"] + (params["model"][0] == "svm")


@pytest.fixture
def store(tmp_path: Path) -> Path:
    points = [
        {"lr": 0.5, "model": ("svm", {"C": 1.0})},
        {"lr": 0.5, "model": ("forest", {"trees": 3})},
    ]
    for name, tag in (("a", "x"), ("b", "y")):
        tuner.optimize(
            loss, SPACE, n_trials=2, initial=points, backend="serial", study=name, seed=1,
            optimizer="random", store=tmp_path, progress=False, tags={"team": tag},
            data=[1] if name == "a" else [2],
        )  # fmt: skip
    return tmp_path


def test_trials_are_compared_side_by_side(store: Path) -> None:
    comparison = tuner.compare("a/0", "a/1", store=store)
    assert comparison.names == ("a/0", "a/1")
    assert comparison.params == {
        "lr": (0.5, 0.5), "model": ("svm", "forest"), "model.svm.C": (1.0, None),
        "model.forest.trees": (None, 3),
    }  # fmt: skip
    assert comparison.metrics == {"value": (1.5, 0.5)}
    differing = comparison.differing()
    assert "lr" not in differing.params
    assert differing.study == {}
    assert differing.packages == {}
    assert differing.code == {}
    assert comparison.dataframe().loc[("metrics", "value"), "a/1"] == 0.5


def test_studies_are_compared_by_their_best_trial(store: Path) -> None:
    comparison = tuner.compare("a", "b", "a/0", store=store)
    assert comparison.params["model"] == ("forest", "forest", "svm")
    assert comparison.study["trials"] == (2, 2, None)
    assert comparison.study["best trial"] == (1, 1, None)
    differing = comparison.differing().study
    assert differing["tag team"] == ("x", "y", "x")
    assert differing["data"][0] != differing["data"][1]


def test_code_and_packages_are_compared(store: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    commits = []
    git = ("git", "-c", "user.name=a", "-c", "user.email=a@b")
    subprocess.run([*git, "init", "--quiet"], check=True)
    for text in ("first\n", "second\n"):
        (tmp_path / "file.txt").write_text(text)
        subprocess.run([*git, "add", "file.txt"], check=True)
        subprocess.run([*git, "commit", "-qm", text], check=True)
        head = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True)
        commits.append(head.stdout.decode().strip())
    opened = open_store(store)
    info = opened.find_study("a")
    assert info is not None
    for attempt, (commit, version) in enumerate(zip(commits, ("1.0", "2.0"), strict=True), 2):
        code = Code(commit, "", "train.f", f"def f(params):\n    return {attempt}\n", "0")
        environment = Environment("3.11", "linux", {"numpy": version, "six": "1"})
        run = Run(
            uuid7(), 0, attempt, State.COMPLETED, {"value": 1.5},
            code=opened.put_code(code), environment=opened.put_environment(environment),
        )  # fmt: skip
        opened.write(info.uid, Batch(runs=[run]))
    comparison = tuner.compare("a/0/2", "a/0/3", store=store).differing()
    assert comparison.packages == {"numpy": ("1.0", "2.0")}
    assert comparison.run["commit"] == tuple(commits)
    diff = comparison.code["a/0/3"]
    assert "-first\n+second" in diff
    assert "-    return 2\n+    return 3" in diff


def test_a_recorded_commit_is_not_passed_as_a_git_option(store: Path, tmp_path: Path) -> None:
    opened = open_store(store)
    info = opened.find_study("a")
    assert info is not None
    bad = Code(f"--output={tmp_path / 'written'}")
    run = Run(uuid7(), 0, 2, State.COMPLETED, code=opened.put_code(bad))
    opened.write(info.uid, Batch(runs=[run, replace(run, uid=uuid7(), attempt=3)]))
    tuner.compare("a/0", "a/0/2", store=store)
    assert not (tmp_path / "written").exists()


def test_versions_of_models_are_compared(store: Path) -> None:
    first, second = tuner.list_models(store=store)
    comparison = tuner.compare("a@1", f"{second.name}@champion", "b/0", store=store)
    assert comparison.model["version"] == (1, 1, None)
    assert comparison.model["value"] == (first.value, second.value, None)
    assert comparison.params["model"] == ("forest", "forest", "svm")
    assert comparison.metrics == {"value": (0.5, 0.5, 1.5)}
    data = tuner.compare("a@1", "b@1", store=store).differing().study["data"]
    assert data == (first.data, second.data)
    assert comparison.to_json()["model"]["aliases"] == ["champion", "champion", None]
    with pytest.raises(ModelNotFound, match="'a' has no version or alias '9'"):
        tuner.compare("a@1", "a@9", store=store)


def test_a_version_of_a_deleted_study_is_compared(store: Path) -> None:
    tuner.delete_study("a", store=store)
    comparison = tuner.compare("a@1", "b@1", store=store)
    assert comparison.params["lr"] == (0.5, 0.5)


def test_incomparable_arguments_are_refused(store: Path) -> None:
    with pytest.raises(ArgumentError, match="needs at least two"):
        tuner.compare("a", store=store)
    with pytest.raises(StudyNotFound, match="'a', 'b'"):
        tuner.compare("a", "c", store=store)


def test_the_command_shows_what_differs(store: Path) -> None:
    def call(*args: str) -> str:
        result = CliRunner().invoke(cli, [*args, "--store", str(store)])
        assert result.exit_code == 0, result.output
        return result.stdout

    lines = call("compare", "a/0", "a/1").splitlines()
    assert lines[0] == "\ta/0\ta/1"
    assert "params: model\tsvm\tforest" in lines
    assert not any(line.startswith("params: lr") for line in lines)
    assert "params: lr\t0.5\t0.5" in call("compare", "a/0", "a/1", "--all").splitlines()
    assert json.loads(call("compare", "a", "b", "--json"))["study"]["tag team"] == ["x", "y"]
    result = CliRunner().invoke(cli, ["compare", "a/0", "a/0", "--store", str(store)])
    assert "nothing differs" in result.stderr
