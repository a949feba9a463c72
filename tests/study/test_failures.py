"""The guard against identical failures, and failed trials that run again under their numbers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import tuner
from tuner import Float, State
from tuner.cli.commands import cli
from tuner.errors import AllTrialsFailed, ArgumentError, StudyBusy

SPACE = {"x": Float(0, 1)}


def search(
    objective: Callable[..., Any], store: Path, n_trials: int, **options: Any
) -> tuner.Study:
    given = {"backend": "serial", "optimizer": "tpe", "seed": 0, "study": "s", **options}
    return tuner.optimize(
        objective, SPACE, n_trials=n_trials, store=store, register=False, progress=False, **given
    )


def loaded(store: Path) -> tuner.Study:
    return tuner.load_study("s", store=store)


WRONG = {
    "list": lambda params: [params["x"], params["x"]],
    "array": lambda params: np.array([params["x"]]),
    "text": lambda params: f"{params['x']}",
    "mixed": lambda params: None if params["x"] < 0.5 else f"{params['x']}",
    "missing": lambda params: {f"loss{params['x']}": params["x"]},
    "report": lambda params, trial: trial.report(f"{params['x']}", 0),
    "masked": lambda params: np.ma.masked,
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_return_values_end_a_search_like_one_exception(tmp_path: Path, name: str) -> None:
    with pytest.raises(AllTrialsFailed) as caught:
        search(WRONG[name], tmp_path, 60)
    assert __file__ in str(caught.value)
    assert "max_identical_failures=None" in str(caught.value)
    assert len(loaded(tmp_path).trials) == 5


def test_the_failure_limit_counts_only_this_call(tmp_path: Path) -> None:
    """Trials above 0.3 fail, as those do that need too much memory."""

    def objective(params: Any) -> float:
        if calls[0] < 12:
            calls[0] += 1
            raise MemoryError("too large")
        return float(params["x"])

    calls = [0]
    for done in (5, 10):
        with pytest.raises(AllTrialsFailed):
            search(objective, tmp_path, 60)
        assert len(loaded(tmp_path).trials) == done
    assert len(search(objective, tmp_path, 60).trials) == 60


def test_repeated_failures_end_a_call_although_earlier_calls_completed(tmp_path: Path) -> None:
    search(lambda params: params["x"], tmp_path, 10)
    with pytest.raises(AllTrialsFailed):
        search(lambda params: params["y"], tmp_path, 60)
    assert len(loaded(tmp_path).trials) == 15


def test_a_last_trial_that_fails_does_not_end_a_search_that_worked(tmp_path: Path) -> None:
    search(lambda params: params["x"], tmp_path, 3)
    study = search(lambda params: params["y"], tmp_path, 4)
    assert study.trials[3].state is State.FAILED


@pytest.mark.parametrize(("most", "done"), [(None, 20), (3, 3), (1, 1)])
def test_the_failure_limit_is_an_argument(tmp_path: Path, most: int | None, done: int) -> None:
    def objective(params: Any) -> float:
        raise KeyError("column")

    if most is None:
        search(objective, tmp_path, 20, max_identical_failures=most)
    else:
        with pytest.raises(AllTrialsFailed):
            search(objective, tmp_path, 20, max_identical_failures=most)
    study = loaded(tmp_path)
    assert len(study.trials) == done
    study.optimize(
        lambda params: params["y"], n_trials=done + 9, backend="serial", register=False,
        max_identical_failures=None, progress=False,
    )  # fmt: skip
    assert len(study.trials) == done + 9


@pytest.mark.parametrize("wrong", [0, -1, 2.5, "5"])
def test_a_wrong_limit_is_refused_before_anything_runs(tmp_path: Path, wrong: Any) -> None:
    with pytest.raises(ArgumentError, match="max_identical_failures="):
        search(lambda params: 0.0, tmp_path, 3, max_identical_failures=wrong)


def flaky(broken: list[bool]) -> Callable[..., float]:
    def objective(params: Any, trial: Any) -> float:
        trial.report(params["x"], trial.attempt)
        if broken and trial.number % 3 == 1:
            raise RuntimeError("out of memory")
        return float(params["x"])

    return objective


def test_failed_trials_run_again_under_their_numbers(tmp_path: Path) -> None:
    broken = [True]
    study = search(flaky(broken), tmp_path, 6)
    before = study.trials
    assert [t.number for t in before if t.state is State.FAILED] == [1, 4]

    broken.clear()
    retried = study.retry(failed=True)
    assert [(t.number, t.state, t.error) for t in retried] == [
        (1, State.WAITING, None),
        (4, State.WAITING, None),
    ]
    assert study.retry(failed=True) == []
    study = search(flaky(broken), tmp_path, 6)  # the same call, which had nothing left to do
    after = study.trials
    assert [t.state for t in after] == [State.COMPLETED] * 6
    assert [t.params for t in after] == [t.params for t in before]
    assert [t.seed for t in after] == [t.seed for t in before]
    assert [t.attempts for t in after] == [1, 2, 1, 1, 2, 1]
    assert [(r.attempt, r.state.value) for r in study.runs(4)] == [(1, "failed"), (2, "completed")]
    assert "out of memory" in str(study.runs(4)[0].error)
    assert after[4].duration is not None
    assert after[4].started is not None
    assert after[4].started > (before[4].ended or 0)
    assert [t for t in after if t.number not in (1, 4)] == [
        t for t in before if t.number not in (1, 4)
    ]


def test_chosen_failed_trials_run_again_and_no_others(tmp_path: Path) -> None:
    study = search(flaky([True]), tmp_path, 6)
    for wrong, says in (([0], "trial 0 is completed"), ([9], "no trial 9"), ([1, 0], "completed")):
        with pytest.raises(ArgumentError, match=says):
            study.retry(wrong)
    for wrong in ("1", ["1"], [None], 1.5):
        with pytest.raises(ArgumentError, match="write a trial or its number"):
            study.retry(wrong)  # type: ignore[arg-type]
    for nothing in ({}, {"failed": False}, {"trials": [1], "failed": True}):
        with pytest.raises(ArgumentError, match="either trials or failed=True"):
            study.retry(**nothing)
    assert [t.number for t in study.retry([study.trials[4]])] == [4]
    assert study.trials[1].state is State.FAILED
    assert study.ask().number == 4
    assert [t.number for t in study.retry(1)] == [1]


def test_trials_of_a_running_search_cannot_be_retried(tmp_path: Path) -> None:
    refused = []

    def retry(study: tuner.Study, trial: tuner.Trial) -> None:
        for each in (study, loaded(tmp_path)):
            with pytest.raises(StudyBusy):
                each.retry(failed=True)
            refused.append(trial.number)

    search(flaky([True]), tmp_path, 3, callbacks=[retry])
    assert refused == [0, 0, 1, 1, 2, 2]


def test_the_command_retries(tmp_path: Path) -> None:
    study = search(flaky([True]), tmp_path, 6)
    place = ["--store", str(tmp_path)]
    one = CliRunner().invoke(cli, ["retry", "s", "--trial", "4", *place])
    assert one.output.splitlines() == ["trial\tstate", "4\twaiting"]
    rest = CliRunner().invoke(cli, ["retry", "s", *place])
    assert rest.output.splitlines() == ["trial\tstate", "1\twaiting"]
    assert "no failed trials" in CliRunner().invoke(cli, ["retry", "s", *place]).output
    assert [t.number for t in study.trials if t.state is State.WAITING] == [1, 4]
    assert CliRunner().invoke(cli, ["retry", "s", "--trial", "0", *place]).exit_code == 1


def test_retries_work_on_postgresql(new_database: Callable[[], str]) -> None:
    broken = [True]
    where: Any = new_database()
    study = search(flaky(broken), where, 3)
    broken.clear()
    assert [t.number for t in study.retry(failed=True)] == [1]
    study = search(flaky(broken), where, 3)
    assert [(t.state, t.attempts) for t in study] == [
        (State.COMPLETED, 1),
        (State.COMPLETED, 2),
        (State.COMPLETED, 1),
    ]
    noted = search(
        lambda params: {"value": params["x"], "auc": float("nan"), "inf": float("inf"), "by": "me"},
        where, 1, study="noted",
    )  # fmt: skip
    assert noted.find("notes.by = 'me' and metrics.inf > 1e300").count() == 1
    assert noted.trials[0].metrics["auc"] != noted.trials[0].metrics["auc"]
