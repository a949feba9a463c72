"""Several serial searches run concurrently on threads of one process."""

from __future__ import annotations

import gc
import io
import logging
import os
import random
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest
import sklearn  # noqa: F401 (its first import sets an environment variable)

import tuner
from tuner import Float, State
from tuner.errors import AllTrialsFailed


def process_state() -> dict[str, Any]:
    return {
        "streams": (sys.stdout, sys.stderr),
        "folder": os.getcwd(),
        "environment": dict(os.environ),
        "path": list(sys.path),
        "filters": list(warnings.filters),
        "show": warnings.showwarning,
        "limit": sys.getrecursionlimit(),
        "collects": gc.isenabled(),
        "random": random.getstate(),
        "handler": signal.getsignal(signal.SIGTERM),
        "timer": signal.getitimer(signal.ITIMER_REAL),
        "start": threading.Thread.start,
    }


def search(folder: Path, name: str, objective: Callable[..., Any], n_trials: int) -> tuner.Study:
    return tuner.optimize(
        objective, {"x": Float(0, 1)}, n_trials=n_trials, seed=0, optimizer="random", study=name,
        store=folder / name, backend="serial", progress=False, register=False,
    )  # fmt: skip


def at_once(folder: Path, n: int, objective: Callable[..., Any], n_trials: int) -> list[Any]:
    with ThreadPoolExecutor(n) as pool:
        jobs = [pool.submit(search, folder, f"s{i}", objective, n_trials) for i in range(n)]
        return [job.result() for job in jobs]


def depth(stream: Any) -> int:
    """Return how many streams lie one on the other."""
    found = 0
    while type(stream).__name__ == "_Tee":
        found, stream = found + 1, stream.stream
    return found


def meddle(params: dict[str, float], trial: Any) -> float:
    assert depth(sys.stdout) <= 1, depth(sys.stdout)
    me = f"{threading.get_ident()}/{trial.number}"
    print("begin", me)
    os.environ[f"MEDDLED_{trial.number % 3}"] = me
    os.chdir("/")
    sys.path.append(me)
    warnings.simplefilter("ignore")
    sys.setrecursionlimit(3000 + trial.number)
    gc.disable()
    child = threading.Thread(target=print, args=("child of", me))
    child.start()
    child.join()
    time.sleep(random.random() / 500)
    print("end", me)
    return params["x"]


@pytest.mark.parametrize("n_trials", [25, pytest.param(250, marks=pytest.mark.soak)])
def test_each_search_records_its_own_output_and_restores_the_process(
    tmp_path: Path, n_trials: int
) -> None:
    terminal = io.StringIO()
    with redirect_stdout(terminal):
        before = process_state()
        studies = at_once(tmp_path, 4, meddle, n_trials)
        assert process_state() == before
    for study in studies:
        assert [trial.error for trial in study if trial.state is not State.COMPLETED] == []
        for run in study.runs():
            first, middle, last = run.output.splitlines()
            assert first.startswith("begin ")
            assert middle == f"child of {first[6:]}"
            assert last == f"end {first[6:]}"
            assert first.endswith(f"/{run.trial}")
    assert len(terminal.getvalue().splitlines()) == 4 * 3 * n_trials


def test_a_search_on_a_thread_overlaps_one_on_the_main_thread(tmp_path: Path) -> None:
    before = process_state()
    thread = threading.Thread(target=search, args=(tmp_path, "thread", meddle, 15))
    thread.start()
    search(tmp_path, "main", meddle, 30)
    thread.join()
    assert process_state() == before


def test_streams_replaced_by_objectives_are_restored(tmp_path: Path) -> None:
    def replace(params: dict[str, float], trial: Any) -> float:
        print("heard")
        if trial.number % 3 == 0:
            with redirect_stdout(io.StringIO()):
                time.sleep(random.random() / 200)
                print("not heard")
        elif trial.number % 3 == 1:
            sys.stdout = io.StringIO()
            time.sleep(random.random() / 200)
        else:
            sys.stdout = sys.stderr = None  # type: ignore[assignment]
        return params["x"]

    before = process_state()
    studies = at_once(tmp_path, 3, replace, 20)
    assert process_state() == before
    assert all(trial.state is State.COMPLETED for study in studies for trial in study)


