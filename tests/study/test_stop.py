"""Rules that end a search by its record: reached, without improvement, unlikely to improve."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import tuner
from tuner import Choice, Float
from tuner.backends import SimulatedBackend
from tuner.errors import ArgumentError
from tuner.stop import NOTE, StopRule
from tuner.tracking.store import Store

SPACE = {"x": Float(-1, 1)}


def search(folder: Path, rule: StopRule, objective: Any, **options: Any) -> tuner.Study:
    call: dict[str, Any] = {
        "space": SPACE, "n_trials": 60, "backend": "serial", "optimizer": "random", "seed": 1,
        "study": "stopped", "register": False, "progress": False,
    }  # fmt: skip
    return tuner.optimize(objective, store=folder, callbacks=[rule], **call | options)


def count(study: tuner.Study) -> int:
    """Return the number of finished trials; points that were drawn ahead may wait."""
    return sum(t.state.finished for t in study)


def bowl(params: dict[str, float]) -> float:
    return params["x"] ** 2


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_a_reached_value_stops(tmp_path: Path, direction: str) -> None:
    sign = 1 if direction == "minimize" else -1
    rule = tuner.stop.when_reached(sign * 0.05)
    study = search(tmp_path, rule, lambda params: sign * bowl(params), direction=direction)
    reached = [sign * t.values[0] <= 0.05 for t in study if t.state.finished]
    assert reached == [False] * (len(reached) - 1) + [True]
    assert study.info.notes[NOTE] == f"the best value reached {sign * 0.05:g}"


def test_a_stopped_study_starts_no_trial_when_the_call_is_repeated(tmp_path: Path) -> None:
    rule = tuner.stop.when_reached(0.05)
    first = count(search(tmp_path, rule, bowl))
    assert count(search(tmp_path, rule, bowl)) == first
    assert count(search(tmp_path, tuner.stop.when_reached(-1), bowl)) == 60


def test_trials_without_improvement_stop_and_failed_ones_do_not_count(tmp_path: Path) -> None:
    calls: list[None] = []

    def objective(params: dict[str, float]) -> float:
        calls.append(None)
        if len(calls) % 2 == 0:
            raise ValueError("every second trial")
        return 1.0

    study = search(tmp_path, tuner.stop.after_no_improvement(5), objective)
    assert sum(t.state is tuner.State.COMPLETED for t in study) == 6


def test_an_improvement_within_the_tolerance_does_not_count(tmp_path: Path) -> None:
    calls: list[None] = []

    def objective(params: dict[str, float]) -> float:
        calls.append(None)
        return -0.001 * len(calls)

    assert count(search(tmp_path, tuner.stop.after_no_improvement(5, 0.1), objective)) == 6


def test_a_search_that_converged_stops_and_says_why(tmp_path: Path) -> None:
    rule = tuner.stop.when_unlikely_to_improve(10, tolerance=0.1, probability=0.1)
    study = search(tmp_path, rule, bowl)
    assert 20 <= count(study) < 60
    assert count(study) % 5 == 0
    assert study.forecast(10, 0.1).probability < 0.1
    assert study.info.notes[NOTE].startswith("10 more trials improve the winner by more than 0.1")


def test_workers_and_a_model_stop_too(tmp_path: Path) -> None:
    rule = tuner.stop.when_unlikely_to_improve(10, tolerance=0.1)
    backend = SimulatedBackend(60.0, workers=3)
    study = search(tmp_path, rule, bowl, backend=backend, optimizer="tpe")
    assert 20 <= count(study) < 60


@pytest.mark.slow
def test_a_plateau_is_not_taken_for_convergence(tmp_path: Path) -> None:
    rule = tuner.stop.when_unlikely_to_improve(20, probability=0.2)
    flat = search(tmp_path, rule, lambda _: 1.0, study="flat", n_trials=30)
    assert count(flat) == 30
    space = {"c": Choice("a", "b"), "x": Float(0, 1)}
    two = search(
        tmp_path,
        rule,
        lambda p: 0.3 if p["c"] == "a" else 0.3 + p["x"],
        n_trials=35,
        study="two",
        space=space,
    )
    assert count(two) == 35


def test_several_goals_are_refused_before_a_trial_starts(tmp_path: Path) -> None:
    def objective(_: dict[str, float]) -> tuple[float, float]:
        raise AssertionError

    with pytest.raises(ArgumentError, match="2 goals"):
        search(
            tmp_path,
            tuner.stop.when_reached(1),
            objective,
            direction=["minimize", "maximize"],
            metric=["a", "b"],
        )


@pytest.mark.parametrize(
    "rule", [tuner.stop.when_reached(-1), tuner.stop.after_no_improvement(1_000)], ids=repr
)
def test_a_rule_does_not_read_the_record_after_each_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rule: StopRule
) -> None:
    reads: list[None] = []
    trials = Store.trials

    def counted(*args: Any, **options: Any) -> Iterator[tuner.Trial]:
        reads.append(None)
        return trials(*args, **options)

    monkeypatch.setattr(Store, "trials", counted)
    search(tmp_path, rule, bowl, n_trials=5, study="short")
    short = len(reads)
    search(tmp_path, rule, bowl, n_trials=50, study="long")
    assert len(reads) == 2 * short


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: tuner.stop.when_reached("low"), "value='low'"),  # type: ignore[arg-type]
        (lambda: tuner.stop.when_reached(float("nan")), "value=nan"),
        (lambda: tuner.stop.after_no_improvement(0), "n_trials=0"),
        (lambda: tuner.stop.after_no_improvement(5, -1), "tolerance=-1"),
        (lambda: tuner.stop.when_unlikely_to_improve(None), "n_trials=None"),  # type: ignore[arg-type]
        (lambda: tuner.stop.when_unlikely_to_improve(probability=1.0), "probability=1.0"),
        (lambda: tuner.stop.when_unlikely_to_improve(probability=0), "probability=0"),
        (lambda: tuner.stop.when_unlikely_to_improve(min_trials=2), "min_trials=2"),
    ],
)
def test_a_wrong_argument_is_named(make: Any, named: str) -> None:
    with pytest.raises(ArgumentError, match=named):
        make()
