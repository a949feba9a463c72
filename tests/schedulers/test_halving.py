"""Successive halving with promotion, and Hyperband, against their definitions."""

from __future__ import annotations

from collections import Counter

import pytest

from tuner.errors import ArgumentError
from tuner.records import Goal, Outcome, Report, State, Trial
from tuner.schedulers import Hyperband, SuccessiveHalving
from tuner.schedulers.protocol import Decision
from tuner.testing import PausingSchedulerConformance


class TestSuccessiveHalving(PausingSchedulerConformance):
    def make(self) -> SuccessiveHalving:
        return SuccessiveHalving(grace=1, reduction=3)


class TestHyperband(PausingSchedulerConformance):
    def make(self) -> Hyperband:
        return Hyperband(max_steps=27, grace=1, reduction=3)


def report(scheduler: SuccessiveHalving, number: int, step: int, loss: float) -> Decision:
    return scheduler.on_report(Trial(number, {}), Report(step, {"value": loss}))


def test_a_trial_continues_once_it_is_among_the_best_of_its_rung() -> None:
    halving = SuccessiveHalving(grace=2, reduction=2)
    halving.reset([Goal()])
    assert report(halving, 0, 0, 3.0) is Decision.CONTINUE
    assert report(halving, 0, 1, 3.0) is Decision.PAUSE
    assert halving.resume([Trial(0, {})], n=4, new=4) == []
    assert report(halving, 1, 1, 4.0) is Decision.PAUSE
    assert halving.resume([Trial(0, {}), Trial(1, {})], n=4, new=4) == [0]


def test_trials_of_higher_rungs_come_first() -> None:
    halving = SuccessiveHalving(grace=1, reduction=2)
    halving.reset([Goal()])
    for number, step, loss in [(0, 0, 4.0), (1, 0, 3.0), (2, 0, 2.0), (1, 1, 3.0), (3, 0, 9.0)]:
        report(halving, number, step, loss)
    assert report(halving, 2, 1, 1.0) is Decision.CONTINUE
    paused = [Trial(n, {}) for n in (0, 1, 3)]
    assert halving.resume(paused, n=1, new=1) == []
    report(halving, 4, 0, 1.5)
    report(halving, 5, 0, 8.0)
    assert halving.resume([*paused, Trial(4, {})], n=2, new=0) == [4]


def test_the_best_trial_runs_to_its_end_if_no_other_is_left() -> None:
    halving = SuccessiveHalving(grace=1, reduction=2)
    halving.reset([Goal()])
    report(halving, 0, 0, 4.0)
    report(halving, 1, 0, 3.0)
    report(halving, 1, 1, 3.0)
    paused = [Trial(n, {}) for n in (0, 1)]
    assert halving.resume(paused, n=1, new=1) == []
    assert halving.resume(paused, n=1, new=0) == [1]
    report(halving, 1, 2, 2.5)
    halving.on_finish(Trial(1, {}), Outcome(State.COMPLETED, {"value": 2.5}))
    assert halving.resume(paused[:1], n=1, new=0) == []


def test_reports_that_skip_rungs_count_at_each_of_them() -> None:
    halving = SuccessiveHalving(grace=1, reduction=2)
    halving.reset([Goal()])
    assert report(halving, 0, 9, 1.0) is Decision.PAUSE
    assert report(halving, 1, 0, 0.5) is Decision.CONTINUE


def test_the_brackets_of_hyperband_get_their_shares() -> None:
    band = Hyperband(max_steps=9, grace=1, reduction=3)
    band.reset([Goal()])
    first = Counter()
    for number in range(300):
        for step in range(9):
            if (
                band.on_report(Trial(number, {}), Report(step, {"value": 1.0 + number}))
                != "continue"
            ):
                first[step + 1] += 1
                break
        else:
            first["none"] += 1
    sizes = {1: 9 / 3, 3: 3 / 2, 9: 1}
    total = sum(sizes.values())
    assert first[1] == pytest.approx(300 * sizes[1] / total, abs=4)
    assert first[3] == pytest.approx(300 * sizes[3] / total, abs=4)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: SuccessiveHalving(grace=0), "grace must be at least 1"),
        (lambda: SuccessiveHalving(reduction=1.0), "reduction must be above 1"),
        (lambda: Hyperband(max_steps=1), "max_steps must be above grace"),
        (lambda: Hyperband(grace=0), "grace must be at least 1"),
    ],
)
def test_invalid_options_are_named(make, text: str) -> None:
    with pytest.raises(ArgumentError, match=text):
        make()
