"""Every plot shows the goal or the metric that it is asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tuner.errors import ArgumentError
from tuner.plotting import Plots
from tuner.plotting.kinds import KINDS
from tuner.records import Direction, Goal, Report, Run, State, Trial
from tuner.search_spaces import Float, Space

SPACE = Space({"x": Float(0, 1), "y": Float(0, 1)})
GOALS = (Goal("error"), Goal("accuracy", Direction.MAXIMIZE), Goal("latency"))


def three_goals(n: int = 24, name: str = "study") -> Plots:
    trials, runs, reports = [], [], []
    for i, p in enumerate(SPACE.sample(np.random.default_rng(0), n)):
        values = (p["x"], 10 + p["y"], 100 + p["x"] * p["y"])
        metrics = {g.metric: v for g, v in zip(GOALS, values, strict=True)} | {"size": 7.0 + i}
        time = {"started": 1.7e9 + i, "ended": 1.7e9 + i + 1}
        trials.append(Trial(i, p, State.COMPLETED, values, metrics=metrics, **time))
        runs.append(Run(f"r{i}", i, state=State.COMPLETED, worker="w", **time))
        reports += [(f"r{i}", Report(s, {**metrics, "norm": 1.0 * s})) for s in range(3)]
    return Plots(SPACE, GOALS, lambda: trials, lambda: runs, lambda: reports, name=name)


def text_of(ax: Any) -> str:
    """Return all labels of the axes and of its color bar."""
    figure = ax.get_figure(root=True)
    return " ".join(f"{one.get_xlabel()} {one.get_ylabel()}" for one in figure.axes) + " ".join(
        tick.get_text() for tick in ax.get_xticklabels()
    )


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("asked", [{"goal": 1}, {"goal": "accuracy"}, {"metric": "accuracy"}])
def test_every_plot_shows_the_goal_by_index_and_name(kind: str, asked: dict[str, Any]) -> None:
    ax = getattr(three_goals(), kind)(**asked)
    if kind != "timeline":
        assert "accuracy" in text_of(ax), kind


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("asked", [{"goal": 3}, {"goal": True}, {"goal": "acuracy"}])
def test_a_goal_that_does_not_exist_is_named_in_the_error(kind: str, asked: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError, match="must be a goal: one of error, accuracy, latency"):
        getattr(three_goals(8), kind)(**asked)


def test_the_best_value_follows_the_goal_and_its_direction() -> None:
    plots = three_goals()
    most = max(plots._trials(), key=lambda t: t.values[1])
    ax = plots.history(goal="accuracy")
    assert any(f"trial {most.number}" in line.get_label() for line in ax.lines)
    (steps,) = (line for line in ax.lines if line.get_label() == "best so far")
    assert steps.get_ydata()[-1] == most.values[1]


def test_a_metric_without_a_direction_has_no_best_so_far() -> None:
    plots = three_goals()
    best = min(plots._trials(), key=lambda t: t.values[0])
    ax = plots.history(metric="size")
    labels = ax.get_legend_handles_labels()[1]
    assert ax.get_ylabel() == "size"
    assert labels == ["completed", f"best: {7 + best.number}, trial {best.number}"]
    assert plots.learning_curves("norm").get_ylabel() == "norm"
    with pytest.raises(ArgumentError, match=r"metric='sise' is unknown; write one of 'size'"):
        plots.history(metric="sise")


@pytest.mark.parametrize("kind", [k for k in KINDS if k != "hypervolume"])
def test_every_plot_shows_a_metric(kind: str) -> None:
    ax = getattr(three_goals(12), kind)(metric="size")
    assert kind == "timeline" or "size" in text_of(ax)
    with pytest.raises(ArgumentError, match="metric='size' must be a goal"):
        three_goals(4).hypervolume(metric="size")


@pytest.mark.slow
def test_importances_follow_the_goal() -> None:
    def first(goal: int) -> str:
        return three_goals(60).importances(goal=goal).get_yticklabels()[0].get_text()

    assert (first(0), first(1)) == ("x", "y")


# --- several studies ------------------------------------------------------------------------------


def one_goal(values: list[float], name: str, goal: Goal = Goal("loss")) -> Plots:  # noqa: B008
    trials = [
        Trial(i, {"x": 0.5, "y": 0.5}, State.COMPLETED, (v,)) if v == v else
        Trial(i, {"x": 0.5, "y": 0.5}, State.FAILED)
        for i, v in enumerate(values)
    ]  # fmt: skip
    return Plots(SPACE, [goal], lambda: trials, name=name)


def test_several_studies_share_a_history() -> None:
    nan = float("nan")
    a, b, c = one_goal([3, 1, 2], "a"), one_goal([5, 0.5], "a"), one_goal([nan, nan], "broken")
    ax = a.history(compare=[b, c])
    assert [line.get_label() for line in ax.lines] == ["a", "a (2)", "broken: no feasible trial"]
    assert ax.lines[0].get_ydata().tolist() == [3, 1, 1, 1]
    assert ax.lines[1].get_ydata().tolist() == [5, 0.5, 0.5]
    assert len(a.history(compare=b).lines) == 2


def test_studies_that_cannot_be_compared_are_refused() -> None:
    up = one_goal([1, 2], "up", Goal("loss", Direction.MAXIMIZE))
    with pytest.raises(ArgumentError, match="'loss' of study 'up' has another direction"):
        one_goal([1, 2], "down").history(compare=[up])
    with pytest.raises(ArgumentError, match="study 'up' has the goals loss; compare studies"):
        three_goals().pareto_front(compare=[up])
    with pytest.raises(ArgumentError, match=r"compare='name' is not a study; load it with"):
        up.edf(compare=["name"])


def test_the_edf_is_the_fraction_of_trials_up_to_each_value() -> None:
    nan = float("nan")
    ax = one_goal([3, 1, nan, 2, 2], "a").edf()
    (curve,) = ax.lines
    assert curve.get_label() == "4 of 5 trials"
    assert curve.get_xdata()[1:-1].tolist() == [1, 2, 2, 3]
    assert curve.get_ydata().tolist() == [0, 0.25, 0.5, 0.75, 1, 1]
    assert ax.get_xlabel() == "loss (minimize)"
    both = one_goal([3, 1], "a").edf(compare=[one_goal([nan], "b")])
    assert both.get_legend_handles_labels()[1] == ["a: 2 of 2 trials", "b: 0 of 1 trials"]


def test_the_plotted_hypervolume_equals_that_of_the_study() -> None:
    values = [(3.0, 1.0), (2.0, 2.0), (3.0, 3.0), (1.0, 3.0)]
    goals = (Goal("a"), Goal("b"))
    trials = [Trial(i, {"x": 0, "y": 0}, State.COMPLETED, v) for i, v in enumerate(values)]
    trials.append(Trial(4, {"x": 0, "y": 0}, State.FAILED))
    plots = Plots(SPACE, goals, lambda: trials)
    (curve,) = plots.hypervolume([4, 4]).lines
    assert curve.get_xdata().tolist() == [0, 1, 2, 3, 4]
    assert curve.get_ydata().tolist() == [3, 5, 5, 6, 6]
    assert "a = 3, b = 3" in plots.hypervolume().get_xlabel(), "the worst of each goal"
    (best,) = plots.hypervolume([4], goal="a").lines
    assert best.get_ydata().tolist() == [1, 2, 2, 3, 3]
    with pytest.raises(ArgumentError, match="pass 2 finite numbers"):
        plots.hypervolume([1.0])


def test_rank_colors_are_even_despite_an_outlier() -> None:
    points = SPACE.sample(np.random.default_rng(0), 5)
    values = [1.0, 2.0, 2.0, 3.0, 1e9]
    trials = [Trial(i, p, State.COMPLETED, (values[i],)) for i, p in enumerate(points)]
    ax = Plots(SPACE, [Goal()], lambda: trials).rank("x", "y")
    (dots,) = (c for c in ax.collections if c.get_label() == "completed")
    assert dots.get_array().tolist() == [0, 0.375, 0.375, 0.75, 1]
