"""Setting the system clock during a search moves no deadline and gives no negative duration."""

from __future__ import annotations

import ast
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import tuner
from tuner import Float, State
from tuner.backends.protocol import Finished, Lost, Sent
from tuner.engine.machine import Machine
from tuner.engine.machine_state import Limits
from tuner.engine.messages import AskRequested, Opened, Tick
from tuner.records import Begun, Goal, Outcome, Output

HOUR = 3600.0
ROOT = Path(tuner.__file__).parent.parent

DATES = {
    "tuner/drift/page.py": "when a page was made",
    "tuner/engine/clock.py": "dates the record",
    "tuner/integrations/importing.py": "when an imported study was made",
    "tuner/integrations/mlflow_runs.py": "when a mirrored run began, in its own record",
    "tuner/study/create.py": "when a study was made",
    "tuner/query/result.py": "compared with dates in the record",
    "tuner/registry/changes.py": "when a model was made",
    "tuner/registry/history.py": "when an alias was changed",
    "tuner/registry/registry.py": "when a model version was made",
    "tuner/registry/served.py": "when rows were served",
    "tuner/reporting/report.py": "when a report was made",
    "tuner/testing/scripted_jobs.py": "dates of scripted messages",
    "tuner/tracking/artifacts/retention.py": "compared with the dates of files",
    "tuner/tracking/store_connection.py": "when code or an environment was last used",
    "tuner/tracking/database/migrations/versions/v0010_history.py": "dates the first history",
    "tuner/tracking/edits.py": "when a study was archived or deleted",
    "tuner/tracking/uuid7.py": "the date in an identifier",
}
"""The files that may ask for the date, and the reason."""


class Wall:
    """The wall's clock, which an objective sets."""

    def __init__(self) -> None:
        self.ahead = 0.0
        self._time, self._time_ns = time.time, time.time_ns

    def time(self) -> float:
        return self._time() + self.ahead

    def time_ns(self) -> int:
        return self._time_ns() + int(self.ahead * 1e9)


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> Iterator[Wall]:
    wall = Wall()
    monkeypatch.setattr(time, "time", wall.time)
    monkeypatch.setattr(time, "time_ns", wall.time_ns)
    return wall


def search(folder: Path, objective: Any, **options: Any) -> tuner.Study:
    return tuner.optimize(
        objective, {"x": Float(0, 1)}, seed=0, optimizer="random", study="jumps", progress=False,
        store=folder / "store", backend="serial", register=False, **options,
    )  # fmt: skip


@pytest.mark.parametrize("jump", [HOUR, -HOUR, 20 * 365 * 24 * HOUR])
def test_a_clock_change_ends_no_trial_and_no_search(
    tmp_path: Path, wall: Wall, jump: float
) -> None:
    def objective(params: dict[str, float], trial: Any) -> float:
        if trial.number % 2:
            wall.ahead += jump if trial.number % 4 == 1 else -jump
        time.sleep(0.02)
        trial.report(params["x"], 0)
        return params["x"]

    study = search(tmp_path, objective, n_trials=12, trial_timeout=30.0, timeout=60.0)
    assert [trial.state for trial in study] == [State.COMPLETED] * 12
    for record in [*study, *study.runs()]:
        assert record.started is not None
        assert record.ended is not None
        assert 0.02 <= record.ended - record.started < 10


def test_a_clock_set_back_delays_no_deadline(tmp_path: Path, wall: Wall) -> None:
    def objective(params: dict[str, float], trial: Any) -> float:
        wall.ahead -= HOUR
        time.sleep(0.05)
        return params["x"]

    began = time.monotonic()
    search(tmp_path, objective, timeout=0.6)
    assert time.monotonic() - began < 10


@pytest.mark.slow
def test_a_failed_and_a_timed_out_run_have_their_measured_duration(
    tmp_path: Path, wall: Wall
) -> None:
    def objective(params: dict[str, float], trial: Any) -> float:
        wall.ahead -= HOUR
        time.sleep(0.05)
        if trial.number == 0:
            raise ValueError("no")
        if trial.number == 1:
            time.sleep(5)
        return params["x"]

    study = search(tmp_path, objective, n_trials=3, trial_timeout=1.0, max_retries=1)
    for run in study.runs():
        assert 0.05 <= run.ended - run.started < 4
    for trial in study:
        assert trial.ended >= trial.started


