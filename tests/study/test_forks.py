"""A forked child that leaves the objective ends, and touches nothing of the search."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

import tuner
from tuner import Float
from tuner.errors import BackendError

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork"),
]

N_TRIALS = 4


def search(folder: Path, objective: Any, **options: Any) -> tuner.Study:
    return tuner.optimize(
        objective, {"x": Float(0, 1)}, n_trials=N_TRIALS, seed=0, optimizer="random",
        store=folder / "store", study="forks", progress=False, register=False,
        **{"backend": "serial"} | options,
    )  # fmt: skip


def status_of(child: int) -> int:
    """Wait for a child for 30 seconds at most; return its exit status."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(child, 9)
    os.waitpid(child, 0)
    raise AssertionError("the child still runs")


def fork_and(act: Any, expected: int, counted: Path) -> Any:
    """An objective whose child does `act`; each run of it is counted in a file."""

    def objective(params: dict[str, Any], trial: Any) -> float:
        with counted.open("a") as file:
            file.write(f"{trial.number}\n")
        if (child := os.fork()) == 0:
            return act(params, trial)
        assert status_of(child) == expected
        trial.report(params["x"], 0)
        return float(params["x"])

    return objective


def returns(params: dict[str, Any], trial: Any) -> float:
    return 7.0


def raises(params: dict[str, Any], trial: Any) -> float:
    raise ValueError("in the child")


def exits(params: dict[str, Any], trial: Any) -> float:
    raise SystemExit(5)


def reports(params: dict[str, Any], trial: Any) -> float:
    with pytest.raises(BackendError, match="forked"):
        trial.report(1e9, 0)
    raise SystemExit(3)


def is_interrupted(params: dict[str, Any], trial: Any) -> float:
    raise KeyboardInterrupt


CASES = [(returns, 0), (raises, 1), (exits, 5), (reports, 3), (is_interrupted, 1)]


def check(study: tuner.Study, counted: Path) -> None:
    assert [trial.state.value for trial in study.trials] == ["completed"] * N_TRIALS
    assert [trial.value for trial in study.trials] == [t.params["x"] for t in study.trials]
    assert sorted(counted.read_text().split()) == sorted(map(str, range(N_TRIALS)))
    assert {metric for _, report in study.reports() for metric in report.metrics} == {"value"}
    assert all(report.metrics["value"] <= 1.0 for _, report in study.reports())


@pytest.mark.parametrize(("act", "expected"), CASES, ids=lambda case: getattr(case, "__name__", ""))
def test_in_a_serial_search(act: Any, expected: int, tmp_path: Path) -> None:
    counted = tmp_path / "counted"
    check(search(tmp_path, fork_and(act, expected, counted)), counted)


@pytest.mark.usefixtures("cluster")
def test_on_a_ray_worker(tmp_path: Path) -> None:
    counted = tmp_path / "counted"
    study = search(tmp_path, fork_and(returns, 0, counted), backend="ray", workers=1)
    check(study, counted)


def test_in_a_callback(tmp_path: Path) -> None:
    statuses = []

    def callback(study: tuner.Study, trial: Any) -> None:
        if (child := os.fork()) == 0:
            return
        statuses.append(status_of(child))

    study = search(tmp_path, lambda params: params["x"], callbacks=[callback])
    assert statuses == [0] * N_TRIALS
    assert len(study.trials) == N_TRIALS
