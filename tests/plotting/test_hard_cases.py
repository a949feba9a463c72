"""Plots of hard records: failed, stopped and infeasible trials, many and long names."""

from __future__ import annotations

import numpy as np
import pytest

from tuner.plotting import Plots
from tuner.plotting.measure import LANE
from tuner.plotting.names import distinct, path_names, spread_labels
from tuner.records import Direction, Goal, Report, Run, State, Trial
from tuner.search_spaces import Choice, Float, Int, Space

SPACE = Space({"x": Float(0, 1), "y": Float(0, 1)})
NESTED = Space(
    {
        "scaler": Choice("none", "standard"),
        "model": Choice(
            gradient_boosting_a={f"learning_rate_{i}": Float(0, 1) for i in range(5)},
            gradient_boosting_b={f"learning_rate_{i}": Float(0, 1) for i in range(5)},
            forest={f"number_of_estimators_{i}": Int(1, 9) for i in range(5)},
        ),
    }
)


def plots_of(*trials: tuple[State, float], direction: Direction = Direction.MINIMIZE) -> Plots:
    points = SPACE.sample(np.random.default_rng(0), len(trials))
    records = [
        Trial(i, p, state, () if state is State.FAILED else (value,))
        for i, (p, (state, value)) in enumerate(zip(points, trials, strict=True))
    ]
    return Plots(SPACE, [Goal("value", direction)], lambda: records)


@pytest.mark.parametrize("kind", ["history", "slice"])
@pytest.mark.parametrize("direction", list(Direction))
def test_failed_trials_are_drawn_beyond_the_worst_value(kind: str, direction: Direction) -> None:
    done = [(State.COMPLETED, v) for v in (1.0, 2.0, 3.0)]
    plots = plots_of(*done, (State.FAILED, 0), direction=direction)
    ax = getattr(plots, kind)(*(["x"] if kind == "slice" else []))
    (crosses,) = (line for line in ax.lines if line.get_label() == "failed")
    height = crosses.get_ydata()[0]
    worst = ax.transAxes.inverted().transform(
        ax.transData.transform((0, 3.0 if direction is Direction.MINIMIZE else 1.0))
    )[1]
    if direction is Direction.MINIMIZE:
        assert worst < 1 - LANE < height
    else:
        assert height < LANE < worst
    ticks = [t for t in ax.get_yticks() if not ax.get_ylim()[0] <= t <= ax.get_ylim()[1]]
    assert not ticks


@pytest.mark.parametrize("kind", ["history", "slice"])
def test_stopped_trials_do_not_compress_the_axis(kind: str) -> None:
    done = [(State.COMPLETED, v) for v in (0.1, 0.15, 0.2, 0.12)]
    stopped = [(State.STOPPED, v) for v in (50.0, 80.0, 0.25, -900.0, 60.0)]
    ax = getattr(plots_of(*done, *stopped), kind)(*(["x"] if kind == "slice" else []))
    low, high = ax.get_ylim()
    assert high - low < 0.6
    assert {"stopped", "stopped, off scale"} <= set(ax.get_legend_handles_labels()[1])
    only_stopped = getattr(plots_of(*stopped), kind)(*(["x"] if kind == "slice" else []))
    assert only_stopped.get_ylim()[1] > 80


def test_stopped_curves_do_not_compress_the_axis() -> None:
    points = SPACE.sample(np.random.default_rng(0), 6)
    trials = [
        Trial(i, p, State.STOPPED if i else State.COMPLETED, (0.1,)) for i, p in enumerate(points)
    ]
    runs = [Run(f"r{i}", i) for i in range(6)]
    reports = [
        (f"r{i}", Report(step, {"value": (1e3 if i else 0.1) / (step + 1)}))
        for i in range(6)
        for step in range(3)
    ]
    ax = Plots(SPACE, [Goal()], lambda: trials, lambda: runs, lambda: reports).learning_curves()
    assert ax.get_ylim()[1] < 1


@pytest.mark.parametrize("direction", list(Direction))
@pytest.mark.parametrize("kind", ["parallel_coordinates", "contour", "rank", "edf"])
def test_an_infeasible_trial_is_not_drawn_as_the_best(kind: str, direction: Direction) -> None:
    points = SPACE.sample(np.random.default_rng(0), 20)
    trials = [
        Trial(
            i, p, State.COMPLETED, (direction.sign * p["x"],),
            constraints={"c": 1.0 if p["x"] < 0.5 else 0.0},
        )
        for i, p in enumerate(points)
    ]  # fmt: skip
    plots = Plots(SPACE, [Goal("value", direction)], lambda: trials)
    best = min((t for t in trials if t.feasible), key=lambda t: t.params["x"])
    ax = getattr(plots, kind)()
    if kind == "edf":
        assert ax.get_legend_handles_labels()[1] == [
            f"{sum(t.feasible for t in trials)} of 20 trials"
        ]
        return
    (line,) = (line for line in ax.lines if line.get_label().startswith("best"))
    if kind == "parallel_coordinates":
        assert line.get_label() == f"best, trial {best.number}"
        assert line.get_ydata()[0] == best.params["x"]
    else:
        at = dict(zip(("x", "y"), (line.get_xdata()[0], line.get_ydata()[0]), strict=True))
        names = {ax.get_xlabel(): at["x"], ax.get_ylabel(): at["y"]}
        assert names["x"] == best.params["x"]
    assert "infeasible" in ax.get_legend_handles_labels()[1]


