"""The public call on worker processes of this machine."""

from __future__ import annotations

import json
import logging
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import tuner
from support.interrupts import heed_interrupts
from tuner import Float, State, errors
from tuner.testing.scripted_jobs import is_alive

pytestmark = pytest.mark.process


def search(folder: Path, objective: Any, **options: Any) -> tuner.Study:
    call: dict[str, Any] = {"n_trials": 8, "seed": 0, "optimizer": "random", "progress": False}
    call |= {"backend": "processes", "workers": 2, "register": False}
    return tuner.optimize(objective, {"x": Float(0, 1)}, store=folder, **(call | options))


def test_trials_run_in_processes_and_are_tracked_as_on_the_other_backends(tmp_path: Path) -> None:
    def objective(params, trial):
        print("printed by", trial.number)
        os.environ["LEFT_BEHIND"] = "1"
        trial.report(params["x"], 0)
        trial.log_metric("random", random.random())
        (Path(tmp_path) / f"{trial.number}.txt").write_text("text")
        trial.log_artifact(tmp_path / f"{trial.number}.txt")
        return params["x"]

    on_processes = search(tmp_path / "processes", objective)
    serial = search(tmp_path / "serial", objective, backend="serial", workers=None)
    assert [t.params for t in on_processes] == [t.params for t in serial]
    assert [t.metrics for t in on_processes] == [t.metrics for t in serial]
    runs = on_processes.runs()
    assert [r.output for r in runs] == [f"printed by {n}\n" for n in range(8)]
    assert os.getpid() not in {r.pid for r in runs}
    assert {r.worker for r in runs} <= {"process-0", "process-1"}
    assert len(on_processes.reports()) == 8
    assert all(len(on_processes.artifacts(r.uid)) == 1 for r in runs)


def test_process_state_is_restored_after_each_trial(tmp_path: Path) -> None:
    def objective(params, trial):
        found = "LEFT_BEHIND" in os.environ or logging.getLogger().level == 7
        os.environ["LEFT_BEHIND"] = "1"
        os.chdir("/")
        return float(found) + (os.getcwd() != "/")

    assert search(tmp_path, objective, n_trials=4, workers=1).best_value == 0.0
    study = search(tmp_path / "again", objective, n_trials=4, workers=1)
    assert [t.value for t in study] == [0.0] * 4


def test_a_trial_whose_worker_dies_resumes_from_its_checkpoint(tmp_path: Path) -> None:
    def objective(params, trial):
        saved = trial.restore()
        done = json.loads((saved / "state.json").read_text()) if saved else 0
        for step in range(done, 4):
            with trial.checkpoint() as folder:
                (folder / "state.json").write_text(json.dumps(step + 1))
            trial.report(params["x"], step)
            if step == 1 and trial.attempt == 1 and trial.number < 2:
                os.kill(os.getpid(), signal.SIGKILL)
        return float(done)

    study = search(tmp_path, objective, n_trials=4)
    assert [t.value for t in study] == [2.0, 2.0, 0.0, 0.0]
    assert [r.error.kind for r in study.runs() if r.error] == ["WorkerLost", "WorkerLost"]
    assert all("SIGKILL" in r.error.message for r in study.runs() if r.error)


def test_a_scheduler_stops_trials_and_a_time_limit_ends_them(tmp_path: Path) -> None:
    def objective(params, trial):
        if trial.number == 3:
            time.sleep(60)
        for step in range(30):
            trial.report(params["x"], step)
            time.sleep(0.005)
            if trial.should_stop():
                break
        return params["x"]

    study = search(tmp_path, objective, n_trials=16, scheduler="asha", trial_timeout=1.0)
    states = [t.state for t in study]
    assert states.count(State.STOPPED) >= 3
    assert study.trials[3].error.kind == "Timeout"
    assert states.count(State.FAILED) == 1


def test_an_unpicklable_objective_is_refused_before_the_study_exists(tmp_path: Path) -> None:
    lock = __import__("threading").Lock()

    def objective(params):
        with lock:
            return params["x"]

    with pytest.raises(errors.ObjectiveError, match=r"(?s)objective.*lock"):
        search(tmp_path / "store", objective)
    assert not (tmp_path / "store").exists()


SCRIPT = """
import os, subprocess, sys, time
import tuner

def double(x):
    return 2 * x

def objective(params, trial):
    if sys.argv[1:] != ["hang"]:
        return double(params["x"])
    children = [subprocess.Popen(["sleep", "600"]).pid for _ in range(2)]
    with open("pids", "a") as file:
        file.write(" ".join(map(str, [os.getpid(), *children])) + "\\n")
    time.sleep(600)

study = tuner.optimize(
    objective, {"x": tuner.Float(0, 1)}, n_trials=4, seed=0, backend="processes", workers=2,
    study="s", store="store", progress=False, register=False,
)
print("once:", len(study.trials), len({r.pid for r in study.runs()} - {os.getpid()}))
"""


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


@pytest.mark.slow
def test_a_script_needs_no_guard_and_no_file(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-"],
        input=SCRIPT,
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout in ("once: 4 1\n", "once: 4 2\n")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_terminated_driver_leaves_no_process(tmp_path: Path, number: int) -> None:
    driver = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, "hang"],
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=heed_interrupts,
    )
    pids = tmp_path / "pids"
    deadline = time.monotonic() + 60
    while not pids.exists() or pids.read_text().count("\n") < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    driver.send_signal(number)
    assert driver.wait(30) != 0
    started = [int(pid) for pid in pids.read_text().split()]
    assert len(started) == 6
    deadline = time.monotonic() + 10
    while any(map(is_alive, started)):
        assert time.monotonic() < deadline, [pid for pid in started if is_alive(pid)]
        time.sleep(0.02)
