"""The public call on a real Ray cluster: the default backend."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import tuner
from support.pausing import STEPS, Slices, make_patient, steps_of
from support.processes import agents, descendants, gone
from support.script_logging import own_root
from tuner import Choice, Float, Int, State, errors

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("cluster")]


def cpus() -> int:
    import ray

    return int(ray.cluster_resources()["CPU"])


def search(folder: Path, objective: Any, space: Any = None, **options: Any) -> tuner.Study:
    # Two workers, because each takes a second of CPU time to start.
    call: dict[str, Any] = {
        "n_trials": 20, "seed": 0, "optimizer": "random", "progress": False, "workers": 2,
    }  # fmt: skip
    space = space or {"x": Float(0, 1), "m": Choice(a={"n": Int(1, 3)}, b={})}
    return tuner.optimize(objective, space, store=folder, **(call | options))


def one_that_waits_for_workers(folder: Path, wanted: int) -> Any:
    """Return an objective that ends once so many processes have run it: they start one by one."""
    folder.mkdir()

    def objective(params):
        (folder / str(os.getpid())).touch()
        deadline = time.monotonic() + 60
        while len(list(folder.iterdir())) < wanted and time.monotonic() < deadline:
            time.sleep(0.02)
        return params["x"]

    return objective


def test_trials_run_on_all_workers_and_are_tracked(tmp_path: Path) -> None:
    wait = one_that_waits_for_workers(tmp_path / "pids", cpus())

    def objective(params, trial):
        wait(params)
        trial.report(params["x"], 0)
        print("trial", trial.number)
        return params["x"]

    study = search(tmp_path / "store", objective, workers=None)
    assert [t.state for t in study.trials] == [State.COMPLETED] * 20
    runs = study.runs()
    assert len(runs) == 20
    assert len({r.pid for r in runs}) == cpus()
    assert os.getpid() not in {r.pid for r in runs}
    assert all(r.output == f"trial {r.trial}\n" for r in runs)
    assert len(study.reports()) == 20
    assert study.best_value == min(t.params["x"] for t in study)


def test_a_dead_worker_loses_a_run_but_no_trial(tmp_path: Path) -> None:
    def objective(params, trial):
        if trial.number % 5 == 0 and trial.attempt == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return params["x"]

    study = search(tmp_path, objective)
    assert [t.state for t in study.trials] == [State.COMPLETED] * 20
    for trial in study.trials:
        states = [r.state for r in study.runs(trial.number)]
        assert states.count(State.COMPLETED) == 1
        if trial.number % 5 == 0:
            assert states[0] is State.FAILED
            assert study.runs(trial.number)[0].error.kind == "WorkerLost"


def test_child_processes_of_a_killed_worker_are_killed(tmp_path: Path) -> None:
    said = tmp_path / "children"

    def objective(params, trial):
        if trial.attempt == 1:
            shell = subprocess.Popen(
                ["sh", "-c", "sleep 600 & echo $!; wait"], stdout=subprocess.PIPE
            )
            assert shell.stdout is not None
            said.write_text(f"{shell.pid} {int(shell.stdout.readline())}")
            os.kill(os.getpid(), signal.SIGKILL)
        return params["x"]

    study = search(tmp_path / "store", objective, n_trials=1, workers=1)
    assert study.trials[0].attempts == 2
    children = {int(pid) for pid in said.read_text().split()}
    assert len(children) == 2
    assert gone(children, within=10.0)


def test_a_trial_that_kills_every_worker_fails_finally(tmp_path: Path) -> None:
    def objective(params, trial):
        if trial.number == 3:
            os._exit(1)
        return params["x"]

    study = search(tmp_path, objective, n_trials=8)
    states = [t.state for t in study.trials]
    assert states == [State.FAILED if n == 3 else State.COMPLETED for n in range(8)]
    assert study.trials[3].error.kind == "WorkerLost"
    assert len(study.runs(3)) == 4


def test_a_hanging_trial_is_killed(tmp_path: Path) -> None:
    def objective(params, trial):
        if trial.number == 2:
            time.sleep(600)
        return params["x"]

    began = time.perf_counter()
    study = search(tmp_path, objective, n_trials=6, trial_timeout=2.0)
    assert time.perf_counter() - began < 60
    assert [t.number for t in study if t.state is State.FAILED] == [2]
    assert study.trials[2].error.kind == "Timeout"


def test_a_scheduler_stops_running_trials(tmp_path: Path) -> None:
    def objective(params, trial):
        for step in range(30):
            trial.report(params["x"], step)
            time.sleep(0.02)
            if trial.should_stop():
                break
        return params["x"]

    study = search(tmp_path, objective, n_trials=16, scheduler="asha")
    states = [t.state for t in study]
    assert states.count(State.STOPPED) >= 3
    stopped = next(t for t in study if t.state is State.STOPPED)
    assert len(study.reports(stopped.number)) < 30


@pytest.mark.parametrize(
    "optimizer",
    ["auto", *(pytest.param(name, marks=pytest.mark.soak) for name in ("tpe", "bayesian"))],
)
def test_optimizers_with_several_workers_learn(tmp_path: Path, optimizer: str) -> None:
    study = search(
        tmp_path, lambda params: (params["x"] - 0.3) ** 2, optimizer=optimizer, n_trials=40
    )
    assert study.best_value < 1e-3
    assert len({repr(t.params) for t in study}) == 40


def test_an_objective_that_cannot_be_pickled_is_refused(tmp_path: Path) -> None:
    lock = __import__("threading").Lock()

    def objective(params):
        with lock:
            return params["x"]

    with pytest.raises(errors.ObjectiveError, match=r"(?s)objective.*lock"):
        search(tmp_path / "store", objective)
    assert not (tmp_path / "store").exists()


def test_an_objective_of_a_module_missing_on_workers_is_refused(tmp_path: Path) -> None:
    (tmp_path / "only_here.py").write_text("def objective(params):\n    return params['x']\n")
    sys.path.insert(0, str(tmp_path))
    try:
        import only_here
    finally:
        sys.path.remove(str(tmp_path))
    try:
        with pytest.raises(errors.ObjectiveError, match="only_here"):
            search(tmp_path / "store", only_here.objective)
    finally:
        del sys.modules["only_here"]
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"workers": 64}, "64"),
        ({"resources": {"cpu": 64}}, "64"),
        ({"resources": {"gpu": 1}}, "(?i)gpu"),
        ({"resources": {"tpu": 1}}, "tpu"),
    ],
)
def test_unsatisfiable_resources_fail_immediately(
    tmp_path: Path, options: dict[str, Any], says: str
) -> None:
    began = time.perf_counter()
    with pytest.raises(errors.ResourcesError, match=says):
        search(tmp_path / "store", lambda params: 0.0, **options)
    assert time.perf_counter() - began < 5
    assert not (tmp_path / "store").exists()


def test_fractions_of_a_cpu_make_more_workers(tmp_path: Path) -> None:
    wanted = cpus() + 1
    objective = one_that_waits_for_workers(tmp_path / "pids", wanted)
    study = search(
        tmp_path / "store", objective, resources={"cpu": 0.75}, n_trials=4 * wanted, workers=None
    )
    assert len({r.pid for r in study.runs()}) == wanted


SCRIPT = """
import sys, time, tuner

