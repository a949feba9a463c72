"""Trials of real scripts in real git repositories, run again after things have changed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import tuner
from tuner.cli.commands import cli
from tuner.errors import ArgumentError, StudyNotFound
from tuner.records import REPLAY, State
from tuner.records.attempts import reports_by_trial
from tuner.tracking.database import maintenance

pytestmark = pytest.mark.process

SCRIPT = """
import random
from beside import square
from tuner import Float

space = {"x": Float(-1, 1)}
FACTOR = 2

def objective(params, trial):
    print("evaluating")
    noise = random.Random(trial.seed).random()
    trial.report(params["x"], 0)
    trial.log_metric("noise", noise)
    return FACTOR * square(params["x"]) + noise
"""


def git(*args: str) -> None:
    identity = ("-c", "user.name=a", "-c", "user.email=a@b")
    subprocess.run(["git", *identity, *args], check=True, capture_output=True)


def call(*args: str, code: int = 0) -> Result:
    for name in [m for m in sys.modules if m.partition(".")[0] in ("train", "beside", "package")]:
        del sys.modules[name]
    result = CliRunner().invoke(cli, args)
    assert result.exit_code == code, result.output + repr(result.exception)
    return result


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with one commit, in which a study of three trials was made."""
    folder = tmp_path / "repository"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("TUNER_STORE", str(tmp_path / "store"))
    git("init", "--quiet")
    (folder / "train.py").write_text(SCRIPT)
    (folder / "beside.py").write_text("def square(x):\n    return x * x\n")
    git("add", ".")
    git("commit", "-qm", "first")
    return folder


def search(objective: str = "train.py:objective", n: int = 3) -> tuner.Study:
    call(
        "run", objective, "--backend", "serial", "--n-trials", str(n), "--study", "s",
        "--optimizer", "random", "--seed", "1", "--quiet", "--max-retries", "0",
    )  # fmt: skip
    return tuner.load_study("s")


def test_the_recorded_commit_is_run_and_not_the_current_files(repository: Path) -> None:
    study = search()
    before = study.trials
    (repository / "train.py").write_text(SCRIPT.replace("FACTOR = 2", "FACTOR = 3"))
    (repository / "beside.py").write_text("def square(x):\n    return 0\n")
    git("commit", "-qam", "second")
    result = tuner.replay("s/1")
    assert result.same
    assert result.changes == ()
    assert result.notes == ()
    assert result.metrics["value"] == (before[1].value, before[1].value)
    first, again = study.runs(1)
    assert (again.attempt, again.worker, again.state) == (2, REPLAY, State.COMPLETED)
    assert again.metrics == first.metrics
    assert again.output == "evaluating\n"
    assert len([uid for uid, _ in study.reports(1) if uid == again.uid]) == 1
    assert study.trials == before, "a replay changes no outcome"
    worktrees = subprocess.run(
        ["git", "worktree", "list"], capture_output=True, text=True, check=True
    )
    assert len(worktrees.stdout.splitlines()) == 1, "the worktree is gone"
    assert (repository / "train.py").read_text() == SCRIPT.replace("FACTOR = 2", "FACTOR = 3")


def test_untracked_data_is_read_from_its_original_path(repository: Path) -> None:
    (repository / ".gitignore").write_text("data.txt\n")
    (repository / "data.txt").write_text("3")
    script = SCRIPT.replace("return FACTOR", "return float(open('data.txt').read()) + FACTOR")
    (repository / "train.py").write_text(script)
    git("add", ".")
    git("commit", "-qm", "reads data")
    search()
    (repository / "train.py").write_text(SCRIPT)
    assert tuner.replay("s/0").same
    (repository / "data.txt").write_text("4")
    assert not tuner.replay("s/0").same


def test_hooks_of_the_repository_do_not_run(repository: Path) -> None:
    search(n=1)
    hook = repository / ".git" / "hooks" / "post-checkout"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch {repository / 'hooked'}\n")
    hook.chmod(0o755)
    assert tuner.replay("s/0").same
    assert not (repository / "hooked").exists()


def test_uncommitted_changes_are_restored(repository: Path) -> None:
    (repository / "train.py").write_text(SCRIPT.replace("FACTOR = 2", "FACTOR = 5"))
    search()
    git("checkout", "--", ".")
    result = tuner.replay("s/0")
    assert result.same, result
    assert result.changes == ()


UNGUARDED = f"""{SCRIPT}
import tuner

tuner.optimize(
    objective, space, n_trials=2, backend="serial", optimizer="random", study="s", progress=False
)
"""


