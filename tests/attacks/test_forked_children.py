"""A child process forked by an objective or callback does not take part in the search."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tuner
from tuner import Float, State
from tuner.errors import BackendError
from tuner.tracking import open_store

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")


def search(folder: Path, objective: Callable[..., Any], **options: Any) -> tuner.Study:
    return tuner.optimize(
        objective, {"x": Float(0, 1)}, seed=0, optimizer="random", study="forks", n_trials=4,
        store=folder / "store", progress=False, register=False, **options,
    )  # fmt: skip


def leaving() -> dict[str, tuple[Callable[[Any], Any], int]]:
    """Return how a child leaves the objective, and its exit code."""

    def returns(trial: Any) -> float:
        return -1.0

    def raises(trial: Any) -> float:
        raise ValueError("in the child")

    def interrupts(trial: Any) -> float:
        raise KeyboardInterrupt

    def exits(trial: Any) -> float:
        sys.exit(7)

    def exits_with_text(trial: Any) -> float:
        sys.exit("no")

    def reports(trial: Any) -> float:
        trial.report(-1.0, 0)
        return -1.0

    def asks(trial: Any) -> float:
        assert trial.should_stop()
        return -1.0

    def logs(trial: Any) -> float:
        trial.log_metric("child", 1.0, step=0)
        return -1.0

    def saves(trial: Any) -> float:
        with trial.checkpoint() as folder:
            (folder / "state").write_text("child")
        return -1.0

    def exits_with_a_large_number(trial: Any) -> float:
        sys.exit(2**40 + 3)

    codes = {exits: 7, exits_with_a_large_number: 3, returns: 0, asks: 0}
    functions = [f for name, f in locals().items() if callable(f) and name != "codes"]
    return {f.__name__: (f, codes.get(f, 1)) for f in functions}


def status_of(child: int, timeout: float = 60.0) -> int:
    """Wait for a child for `timeout` seconds at most, and return its exit status."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    raise AssertionError(f"the child still ran after {timeout} s")


def forking(folder: Path, name: str) -> Callable[..., Any]:
    def objective(params: dict[str, float], trial: Any) -> float:
        with open(folder / "runs", "a") as file:
            file.write(f"{os.getpid()}\n")
        deed, expected = leaving()[name]
        if (child := os.fork()) == 0:
            return deed(trial)
        # A Ray worker adopts and ends children, too; this is where it would hang.
        assert status_of(child) == expected
        with trial.checkpoint() as saved:
            (saved / "state").write_text("parent")
        trial.report(params["x"], 0)
        return params["x"]

    return objective


def check(study: tuner.Study, folder: Path) -> None:
    assert [(t.state, t.error) for t in study] == [(State.COMPLETED, None)] * 4
    assert all(trial.value == trial.params["x"] for trial in study)
    assert all(run.metrics.get("child") is None for run in study.runs())
    runs = [int(pid) for pid in (folder / "runs").read_text().split()]
    assert runs == [run.pid for run in study.runs()]


@pytest.mark.process
@pytest.mark.parametrize("name", list(leaving()))
def test_a_child_that_leaves_a_serial_objective_ends(tmp_path: Path, name: str) -> None:
    me = os.getpid()
    study = search(tmp_path, forking(tmp_path, name), backend="serial")
    assert os.getpid() == me
    check(study, tmp_path)


@pytest.mark.ray
@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize("name", ["returns", "raises", "reports"])
def test_a_child_that_leaves_an_objective_on_ray_ends(tmp_path: Path, name: str) -> None:
    study = search(tmp_path, forking(tmp_path, name), workers=1)
    check(study, tmp_path)


