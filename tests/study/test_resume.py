"""Repeating the call finishes an interrupted search and loses no trial."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import tuner
from support.forks import Fork
from support.interrupts import heed_interrupts
from tuner import Float, Int, State

SCRIPT = """
import os, sys, time, tuner

def objective(params, trial):
    with open(sys.argv[2], "a") as log:  # every execution of the objective leaves a line
        log.write(f"{trial.number} {trial.attempt}\\n")
    time.sleep(0.01)
    return params["x"]

if __name__ == "__main__":
    study = tuner.optimize(
        objective, {"x": tuner.Float(0, 1), "n": tuner.Int(1, 9)}, n_trials=int(sys.argv[3]),
        backend="serial", optimizer=sys.argv[4], seed=3, study="resumed", store=sys.argv[1],
        progress=False,
    )
    print(len(study.trials))
"""


def start(folder: Path, n_trials: int, optimizer: str = "random") -> subprocess.Popen[str]:
    script = folder / "search.py"
    script.write_text(SCRIPT)
    return subprocess.Popen(
        [sys.executable, script, folder / "store", folder / "log", str(n_trials), optimizer],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heed_interrupts,
    )


def fork(folder: Path, n_trials: int) -> Fork:
    return Fork(SCRIPT, folder / "store", folder / "log", n_trials, "random")


def finish(process: subprocess.Popen[str] | Fork) -> str:
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return out.strip()


def search(folder: Path, n_trials: int, **options: Any) -> tuner.Study:
    call: dict[str, Any] = {"backend": "serial", "seed": 3, "study": "resumed", "progress": False}
    return tuner.optimize(
        lambda params: params["x"] * params["n"],
        {"x": Float(0, 1), "n": Int(1, 9)},
        n_trials=n_trials,
        store=folder / "store",
        **(call | options),
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "optimizer", ["random", "tpe", pytest.param("bayesian", marks=pytest.mark.soak), "auto"]
)
def test_a_search_in_several_calls_equals_one_call(tmp_path: Path, optimizer: str) -> None:
    for n_trials in (1, 7, 15, 15, 24):
        pieces = search(tmp_path / "pieces", n_trials, optimizer=optimizer)
        assert len(pieces.trials) == n_trials
    whole = search(tmp_path / "whole", 24, optimizer=optimizer)
    assert [t.params for t in pieces] == [t.params for t in whole]
    assert [t.value for t in pieces] == [t.value for t in whole]


def test_the_same_call_again_runs_nothing(tmp_path: Path) -> None:
    first = search(tmp_path, 10)
    again = tuner.optimize(
        lambda params: pytest.fail("nothing is left to do"),
        first.space,
        n_trials=10,
        study="resumed",
        store=tmp_path / "store",
        backend="serial",
        progress=False,
    )
    assert again.trials == first.trials
    assert again.info.uid == first.info.uid


def test_a_smaller_budget_leaves_the_study_as_it_is(tmp_path: Path) -> None:
    assert len(search(tmp_path, 10).trials) == 10
    assert len(search(tmp_path, 4).trials) == 10


def test_a_scheduler_remembers_what_earlier_calls_reported(tmp_path: Path) -> None:
    def objective(params, trial):
        loss = 0.0 if trial.number < 6 else 1.0
        for step in range(5):
            trial.report(loss, step)
            if trial.should_stop():
                break
        return loss

    for n_trials in (6, 7):
        study = tuner.optimize(
            objective,
            {"x": Float(0, 1)},
            n_trials=n_trials,
            scheduler="median",
            backend="serial",
            study="resumed",
            store=tmp_path,
            progress=False,
        )
    assert study.trials[6].state is State.STOPPED
    assert len(study.reports(6)) == 2


@pytest.mark.process
def test_a_killed_driver_loses_and_repeats_no_committed_trial(
    tmp_path: Path,
) -> None:
    rng = random.Random(0)
    n_trials = 120
    committed: dict[int, tuner.Trial] = {}
    for _ in range(4):
        process = fork(tmp_path, n_trials)
        deadline = time.time() + 30
        lines = len(committed) + rng.randint(5, 25)
        while _lines(tmp_path) < lines and time.time() < deadline and process.poll() is None:
            time.sleep(0.005)
        process.kill()
        process.communicate()
        study = tuner.load_study("resumed", store=tmp_path / "store")
        now = {t.number: t for t in study if t.state.finished}
        assert committed.items() <= now.items(), "what was committed stays as it was"
        committed = now
    assert 0 < len(committed) < n_trials
    assert finish(start(tmp_path, n_trials)) == str(n_trials)
    study = tuner.load_study("resumed", store=tmp_path / "store")
    trials = {t.number: t for t in study}
    assert committed.items() <= trials.items()
    assert sorted(trials) == list(range(n_trials))
    assert {t.state for t in trials.values()} == {State.COMPLETED}
    for trial in trials.values():
        states = [r.state for r in study.runs(trial.number)]
        assert states.count(State.COMPLETED) == 1
        assert State.RUNNING not in states


@pytest.mark.process
def test_ctrl_c_ends_cleanly_with_what_is_finished_recorded(tmp_path: Path) -> None:
    process = start(tmp_path, 10_000, "random")
    while _lines(tmp_path) < 30:
        time.sleep(0.01)
        assert process.poll() is None, process.communicate()[1]
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode in (1, -signal.SIGINT, 130)
    assert "KeyboardInterrupt" in err
    study = tuner.load_study("resumed", store=tmp_path / "store")
    executed = _lines(tmp_path)
    states = [t.state for t in study]
    assert states.count(State.COMPLETED) >= executed - 1, "all but the one it interrupted"
    assert State.RUNNING not in states
    assert State.RUNNING not in [r.state for r in study.runs()]
    n_trials = len(states) + 5
    assert finish(start(tmp_path, n_trials)) == str(n_trials)
    again = tuner.load_study("resumed", store=tmp_path / "store")
    assert [t.state for t in again] == [State.COMPLETED] * n_trials


def _lines(folder: Path) -> int:
    log = folder / "log"
    return len(log.read_text().splitlines()) if log.exists() else 0
