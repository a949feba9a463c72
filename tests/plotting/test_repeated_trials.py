"""Trials that ran several times have a mean and an interval in the history and the slice."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from scipy.stats import t as student

from tuner.plotting import Plots
from tuner.plotting.measure import Measure
from tuner.plotting.repeated import RepeatedTrials
from tuner.plotting.style import detached_figures
from tuner.records import Failure, Goal, Run, RunPurpose, State, Trial
from tuner.search_spaces import Float, Space

SPACE = Space({"x": Float(0, 1)})
TRIALS = [
    Trial(i, {"x": i / 10}, State.COMPLETED, (v,), {"value": v, "other": -v})
    for i, v in enumerate([1.0, 2.0, 4.0, 3.0])
]


def repeat(trial: int, value: float, **changes: Any) -> Run:
    metrics = {"value": value, "other": -value}
    content = {"state": State.COMPLETED, "metrics": metrics, "purpose": RunPurpose.REPEAT}
    return Run(f"{trial} {value}", trial, **(content | changes))


REPEATS = [repeat(0, 1.5), repeat(0, 0.5), repeat(1, 2.5)]


def plots(repeats: Sequence[Run], winner: int | None = 0) -> Plots:
    return Plots(SPACE, [Goal()], lambda: TRIALS, repeats=lambda: repeats, winner=lambda: winner)


def test_the_interval_comes_from_the_pooled_deviation() -> None:
    found = RepeatedTrials.of(Measure.of_goal(Goal()), TRIALS, REPEATS)
    assert found.numbers.tolist() == [0, 1]
    assert found.means.tolist() == [1.0, 2.25]
    pooled = np.sqrt((0.5 + 0.125) / 3)
    expected = student.ppf(0.975, 3) * pooled / np.sqrt([3, 2])
    assert found.half == pytest.approx(expected)


def test_failed_repeats_and_repeats_without_the_metric_do_not_count() -> None:
    failed = repeat(2, 1.0, state=State.FAILED, error=Failure("E", ""), metrics={})
    found = RepeatedTrials.of(Measure.of_goal(Goal()), TRIALS, [failed, repeat(3, np.nan)])
    assert not len(found.numbers)
    assert len(plots([failed]).history().collections) == len(plots([]).history().collections)


@pytest.mark.parametrize("metric", [None, "other"])
@pytest.mark.parametrize("kind", ["history", "slice"])
def test_plots_show_the_means_and_the_winner(kind: str, metric: str | None) -> None:
    axes = getattr(plots(REPEATS), kind)(metric=metric)
    texts = axes.get_legend_handles_labels()[1]
    assert {"mean of several runs, 95 % interval", "winner, trial 0"} <= set(texts)
    means = next(a for a in axes.lines if str(a.get_label()).startswith("mean"))
    assert np.abs(means.get_ydata()).tolist() == [1.0, 2.25]
    assert means.get_xdata().tolist() == ([0.0, 1.0] if kind == "history" else [0.0, 0.1])


def test_a_winner_without_a_repeat_has_no_ring() -> None:
    assert "winner" not in " ".join(plots(REPEATS, 3).history().get_legend_handles_labels()[1])


@pytest.mark.parametrize("kind", ["history", "slice"])
def test_nothing_changes_without_repeats(kind: str) -> None:
    def drawn(of: Plots) -> bytes:
        with detached_figures():
            figure = getattr(of, kind)().figure
        file = io.BytesIO()
        figure.savefig(file, format="png")
        return file.getvalue()

    def never() -> int:
        raise AssertionError("the winner costs a model")

    of_none = Plots(SPACE, [Goal()], lambda: TRIALS, repeats=lambda: [], winner=never)
    assert drawn(of_none) == drawn(Plots(SPACE, [Goal()], lambda: TRIALS))


@pytest.mark.slow
def test_huge_and_logarithmic_values_are_drawn() -> None:
    trials = [Trial(i, {"x": 0.1}, State.COMPLETED, (10.0**i,)) for i in range(5)]
    repeats = [repeat(0, 1e4), repeat(4, 1e300), repeat(4, -1e300)]
    found = Plots(SPACE, [Goal()], lambda: trials, repeats=lambda: repeats, winner=lambda: 4)
    for kind in ("history", "slice"):
        getattr(found, kind)().figure.savefig(io.BytesIO(), format="png")
