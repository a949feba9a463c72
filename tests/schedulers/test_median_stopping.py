"""The median stopping rule against its definition."""

from __future__ import annotations

import pytest

from tuner.errors import ArgumentError
from tuner.records import Goal, Outcome, Report, State, Trial
from tuner.schedulers import MedianStopping
from tuner.schedulers.protocol import Decision
from tuner.testing import SchedulerConformance


class TestMedianStopping(SchedulerConformance):
    def make(self) -> MedianStopping:
        return MedianStopping(grace=1, min_trials=2)


def run(
    rule: MedianStopping, number: int, losses: list[float], state: State = State.COMPLETED
) -> list[Decision]:
    """Report losses step by step, then end the trial; return the decisions."""
    trial = Trial(number, {})
    said = [rule.on_report(trial, Report(n, {"value": loss})) for n, loss in enumerate(losses)]
    rule.on_finish(trial, Outcome(state, {"value": losses[-1]}))
    return said


@pytest.fixture
def rule() -> MedianStopping:
    rule = MedianStopping(grace=1, min_trials=3)
    rule.reset([Goal()])
    for number, loss in enumerate([1.0, 2.0, 3.0]):
        assert run(rule, number, [loss, loss, loss]) == [Decision.CONTINUE] * 3
    return rule


def test_a_trial_worse_than_the_median_of_the_means_is_stopped(rule: MedianStopping) -> None:
    assert run(rule, 9, [2.5, 2.5]) == [Decision.CONTINUE, Decision.STOP]


def test_a_trial_as_good_as_the_median_goes_on(rule: MedianStopping) -> None:
    assert run(rule, 9, [2.0, 2.0]) == [Decision.CONTINUE] * 2


def test_the_best_value_of_the_trial_counts_and_not_the_last(rule: MedianStopping) -> None:
    assert run(rule, 9, [1.5, 50.0]) == [Decision.CONTINUE] * 2


def test_other_trials_count_by_their_mean_up_to_the_same_step() -> None:
    rule = MedianStopping(min_trials=1)
    rule.reset([Goal()])
    run(rule, 0, [10.0, 0.0, 0.0, 0.0])  # running means 10, 5, 3.3, 2.5
    assert run(rule, 1, [4.0, 4.0, 4.0, 4.0])[1:] == [
        Decision.CONTINUE,
        Decision.STOP,
        Decision.STOP,
    ]


def test_no_trial_is_stopped_within_the_grace_period() -> None:
    rule = MedianStopping(grace=3, min_trials=1)
    rule.reset([Goal()])
    run(rule, 0, [0.0] * 5)
    assert run(rule, 1, [1.0] * 4) == [Decision.CONTINUE] * 3 + [Decision.STOP]


def test_stopped_and_failed_trials_do_not_count_for_the_median(rule: MedianStopping) -> None:
    for number in range(10, 30):
        assert Decision.STOP in run(rule, number, [100.0, 100.0])
    for number in range(30, 50):
        run(rule, number, [0.0, 0.0], State.FAILED)
    assert run(rule, 99, [2.0, 2.0]) == [Decision.CONTINUE] * 2


def test_equal_trials_are_not_stopped_by_rounding() -> None:
    rule = MedianStopping(min_trials=1)
    rule.reset([Goal()])
    for number in range(3):
        assert set(run(rule, number, [0.1] * 200)) == {Decision.CONTINUE}


def test_only_the_last_attempt_of_a_trial_counts_for_the_median() -> None:
    rule = MedianStopping(min_trials=1)
    rule.reset([Goal()])
    trial = Trial(0, {})
    for step in range(3):  # then its worker is lost
        rule.on_report(trial, Report(step, {"value": 0.0}))
    run(rule, 0, [5.0, 5.0, 5.0])
    assert run(rule, 1, [4.0, 4.0, 4.0]) == [Decision.CONTINUE] * 3


@pytest.mark.parametrize("options", [{"grace": 0}, {"min_trials": 0}])
def test_options_out_of_range_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(ArgumentError, match=f"{next(iter(options))}=0"):
        MedianStopping(**options)