@pytest.mark.process
def test_a_forked_child_gets_an_explanation(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")

    def objective(params: dict[str, float], trial: Any) -> float:
        said = context.Queue()

        def work() -> None:
            try:
                trial.report(1.0, 0)
            except BackendError as error:
                said.put(f"{type(error).__name__}: {error}")

        child = context.Process(target=work)
        child.start()
        text = said.get(timeout=120)
        child.join()
        assert child.exitcode == 0
        assert text.startswith("BackendError: trial: process ")
        return params["x"]

    study = search(tmp_path, objective, backend="serial")
    assert [trial.error for trial in study] == [None] * 4


@pytest.mark.process
def test_output_of_a_forked_child_does_not_damage_the_transcript(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    context = multiprocessing.get_context("fork")

    def objective(params: dict[str, float], trial: Any) -> float:
        print("parent")
        child = context.Process(target=print, args=("child",))
        child.start()
        child.join()
        return params["x"]

    study = search(tmp_path, objective, backend="serial")
    assert [run.output for run in study.runs()] == ["parent\n"] * 4
    assert sorted(capfd.readouterr().out.split()) == ["child"] * 4 + ["parent"] * 4


@pytest.mark.process
def test_a_forked_child_may_run_its_own_search(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")

    def inside(folder: Path) -> None:
        os.environ["BEFORE"] = "1"
        streams = sys.stdout, sys.stderr

        def objective(params: dict[str, float]) -> float:
            print("inside")
            del os.environ["BEFORE"]
            return params["x"]

        study = search(folder, objective, backend="serial")
        assert [run.output for run in study.runs()] == ["inside\n"] * 4
        assert os.environ["BEFORE"] == "1"
        assert [s.fileno() for s in streams] == [sys.stdout.fileno(), sys.stderr.fileno()]

    def objective(params: dict[str, float], trial: Any) -> float:
        child = context.Process(target=inside, args=(tmp_path / str(trial.number),))
        child.start()
        child.join()
        assert child.exitcode == 0
        return params["x"]

    study = search(tmp_path, objective, backend="serial")
    assert [trial.error for trial in study] == [None] * 4


@pytest.mark.process
def test_a_child_that_leaves_a_callback_ends(tmp_path: Path) -> None:
    me, children = os.getpid(), []

    def callback(study: tuner.Study, trial: tuner.Trial) -> None:
        if (child := os.fork()) == 0:
            if trial.number % 2:
                raise ValueError("in the child")
            return
        children.append(status_of(child))

    study = search(tmp_path, lambda params: params["x"], backend="serial", callbacks=[callback])
    assert os.getpid() == me
    assert children == [0, 1, 0, 1]
    assert len(study.trials) == 4


@pytest.mark.process
def test_a_child_that_outlives_its_trial_changes_nothing(tmp_path: Path) -> None:
    def objective(params: dict[str, float], trial: Any) -> float:
        if os.fork() == 0:
            time.sleep(0.3)
            return -1.0
        return params["x"]

    study = search(tmp_path, objective, backend="serial")
    for _ in range(4):
        os.wait()
    again = tuner.load_study("forks", store=tmp_path / "store")
    assert [t.value for t in again] == [t.params["x"] for t in study]
    assert len(list(again.runs())) == 4


@pytest.mark.process
def test_buffered_text_is_written_once(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import os, sys, tuner\n"
        "def objective(params):\n"
        "    print('parent')\n"
        "    if (child := os.fork()) == 0:\n"
        "        print('child')\n"
        "        return 0.0\n"
        "    os.waitpid(child, 0)\n"
        "    return params['x']\n"
        "tuner.optimize(objective, {'x': tuner.Float(0, 1)}, n_trials=3, backend='serial',\n"
        "               store=sys.argv[1], progress=False, register=False)\n"
    )
    done = subprocess.run(
        [sys.executable, script, tmp_path / "store"], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["parent", "child"] * 3


@pytest.mark.process
def test_a_child_that_leaves_an_optimizer_ends(tmp_path: Path) -> None:
    from tuner.optimizers.random import RandomOptimizer

    class Forking(RandomOptimizer):
        def ask(self, n: int, pending: Any) -> Any:
            if (child := os.fork()) != 0:
                assert status_of(child) == 1
            return super().ask(n, pending)

    study = tuner.optimize(
        lambda params: params["x"], {"x": Float(0, 1)}, n_trials=3, optimizer=Forking(),
        backend="serial", store=tmp_path / "store", progress=False, register=False,
    )  # fmt: skip
    assert len(study.trials) == 3


@pytest.mark.process
def test_a_child_runs_no_finalizer_of_its_parents_garbage(tmp_path: Path) -> None:
    """A finalizer may wait for a lock that another thread held at the fork, as SQLite's did."""
    finalized = tmp_path / "finalized"

    class Garbage:
        def __init__(self) -> None:
            self.cycle = self

        def __del__(self) -> None:
            with finalized.open("a") as file:
                file.write(f"{os.getpid()}\n")

    def objective(params: dict[str, float]) -> float:
        Garbage()
        if (child := os.fork()) == 0:
            gc.collect()
            return 0.0
        assert status_of(child) == 0
        return params["x"]

    gc.disable()
    try:
        search(tmp_path, objective, backend="serial")
    finally:
        gc.enable()
        gc.collect()
    assert set(finalized.read_text().split()) == {str(os.getpid())}


@pytest.mark.process
def test_a_fork_waits_for_threads_inside_sqlite(tmp_path: Path) -> None:
    database = open_store(tmp_path)._database
    with database.writing():
        pass
    inside, leave = threading.Event(), threading.Event()
    order: list[str] = []

    def write() -> None:
        with database.writing():
            inside.set()
            leave.wait(10)
            order.append("written")

    thread = threading.Thread(target=write)
    thread.start()
    inside.wait(10)
    threading.Timer(0.1, leave.set).start()
    if (child := os.fork()) == 0:
        os._exit(0)
    order.append("forked")
    thread.join()
    assert status_of(child) == 0
    assert order == ["written", "forked"]
