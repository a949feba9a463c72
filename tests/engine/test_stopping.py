"""Objectives that leave by an exception, and are recorded as stopped."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest

import tuner
from tuner import Float, State, TrialStopped
from tuner.backends import SimulatedBackend


def run(objective: Callable[..., Any], store: Path, backend: Any = "serial") -> tuner.Study:
    def reporting(params: Any, trial: Any) -> Any:
        trial.report(2.0, 0)
        trial.log_metric("rows", 3)
        trial.report(1.0, 1)
        return objective(trial)

    return tuner.optimize(
        reporting, {"x": Float(0, 1)}, n_trials=2, backend=backend, store=store,
        optimizer="random", register=False, progress=False, study="s",
    )  # fmt: skip


def wrapped(trial: Any) -> None:
    try:
        trial.stop()
    except TrialStopped as error:
        raise RuntimeError("the callback failed") from error


def replaced(trial: Any) -> None:
    try:
        trial.stop()
    except TrialStopped:
        raise RuntimeError("the loop was left") from None


def swallowed(trial: Any) -> float:
    try:
        trial.stop()
    except Exception:
        return float("nan")  # as scikit-learn does with error_score=nan
    return 0.0


def raised(trial: Any) -> None:
    raise TrialStopped


def raised_deep(trial: Any) -> None:
    try:
        raise TrialStopped("enough")
    except TrialStopped:
        raise ValueError("during the handling")  # noqa: B904


def pruned(trial: Any) -> None:
    raise optuna.TrialPruned


LEAVING = [lambda trial: trial.stop(), wrapped, replaced, swallowed, raised, raised_deep, pruned]


@pytest.mark.parametrize("leave", LEAVING)
def test_a_trial_that_leaves_by_an_exception_is_stopped_with_its_last_report(
    tmp_path: Path, leave: Callable[..., Any]
) -> None:
    study = run(leave, tmp_path)
    for trial in study:
        assert (trial.state, trial.values, trial.error) == (State.STOPPED, (1.0,), None)
        assert trial.metrics == {"value": 1.0, "rows": 3.0}
    assert {r.state for r in study.runs()} == {State.STOPPED}


def test_stopping_by_an_exception_works_on_another_backend(tmp_path: Path) -> None:
    study = run(lambda trial: trial.stop(), tmp_path, SimulatedBackend(workers=2))
    assert [(t.state, t.values) for t in study] == [(State.STOPPED, (1.0,))] * 2


def test_a_trial_may_stop_before_it_reports(tmp_path: Path) -> None:
    study = tuner.optimize(
        lambda params, trial: trial.stop(), {"x": Float(0, 1)}, n_trials=9, backend="serial",
        store=tmp_path, optimizer="tpe", register=False, progress=False,
    )  # fmt: skip
    assert [(t.state, t.values) for t in study] == [(State.STOPPED, ())] * 9


def test_another_exception_after_should_stop_is_a_failure(tmp_path: Path) -> None:
    def broken(trial: Any) -> None:
        trial.should_stop()
        raise KeyError("bug")

    with pytest.raises(tuner.errors.AllTrialsFailed):
        run(broken, tmp_path)


def test_a_trial_that_is_asked_for_can_stop(tmp_path: Path) -> None:
    study = tuner.create_study({"x": Float(0, 1)}, store=tmp_path)
    trial = study.ask()
    trial.report(1.0, 0)
    with pytest.raises(TrialStopped):
        trial.stop()
    assert study.tell(trial, state="stopped").values == (1.0,)


def test_a_cyclic_or_endless_exception_chain_is_a_failure() -> None:
    from tuner.engine.worker.stopping import is_stop

    class Liar(Exception):
        __cause__ = __context__ = property(lambda self: 1 / 0)  # type: ignore[assignment]

    assert not is_stop(Liar())
    first, second = ValueError(), ValueError()
    first.__context__, second.__context__ = second, first
    assert not is_stop(first)