@pytest.mark.parametrize("recorded", ["__main__", "train"])
def test_a_replay_starts_no_search_of_the_script(repository: Path, recorded: str) -> None:
    (repository / "train.py").write_text(UNGUARDED)
    if recorded == "__main__":
        subprocess.run([sys.executable, "train.py"], check=True)
    else:
        search(n=2)
    study = tuner.load_study("s")
    assert study.store.get_code(study.runs(0)[0].code).objective == f"{recorded}.objective"
    before = study.trials
    for options in ({}, {"objective": "train.py:objective"}):
        result = tuner.replay("s/0", **options)
        assert result.same
        assert [note for note in result.notes if "train.py, line 18: a search starts" in note]
    assert [info.name for info in tuner.list_studies()] == ["s"]
    assert study.trials == before
    assert [len(study.runs(n)) for n in range(2)] == [3, 1]


def test_an_objective_defined_after_a_search_cannot_be_replayed(repository: Path) -> None:
    search(n=1)
    (repository / "late.py").write_text(
        UNGUARDED.replace("def objective", "def first").replace("(\n    objective", "(\n    first")
        + "objective = first\n"
    )
    with pytest.raises(ArgumentError, match=r"'objective' \(late.py, line 18: a search starts"):
        tuner.replay("s/0", objective="late.py:objective")


def test_an_untracked_script_is_run_in_its_current_form(repository: Path) -> None:
    (repository / "new.py").write_text(SCRIPT)
    search("new.py:objective")
    result = tuner.replay("s/0")
    assert result.same
    assert any("new.py is not in the commit" in note for note in result.notes)
    (repository / "new.py").write_text(SCRIPT.replace("return FACTOR *", "return 7 + FACTOR *"))
    result = tuner.replay("s/0")
    assert not result.same
    assert "source of the objective" in {change.fact for change in result.changes}