@pytest.mark.parametrize("kind", ["contour", "rank"])
def test_infeasible_trials_alone_are_drawn_without_a_text_on_them(kind: str) -> None:
    points = SPACE.sample(np.random.default_rng(0), 8)
    trials = [
        Trial(i, p, State.COMPLETED, (p["x"],), constraints={"c": 1.0})
        for i, p in enumerate(points)
    ]
    ax = getattr(Plots(SPACE, [Goal()], lambda: trials), kind)()
    assert not ax.texts
    assert ax.get_legend_handles_labels()[1] == ["infeasible"]


# --- names ----------------------------------------------------------------------------------------


def test_seventeen_nested_parameters_have_an_axis_and_a_name_each() -> None:
    points = NESTED.sample(np.random.default_rng(0), 40)
    trials = [Trial(i, p, State.COMPLETED, (float(i),)) for i, p in enumerate(points)]
    ax = Plots(NESTED, [Goal()], lambda: trials).parallel_coordinates()
    names = [tick.get_text() for tick in ax.get_xticklabels()]
    assert len(NESTED.columns) == 17
    assert len(names) == len(set(names)) == 18
    assert ax.get_xlabel() == ""


@pytest.mark.parametrize(
    "names",
    [
        ["model.boosting_a.max_depth", "model.boosting_b.max_depth", "model.forest.max_depth"],
        ["a" * 100 + "1" + "b" * 100, "a" * 100 + "2" + "b" * 100],
        ["prefix." * 20 + "x", "prefix." * 21 + "x"],
        ["x" * 50, "x" * 60, "x"],
    ],
)
@pytest.mark.parametrize("width", [8, 18, 40])
def test_different_names_have_different_labels(names: list[str], width: int) -> None:
    for shorten in (distinct, path_names, lambda n, w: spread_labels(n, 9, w)):
        assert len(set(shorten(names, width))) == len(names)


def test_equal_names_are_labeled_in_finite_time() -> None:
    assert distinct(["1", "1"], 8) == ["1", "1"]
    assert len(distinct(["y" * 90, "y" * 90], 8)) == 2


# --- fronts ---------------------------------------------------------------------------------------


def test_a_front_of_three_goals_shows_the_third_as_color() -> None:
    goals = (Goal("cost"), Goal("gain", Direction.MAXIMIZE), Goal("size"))
    values = [(1.0, 1.0, 5.0), (2.0, 0.5, 1.0), (3.0, 0.2, 6.0)]
    trials = [Trial(i, {"x": 0, "y": 0}, State.COMPLETED, v) for i, v in enumerate(values)]
    plots = Plots(SPACE, goals, lambda: trials)
    ax = plots.pareto_front()
    bar = ax.get_figure().axes[1]
    assert bar.get_ylabel() == "size (minimize)"
    (front,) = (c for c in ax.collections if c.get_label() == "on the front")
    assert front.get_array().tolist() == [1, 0], "fractions of the axis of the sizes"
    assert ax.get_title(loc="left") == "Pareto front of 3 goals"
    by_cost = plots.pareto_front(goal="cost")
    assert (by_cost.get_xlabel(), by_cost.get_ylabel()) == ("gain (maximize)", "size (minimize)")
    assert by_cost.get_figure().axes[1].get_ylabel() == "cost (minimize)"
    by_index = plots.pareto_front(2, 0)
    assert (by_index.get_xlabel(), by_index.get_ylabel()) == ("size (minimize)", "cost (minimize)")


def test_a_diverged_goal_does_not_compress_the_front() -> None:
    goals = (Goal("cost"), Goal("size"))
    values = [(float(i), 30.0 - i) for i in range(30)] + [(1e12, 50.0)]
    trials = [Trial(i, {"x": 0, "y": 0}, State.COMPLETED, v) for i, v in enumerate(values)]
    ax = Plots(SPACE, goals, lambda: trials).pareto_front()
    assert ax.get_xlim()[1] < 100
    assert "completed, off scale" in ax.get_legend_handles_labels()[1]