def test_a_trial_told_after_the_clock_is_set_back_has_a_valid_duration(
    tmp_path: Path, wall: Wall
) -> None:
    study = tuner.create_study({"x": Float(0, 1)}, study="manual", store=tmp_path)
    here, elsewhere = study.ask(), study.ask()
    time.sleep(0.05)
    wall.ahead -= HOUR
    study.tell(here, 1.0)
    tuner.load_study("manual", store=tmp_path).tell(elsewhere.number, 1.0)
    first, second = study.trials
    assert 0.05 <= first.ended - first.started < 10
    assert second.ended >= second.started


def test_runs_of_a_dead_driver_do_not_end_before_their_start(tmp_path: Path, wall: Wall) -> None:
    def objective(params: dict[str, float], trial: Any) -> float:
        if trial.number == 1 and trial.attempt == 1:
            raise KeyboardInterrupt
        return params["x"]

    with pytest.raises(KeyboardInterrupt):
        search(tmp_path, objective, n_trials=2)
    wall.ahead -= HOUR
    study = search(tmp_path, objective, n_trials=2)
    for record in [*study, *study.runs()]:
        assert record.ended >= record.started


def test_a_worker_whose_clock_differs_has_no_negative_runs() -> None:
    """Workers of other machines date the beginning; the driver may have to date the end."""
    tokens = iter("abcdef")
    machine = Machine(Limits(4, max_lost=1), [Goal("value")], 0, tokens.__next__)
    machine.handle(Opened(1, 1), 0.0, 1e9)
    machine.handle(AskRequested(1), 0.0, 1e9)
    machine.handle(Tick(), 0.0, 1e9)
    machine.enqueue([{"x": 0.0}])
    (run,) = [
        command.job.run
        for command in machine.handle(AskRequested(1), 1.0, 1e9)
        if hasattr(command, "job")
    ]
    machine.handle(Sent(run, Begun("w", "ahead", 1, 1e9 + HOUR)), 2.0, 1e9)
    lost, again = machine.handle(Lost(run, "gone"), 5.0, 1e9 - HOUR)
    assert (lost.run.started, lost.run.ended) == (1e9 + HOUR, 1e9 + HOUR + 3)
    second = again.job.run
    machine.handle(Sent(second, Begun("w", "behind", 1, 1e9 - HOUR)), 6.0, 1e9)
    machine.handle(Sent(second, Output("", 1e9 - HOUR + 7)), 13.0, 1e9)
    record, *_ = machine.handle(
        Finished(second, Outcome(State.COMPLETED, {"value": 1.0})), 13.0, 1e9
    )
    assert (record.run.started, record.run.ended) == (1e9 - HOUR, 1e9 - HOUR + 7)
    assert record.trial.ended >= record.trial.started


@pytest.mark.slow
def test_wall_clock_time_is_read_only_where_it_is_recorded() -> None:
    """A deadline by the wall's clock fails as soon as that is set."""
    found = {
        path.relative_to(ROOT).as_posix()
        for folder in ("tuner", "search_spaces", "backends")
        for path in (ROOT / folder).rglob("*.py")
        if path.resolve() == path and _asks_for_the_date(ast.parse(path.read_text("utf-8")))
    }
    assert found == set(DATES)


def _asks_for_the_date(tree: ast.AST) -> bool:
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(ast.Name("time"), "time" | "time_ns"):
                return True
            case ast.Attribute(_, "utcnow" | "today"):
                return True
            case ast.Attribute(ast.Name("datetime") | ast.Attribute(_, "datetime"), "now"):
                return True
            case ast.ImportFrom("time", names) if {n.name for n in names} & {"time", "time_ns"}:
                return True
            case ast.Attribute(_, "CLOCK_REALTIME"):
                return True
    return False
