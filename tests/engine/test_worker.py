"""Every result of an objective becomes records, sent in order."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from tuner.engine.objective import wants_trial
from tuner.engine.worker.run import ObjectiveWork
from tuner.errors import ObjectiveError
from tuner.records import Begun, Goal, Job, Message, Outcome, Output, Report, State, Trial, Upload


@dataclass
class RecordingChannel:
    """A channel that records its messages."""

    worker: str = "channel"
    stop_after: int = 1_000_000
    messages: list[Message] = field(default_factory=list)

    def send(self, message: Message) -> None:
        self.messages.append(message)

    def stop_requested(self) -> bool:
        return sum(isinstance(m, Report) for m in self.messages) >= self.stop_after


def run(
    objective: Callable[..., Any], channel: RecordingChannel | None = None, metric: str = "value"
) -> Outcome:
    work = ObjectiveWork(objective, wants_trial(objective), (Goal(metric),))
    job = Job("r" * 32, Trial(3, {"x": 2.0}, seed=7), attempt=2)
    return work(job, channel or RecordingChannel())


def test_a_job_reports_its_worker_and_its_output() -> None:
    channel = RecordingChannel()

    def objective(params: dict[str, Any]) -> float:
        print("hello")
        return float(params["x"])

    assert run(objective, channel) == Outcome(State.COMPLETED, {"value": 2.0})
    begun, output = channel.messages
    assert isinstance(begun, Begun)
    assert (begun.worker, begun.pid) == ("channel", os.getpid())
    assert isinstance(output, Output)
    assert output.text == "hello\n"
    assert output.time >= begun.time


def test_the_trial_has_its_number_seed_and_attempt() -> None:
    seen = {}

    def objective(params, trial):
        seen.update(number=trial.number, seed=trial.seed, attempt=trial.attempt, same=trial.params)
        return 0.0

    run(objective)
    assert seen == {"number": 3, "seed": 7, "attempt": 2, "same": {"x": 2.0}}


def test_an_exception_is_a_failure_with_its_place_and_traceback() -> None:
    def objective(params):
        raise ValueError("C must be positive")

    outcome = run(objective)
    assert outcome.state is State.FAILED
    assert outcome.error is not None
    assert str(outcome.error) == "ValueError: C must be positive"
    line = objective.__code__.co_firstlineno + 1
    assert outcome.error.place == f"{__file__}:{line}"
    assert 'raise ValueError("C must be positive")' in outcome.error.traceback
    assert "engine/worker.py" not in outcome.error.traceback


def test_an_exception_whose_str_raises_is_recorded_as_a_failure() -> None:
    class Rude(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    def objective(params):
        raise Rude

    outcome = run(objective)
    assert outcome.error is not None
    assert outcome.error.kind == "Rude"
    assert "raised RuntimeError" in outcome.error.message


def test_sys_exit_in_the_objective_fails_only_its_trial() -> None:
    outcome = run(lambda params: sys.exit(3))
    assert outcome.error is not None
    assert outcome.error.kind == "SystemExit"


def test_metrics_logged_before_a_failure_are_kept() -> None:
    def objective(params, trial):
        trial.report(0.5, step=0)
        trial.log_metric("rows", 10)
        raise ValueError

    assert run(objective).metrics == {"value": 0.5, "rows": 10.0}


def test_logged_metrics_join_the_returned_one() -> None:
    def objective(params, trial):
        trial.log_metrics({"auc": 0.75, "rows": np.int64(10)})
        return 1.0

    assert run(objective).metrics == {"auc": 0.75, "rows": 10.0, "value": 1.0}


def test_a_goal_that_was_logged_but_not_returned_is_missing() -> None:
    outcome = run(lambda params: {"loss": 1.0}, metric="auc")
    assert outcome.error is not None
    assert outcome.error.kind == "MissingMetric"


def test_reports_are_sent_immediately() -> None:
    channel = RecordingChannel()

    def objective(params, trial):
        for step in range(3):
            trial.report({"value": 1 / (step + 1), "lr": 0.1}, step)
        trial.log_metric("grad", 2.0, step=1)
        return 0.0

    run(objective, channel)
    reports = [m for m in channel.messages if isinstance(m, Report)]
    assert reports == [
        Report(0, {"value": 1.0, "lr": 0.1}),
        Report(1, {"value": 0.5, "lr": 0.1}),
        Report(2, {"value": 1 / 3, "lr": 0.1}),
        Report(1, {"grad": 2.0}),
    ]


def test_a_trial_stopped_by_the_scheduler_keeps_its_last_report() -> None:
    def objective(params, trial):
        for step in range(10):
            trial.report(10.0 - step, step)
            if trial.should_stop():
                return None
        return 0.0

    assert run(objective, RecordingChannel(stop_after=3)) == Outcome(State.STOPPED, {"value": 8.0})


def test_a_stopped_trial_may_return_a_last_value() -> None:
    def objective(params, trial):
        trial.report(10.0, 0)
        return 4.0 if trial.should_stop() else 0.0

    assert run(objective, RecordingChannel(stop_after=1)) == Outcome(State.STOPPED, {"value": 4.0})


def test_a_trial_that_ignores_should_stop_completes() -> None:
    def objective(params, trial):
        trial.report(10.0, 0)
        return 1.0

    assert run(objective, RecordingChannel(stop_after=1)).state is State.COMPLETED


@pytest.mark.parametrize(
    ("report", "kind", "says"),
    [
        (lambda t: t.report_constraint("size", float("nan")), "NotFinite", "'size' is nan"),
        (lambda t: t.report("low", 0), "WrongReturnType", "'value' is 'low'"),
        (lambda t: t.report({"auc": 1.0}, 0), "ArgumentError", "'value' is missing"),
        (lambda t: t.report(1.0, -1), "ArgumentError", "step -1 is negative"),
        (lambda t: t.report(1.0, 0.5), "ArgumentError", "0.5 is not an integer"),
        (
            lambda t: [t.report(1.0, 2), t.report(1.0, 2)],
            "ArgumentError",
            "step 2 follows step 2",
        ),
        (lambda t: t.log_metric("auc", None), "WrongReturnType", "'auc' is None"),
        (lambda t: t.set_note("", "text"), "ArgumentError", "write a name"),
    ],
)
def test_invalid_reports_fail_the_trial_with_a_reason(
    report: Callable[[Any], None], kind: str, says: str
) -> None:
    def objective(params, trial):
        report(trial)
        return 0.0

    outcome = run(objective)
    assert outcome.state is State.FAILED
    assert outcome.error is not None
    assert outcome.error.kind == kind
    assert says in outcome.error.message
    # The place is the user's call, not the line of ours that raised.
    line = report.__code__.co_firstlineno
    assert outcome.error.place in (f"{__file__}:{line}", f"{__file__}:{line + 1}")
    assert "engine/worker" not in outcome.error.traceback


def test_logged_files_and_folders_are_stored(tmp_path: Path) -> None:
    (tmp_path / "plots").mkdir()
    (tmp_path / "plots" / "a.svg").write_bytes(b"<svg/>")
    (tmp_path / "notes.txt").write_text("good")
    channel = RecordingChannel()

    def objective(params, trial):
        trial.log_artifact(tmp_path / "notes.txt")
        trial.log_artifact(tmp_path, name="all")
        return 0.0

    run(objective, channel)
    assert [m for m in channel.messages if isinstance(m, Upload)] == [
        Upload("notes.txt", {"notes.txt": b"good"}),
        Upload("all", {"notes.txt": b"good", "plots/a.svg": b"<svg/>"}),
    ]


def test_a_model_is_sent_in_skops_format() -> None:
    channel = RecordingChannel()

    def objective(params, trial):
        trial.log_model(LogisticRegression(C=params["x"]).fit([[0], [1]], [0, 1]))
        return 0.0

    assert run(objective, channel).state is State.COMPLETED
    (upload,) = (m for m in channel.messages if isinstance(m, Upload))
    assert (upload.name, upload.kind, upload.format) == ("model", "model", "skops")


def test_changes_of_params_by_the_objective_are_not_recorded() -> None:
    job = Job("r", Trial(0, {"x": 1.0}))
    work = ObjectiveWork(lambda params: params.pop("x"), False, (Goal(),))
    work(job, RecordingChannel())
    assert job.trial.params == {"x": 1.0}


class Callable1:
    def __call__(self, params):
        return 0.0


class Callable2:
    def method(self, params, trial):
        return 0.0


@pytest.mark.parametrize(
    ("objective", "expected"),
    [
        (lambda params: 0.0, False),
        (lambda params, trial: 0.0, True),
        (lambda params, trial=None: 0.0, True),
        (lambda params, folds=5: 0.0, False),
        (lambda *args: 0.0, False),
        (lambda params, **options: 0.0, False),
        (Callable1(), False),
        (Callable2().method, True),
        (len, False),
    ],
)
def test_the_signature_decides_whether_the_trial_is_passed(
    objective: Callable[..., Any], expected: bool
) -> None:
    assert wants_trial(objective) is expected


async def asynchronous(params):
    return 0.0


def generator(params):
    yield 0.0


@pytest.mark.parametrize(
    ("objective", "says"),
    [
        (3, "3 is a int, not a function"),
        (lambda: 0.0, "cannot be called with params"),
        (lambda a, b, c: 0.0, "cannot be called with params"),
        (lambda params, *, data: 0.0, "cannot be called with params"),
        (lambda **params: 0.0, "cannot be called with params"),
        (asynchronous, "is async"),
        (generator, "is a generator"),
    ],
)
def test_an_objective_with_a_wrong_signature_is_refused(objective: Any, says: str) -> None:
    with pytest.raises(ObjectiveError, match=says):
        wants_trial(objective)
