"""An error in the driver while an objective runs ends the search; it fails no trial."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import tuner
from tuner import Float, State
from tuner.engine.progress import Display, Snapshot
from tuner.schedulers.protocol import Decision


class Bad(BaseException):
    """An exception that ``except Exception`` does not catch."""


class FailingScheduler:
    """A scheduler that raises at a report of trial 3."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def reset(self, goals: Any) -> None:
        pass

    def on_report(self, trial: tuner.Trial, report: Any) -> Decision:
        if trial.number == 3:
            raise self.error
        return Decision.CONTINUE

    def on_finish(self, trial: tuner.Trial, outcome: Any) -> None:
        pass


class FailingProgress(Display):
    """A display that raises at a message of trial 3."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(None)
        self.error = error
        self.armed = False

    def update(self, snapshot: Snapshot) -> None:
        if self.armed:
            self.armed = False
            raise self.error


def plain(report: Callable[[], None]) -> None:
    report()


def catches_exceptions(report: Callable[[], None]) -> None:
    with suppress(Exception):
        report()


def catches_everything(report: Callable[[], None]) -> None:
    for _ in range(3):
        with suppress(BaseException):
            report()


def replaces_it(report: Callable[[], None]) -> None:
    try:
        report()
    except BaseException as error:
        raise ValueError("mine") from error


@pytest.mark.slow
@pytest.mark.parametrize("error", [RuntimeError("of the driver"), Bad("of the driver")])
@pytest.mark.parametrize("attitude", [plain, catches_exceptions, catches_everything, replaces_it])
@pytest.mark.parametrize("who", ["scheduler", "display"])
def test_an_error_reaches_the_caller_and_leaves_the_trial_open(
    tmp_path: Path, error: BaseException, attitude: Any, who: str
) -> None:
    display = FailingProgress(error)

    def objective(params: dict[str, Any], trial: Any) -> float:
        steps = iter(range(10))
        display.armed = trial.number == 3 and who == "display"
        attitude(lambda: trial.report(params["x"], next(steps)))
        return float(params["x"])

    def search(**options: Any) -> tuner.Study:
        return tuner.optimize(
            objective, {"x": Float(0, 1)}, n_trials=6, backend="serial", store=tmp_path, study="s",
            optimizer="tpe", register=False, seed=0, **options,
        )  # fmt: skip

    broken: dict[str, Any] = (
        {"scheduler": FailingScheduler(error), "progress": False}
        if who == "scheduler"
        else {"progress": display}
    )
    with pytest.raises(type(error), match="of the driver") as raised:
        search(**broken)
    assert raised.value is error
    states = [t.state for t in tuner.load_study("s", store=tmp_path)]
    assert states == [State.COMPLETED] * 3 + [State.WAITING]
    assert [t.state for t in search(progress=False)] == [State.COMPLETED] * 6


def test_an_error_of_a_callback_reaches_the_caller_and_loses_nothing(tmp_path: Path) -> None:
    def fail(study: tuner.Study, trial: tuner.Trial) -> None:
        if trial.number == 3:
            raise Bad("of a callback")

    with pytest.raises(Bad, match="of a callback"):
        tuner.optimize(
            lambda params: params["x"], {"x": Float(0, 1)}, n_trials=6, backend="serial",
            store=tmp_path, study="s", register=False, progress=False, callbacks=[fail],
        )  # fmt: skip
    study = tuner.load_study("s", store=tmp_path)
    assert [t.state for t in study if t.state.finished] == [State.COMPLETED] * 4