def test_without_the_repository_the_source_runs_alone(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (repository / "alone.py").write_text(
        "from tuner import Float\nspace = {'x': Float(0, 1)}\n\n"
        "def objective(params):\n    return params['x'] ** 2\n"
    )
    search("alone.py:objective")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    result = tuner.replay("s/0")
    assert result.same
    assert any("recorded source is used alone" in note for note in result.notes)
    assert "commit" in {change.fact for change in result.changes}


def test_an_objective_of_a_package_is_replayed(repository: Path) -> None:
    package = repository / "package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "beside.py").write_text("def square(x):\n    return x * x\n")
    (package / "fit.py").write_text(SCRIPT.replace("from beside", "from .beside"))
    git("add", ".")
    git("commit", "-qm", "a package")
    search("package.fit:objective")
    assert tuner.replay("s/0").same


def test_a_failed_trial_fails_again(repository: Path) -> None:
    failing = SCRIPT.replace(
        "return FACTOR", 'if params["x"] < 2: raise OSError("no")\n    return 1'
    )
    (repository / "train.py").write_text(failing)
    call(
        "run", "train.py:objective", "--backend", "serial", "--n-trials", "2", "--study", "s",
        "--optimizer", "random", "--quiet", code=1,
    )  # fmt: skip
    result = tuner.replay("s/0")
    assert result.run.state is State.FAILED
    assert result.same
    (repository / "fixed.py").write_text(SCRIPT)
    result = tuner.replay("s/0", objective="fixed.py:objective")
    assert not result.same
    assert result.run.state is State.COMPLETED


def test_a_stopped_trial_is_stopped_at_the_same_step(tmp_path: Path) -> None:
    def objective(params, trial):
        for step in range(10):
            trial.report(params["x"] + step, step)
            if trial.should_stop():
                break
        return params["x"] + step

    class StopAtThree:
        def reset(self, goals) -> None:
            pass

        def on_report(self, trial, report):
            from tuner.schedulers.protocol import Decision

            return Decision.STOP if report.step == 3 else Decision.CONTINUE

        def on_finish(self, trial, outcome) -> None:
            pass

    study = tuner.optimize(
        objective, {"x": tuner.Float(0, 1)}, n_trials=1, backend="serial", store=tmp_path,
        study="s", scheduler=StopAtThree(), progress=False,
    )  # fmt: skip
    assert study.trials[0].state is State.STOPPED
    result = tuner.replay("s/0", store=tmp_path, objective=objective)
    assert (result.run.state, result.same) == (State.STOPPED, True)


def test_a_noisy_objective_is_compared_with_a_tolerance(tmp_path: Path) -> None:
    calls = []

    def objective(params):
        calls.append(1)
        return {"loss": 1.0 + len(calls) * 1e-6, "exact": params["x"]}

    tuner.optimize(
        objective, {"x": tuner.Float(0, 1)}, n_trials=1, backend="serial", store=tmp_path,
        study="s", metric="loss", progress=False, data=[1, 2],
    )  # fmt: skip

    def again(**options) -> tuner.provenance.replay.Replay:
        return tuner.replay("s/0", store=tmp_path, objective=objective, **options)

    assert not again().same
    assert again(tolerance=1e-3).same
    assert again(metrics=["exact"]).same
    assert [c.fact for c in again(data=[1, 3]).changes] == ["data"]
    assert again(data=[1, 2]).changes == ()
    with pytest.raises(ArgumentError, match="neither run has the metric 'los'"):
        again(metrics=["los"])


def test_a_replay_is_never_registered_as_the_winner(repository: Path) -> None:
    study = search()
    best = study.best_trial.number
    tuner.replay(f"s/{best}")
    assert study.register().run == study.runs(best)[0].uid
    assert study.register().version == 1


def test_a_replay_does_not_change_its_trial(tmp_path: Path) -> None:
    calls = []

    def objective(params, trial):
        calls.append(1)
        for step in range(2):
            trial.report(len(calls), step)
        return params["x"]

    study = tuner.optimize(
        objective, {"x": tuner.Float(0, 1)}, n_trials=2, backend="serial", store=tmp_path,
        study="s", progress=False,
    )  # fmt: skip
    replay = tuner.replay("s/0", store=tmp_path, objective=objective)
    assert replay.run.is_replay
    runs, reports = study.runs(), study.reports()
    assert (len(runs), len(reports)) == (3, 6)
    known = {
        n: [r.metrics["value"] for r in found]
        for n, found in reports_by_trial(runs, reports).items()
    }
    assert known == {0: [1.0, 1.0], 1: [2.0, 2.0]}
    curves = study.plot.learning_curves()
    drawn = {y for lines in curves.collections for line in lines.get_segments() for y in line[:, 1]}
    assert drawn | {y for line in curves.lines for y in line.get_ydata()} == {1.0, 2.0}
    assert len(list(study.find("worker = 'replay'"))) == 0
    assert list(maintenance.check(tmp_path)) == []


@pytest.mark.parametrize(
    ("ref", "error", "says"),
    [
        ("s", ArgumentError, "name a trial, such as 's/0'"),
        ("s/9", ArgumentError, "has no trial 9"),
        ("s/0/7", ArgumentError, "has 1 runs"),
        ("s/x", ArgumentError, "write 'study'"),
        ("t/0", StudyNotFound, "it has 's'"),
    ],
)
def test_a_trial_that_cannot_be_replayed_is_refused(
    repository: Path, ref: str, error: type, says: str
) -> None:
    search(n=1)
    with pytest.raises(error, match=says):
        tuner.replay(ref)


def test_an_objective_without_a_name_must_be_passed(tmp_path: Path) -> None:
    tuner.optimize(
        lambda params: params["x"], {"x": tuner.Float(0, 1)}, n_trials=1, backend="serial",
        store=tmp_path, study="s", progress=False,
    )  # fmt: skip
    with pytest.raises(ArgumentError, match="objective=f"):
        tuner.replay("s/0", store=tmp_path)
    assert tuner.replay("s/0", store=tmp_path, objective=lambda params: params["x"]).same


def test_a_nested_function_must_be_passed(tmp_path: Path) -> None:
    def nested(params: dict[str, float]) -> float:
        return params["x"]

    tuner.optimize(
        nested, {"x": tuner.Float(0, 1)}, n_trials=1, backend="serial",
        store=tmp_path, study="s", progress=False,
    )  # fmt: skip
    with pytest.raises(ArgumentError, match="cannot be found by its name; pass it"):
        tuner.replay("s/0", store=tmp_path)
    assert tuner.replay("s/0", store=tmp_path, objective=nested).same


def test_the_exit_code_of_the_command_is_the_result(repository: Path) -> None:
    search()
    output = call("replay", "s/0").stdout
    assert "the metrics are the same" in output
    (repository / "other.py").write_text(SCRIPT.replace("return FACTOR", "return 1 + FACTOR"))
    output = call("replay", "s/0", "--objective", "other.py:objective", code=3).stdout
    assert "the metrics differ" in output
    assert "source of the objective" in output
    found = json.loads(
        call("replay", "s/0", "--objective", "other.py:objective", "--json", code=3).stdout
    )
    assert found["same"] is False
    assert call("replay", "s/7", code=1).stderr.count("\n") == 1