def test_a_nested_search_restores_process_state(tmp_path: Path) -> None:
    def inner(params: dict[str, float], trial: Any) -> float:
        os.environ["INNER"] = "1"
        print("inner")
        sys.stdout = None  # type: ignore[assignment]
        return params["x"]

    def outer(params: dict[str, float], trial: Any) -> float:
        os.environ["OUTER"] = "1"
        held = sys.stdout
        search(tmp_path, f"inner-{trial.number}", inner, 2)
        assert sys.stdout is held
        assert "INNER" not in os.environ
        assert os.environ["OUTER"] == "1"
        print("outer")
        return params["x"]

    before = process_state()
    study = search(tmp_path, "outer", outer, 2)
    assert process_state() == before
    assert [run.output for run in study.runs()] == ["inner\ninner\nouter\n"] * 2


def test_nested_searches_on_threads_have_their_own_output(tmp_path: Path) -> None:
    def outer(params: dict[str, float], trial: Any) -> float:
        at_once(tmp_path / str(trial.number), 2, meddle, 3)
        return params["x"]

    before = process_state()
    study = search(tmp_path, "outer", outer, 2)
    assert process_state() == before
    assert [trial.error for trial in study if trial.error] == []
    assert all(run.output.count("child of") == 6 for run in study.runs())


def test_a_logging_handler_from_an_earlier_trial_writes_to_the_trial_that_logs(
    tmp_path: Path,
) -> None:
    logger = logging.getLogger("tests.retired")

    def objective(params: dict[str, float], trial: Any) -> float:
        if not logger.handlers:
            logger.addHandler(logging.StreamHandler(sys.stdout))
        logger.warning("trial %d", trial.number)
        return params["x"]

    terminal = io.StringIO()
    with redirect_stdout(terminal):
        study = search(tmp_path, "logging", objective, 3)
        logger.warning("after all")
    logger.handlers.clear()
    assert [run.output for run in study.runs()] == ["trial 0\n", "trial 1\n", "trial 2\n"]
    assert terminal.getvalue() == "trial 0\ntrial 1\ntrial 2\nafter all\n"


def test_threads_of_the_program_are_not_captured(tmp_path: Path) -> None:
    over = threading.Event()

    def chatter() -> None:
        while not over.wait(0.001):
            threading.Thread(target=print, args=("chatter",)).start()

    def objective(params: dict[str, float], trial: Any) -> float:
        time.sleep(0.02)
        print("mine")
        return params["x"]

    terminal = io.StringIO()
    with redirect_stdout(terminal):
        thread = threading.Thread(target=chatter)
        thread.start()
        study = search(tmp_path, "quiet", objective, 5)
        over.set()
        thread.join()
    assert [run.output for run in study.runs()] == ["mine\n"] * 5
    assert "chatter" in terminal.getvalue()


def test_an_alarm_of_the_main_thread_outlasts_trials_on_another(tmp_path: Path) -> None:
    """The time limit of a trial on the main thread is an alarm of the process."""

    def slow(params: dict[str, float], trial: Any) -> float:
        for _ in range(400):
            time.sleep(0.01)
        return params["x"]

    thread = threading.Thread(target=search, args=(tmp_path, "thread", meddle, 40))
    thread.start()
    with pytest.raises(AllTrialsFailed, match="Timeout"):
        tuner.optimize(
            slow, {"x": Float(0, 1)}, n_trials=1, seed=0, store=tmp_path / "main",
            study="main", backend="serial", trial_timeout=0.5, progress=False, register=False,
        )  # fmt: skip
    thread.join()
    (run,) = tuner.load_study("main", store=tmp_path / "main").runs()
    assert run.ended - run.started < 3  # of the 4 seconds that it would take