def objective(params):
    time.sleep(0.05)
    return params["x"]

if __name__ == "__main__":
    study = tuner.optimize(
        objective, {"x": tuner.Float(0, 1)}, n_trials=int(sys.argv[2]), seed=0, study="killed",
        store=sys.argv[1], progress=False,
    )
    print(len(study.trials), tuner.load_model("killed@champion", store=sys.argv[1]))
"""


@pytest.mark.slow
def test_a_killed_driver_resumes_on_a_new_local_cluster(tmp_path: Path) -> None:
    script = tmp_path / "search.py"
    script.write_text(SCRIPT)
    command = [sys.executable, str(script), str(tmp_path / "store")]
    first = subprocess.Popen([*command, "1000"])
    while _done(tmp_path / "store") < 20:
        assert first.poll() is None
        time.sleep(0.05)
    started = descendants(first.pid)
    started -= agents(started)
    assert len(started) > 3
    first.kill()
    first.wait()
    assert gone(started)
    before = {t.number: t for t in tuner.load_study("killed", store=tmp_path / "store")}
    finished = {n: t for n, t in before.items() if t.state.finished}
    n_trials = len(finished) + 20
    second = subprocess.run(
        [*command, str(n_trials)], check=True, capture_output=True, text=True, timeout=120
    )
    assert second.stderr == ""
    assert second.stdout.startswith(f"{n_trials} {{'x': ")
    after = {t.number: t for t in tuner.load_study("killed", store=tmp_path / "store")}
    assert finished.items() <= after.items()
    assert [t.state for t in after.values()] == [State.COMPLETED] * n_trials


def _done(store: Path) -> int:
    try:
        study = tuner.load_study("killed", store=store)
    except errors.TunerError:
        return 0
    return sum(t.state.finished for t in study)


class TestDeterministic:
    """The same seed and as many workers: the same trials, independent of timing."""

    def log(self, folder: Path, delays: int, *, n_trials: int = 14, study: str = "s") -> Any:
        def objective(params, trial):
            wait = (trial.number * 7919 + delays * 104729) % 11 / 80
            time.sleep(wait)
            if trial.number == 5 and trial.attempt == 1 and delays % 2:
                os._exit(1)  # the worker dies, and the trial is tried again
            if trial.number == 8:
                raise ValueError("never works")
            return (params["x"] - 0.3) ** 2

        study_ = search(
            folder, objective, n_trials=n_trials, study=study, deterministic=True,
            optimizer="tpe",
        )  # fmt: skip
        return [(t.number, t.params, t.values, t.state) for t in study_.trials]

    def test_delays_dying_workers_and_an_interruption_change_nothing(self, tmp_path: Path) -> None:
        whole = self.log(tmp_path / "whole", 0)
        assert [number for number, *_ in whole] == list(range(14))
        assert self.log(tmp_path / "delayed", 1) == whole
        self.log(tmp_path / "halves", 1, n_trials=7)
        assert self.log(tmp_path / "halves", 2) == whole

    def test_a_deterministic_search_refuses_a_scheduler(self, tmp_path: Path) -> None:
        with pytest.raises(errors.ArgumentError, match="deterministic=True: a scheduler"):
            search(tmp_path / "new", lambda p: p["x"], deterministic=True, scheduler="asha")
        assert not (tmp_path / "new").exists()


def test_callbacks_read_the_record_and_queued_trials_have_no_attempt(tmp_path: Path) -> None:
    told: list[tuner.Trial] = []

    def watch(study: tuner.Study, trial: tuner.Trial) -> None:
        told.append(trial)
        assert study.best_value == min(t.values[0] for t in told)
        study.set_note(trial, "order", len(told))
        if len(told) == 2:
            study.enqueue({"x": 0.125, "m": ("b", {})})
        if sum(t.state.finished for t in study) >= 6:
            study.stop()

    study = search(
        tmp_path, lambda params: time.sleep(0.1) or params["x"], n_trials=100,
        callbacks=[watch],
    )  # fmt: skip
    finished = [t for t in study if t.state.finished]
    assert 6 <= len(finished) <= 8, "two run when it stops"
    assert sorted(t.notes["order"] for t in finished) == list(range(1, len(finished) + 1))
    waiting = [t for t in study if not t.state.finished]
    for trial in waiting:
        assert (trial.state, trial.started) == (State.WAITING, None)
        assert trial.attempts == len(study.runs(trial.number))
    assert sum(t.attempts > 0 for t in waiting) <= 2, "those that had just begun when it stopped"
    assert {"x": 0.125, "m": ("b", {})} in [t.params for t in study]


def test_each_trial_has_its_own_output_at_the_level_of_the_script(tmp_path: Path) -> None:
    def objective(params, trial):
        print("print", trial.number)
        logging.getLogger("train").info("info %d", trial.number)
        logging.getLogger("train").debug("debug %d", trial.number)
        logging.getLogger().warning("warning %d", trial.number)
        for step in range(3):
            sys.stderr.write(f"\r{step}/2")
        os.system("echo from a shell")
        return 0.0

    with own_root():
        logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
        study = search(tmp_path, objective, n_trials=8)
    assert [t.state for t in study] == [State.COMPLETED] * 8
    for run in study.runs():
        n = run.trial
        lines = run.output.splitlines()
        assert [f"print {n}", f"INFO info {n}", f"WARNING warning {n}", "2/2"] == [
            line for line in lines if line != "from a shell"
        ]


def test_a_traceback_names_the_file_and_line_of_the_user(tmp_path: Path) -> None:
    def helper(x: float) -> float:
        raise KeyError("column")  # the line

    def objective(params, trial):
        if trial.number % 2:
            return helper(params["x"])
        return trial.report(f"{params['x']}", 0)

    study = search(tmp_path, objective, n_trials=4)
    bad, failed = study.trials[0].error, study.trials[1].error
    assert failed is not None
    assert bad is not None
    assert failed.place == f"{__file__}:{helper.__code__.co_firstlineno + 1}"
    assert 'raise KeyError("column")  # the line' in failed.traceback
    assert bad.place == f"{__file__}:{objective.__code__.co_firstlineno + 3}"
    assert "trial.report" in bad.traceback
    assert "dynamic-code" not in failed.traceback + bad.traceback


def test_paused_trials_continue_on_other_workers(tmp_path: Path) -> None:
    study = search(tmp_path, make_patient(), n_trials=4, scheduler=Slices())
    assert [t.state for t in study.trials] == [State.COMPLETED] * 4
    assert [t.attempts for t in study.trials] == [2] * 4
    assert steps_of(study) == {n: list(range(STEPS)) for n in range(4)}
