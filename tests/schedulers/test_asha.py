"""Asynchronous successive halving against its definition."""

from __future__ import annotations

import random

import pytest

from tuner.errors import ArgumentError
from tuner.records import Goal, Report, Trial
from tuner.schedulers import ASHA
from tuner.schedulers.protocol import Decision
from tuner.testing import SchedulerConformance


class TestASHA(SchedulerConformance):
    def make(self) -> ASHA:
        return ASHA(grace=1, reduction=2)


def asha(**options: float) -> ASHA:
    scheduler = ASHA(**options)
    scheduler.reset([Goal()])
    return scheduler


def stops(scheduler: ASHA, number: int, step: int, loss: float) -> bool:
    report = Report(step, {"value": loss})
    return scheduler.on_report(Trial(number, {}), report) is Decision.STOP


def test_trials_are_compared_at_rungs_only() -> None:
    scheduler = asha(grace=2, reduction=3)
    for step in range(20):
        assert not stops(scheduler, 0, step, 0.0)
    stopped_at = [step for step in range(20) if stops(scheduler, 1, step, 1.0)]
    assert stopped_at == [1, 5, 17]  # after 2, 6 and 18 steps


def test_the_best_third_of_the_trials_at_a_rung_passes() -> None:
    scheduler = asha(grace=1, reduction=3)
    losses = list(range(300))
    random.Random(0).shuffle(losses)
    for n, loss in enumerate(losses):
        came = sorted(losses[: n + 1])
        best_third = came[: max(1, len(came) // 3)]
        assert stops(scheduler, n, 0, loss) is (loss not in best_third)


def test_a_trial_is_ranked_by_its_best_value_so_far() -> None:
    scheduler = asha(grace=4, reduction=2)
    for step in range(4):
        assert not stops(scheduler, 0, step, 1.0)
    assert not any(stops(scheduler, 1, step, loss) for step, loss in enumerate([0.5, 9, 9, 9]))


def test_a_report_past_several_rungs_enters_each() -> None:
    scheduler = asha(grace=1, reduction=2)
    assert not stops(scheduler, 0, 99, 1.0)
    assert stops(scheduler, 1, 0, 2.0)
    assert stops(scheduler, 2, 63, 2.0)


@pytest.mark.parametrize("options", [{"grace": 0}, {"reduction": 1}, {"reduction": float("nan")}])
def test_options_out_of_range_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ArgumentError, match=next(iter(options))):
        ASHA(**options)
