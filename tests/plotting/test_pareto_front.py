"""The content of the plot of a Pareto front."""

from __future__ import annotations

import numpy as np
import pytest

from tuner.errors import ArgumentError
from tuner.plotting import Plots
from tuner.records import Direction, Goal, State, Trial
from tuner.search_spaces import Float, Space

GOALS = (Goal("cost"), Goal("gain", Direction.MAXIMIZE), Goal("size"))


def plots(values, goals=2, constraints=None):
    trials = [
        Trial(
            k, {"x": 0.5}, State.COMPLETED, tuple(row), constraints=(constraints or {}).get(k, {})
        )
        for k, row in enumerate(values)
    ]
    return Plots(Space({"x": Float(0, 1)}), GOALS[:goals], lambda: trials)


def shown(ax):
    """Return the points of each label."""
    return {c.get_label(): np.asarray(c.get_offsets()).tolist() for c in ax.collections}


def test_the_front_has_the_nondominated_trials():
    ax = plots([[1.0, 1.0], [2.0, 3.0], [2.0, 2.0], [0.5, 0.0]]).pareto_front()
    points = shown(ax)
    assert points["on the front"] == [[1.0, 1.0], [2.0, 3.0], [0.5, 0.0]]
    assert points["completed"] == [[2.0, 2.0]]
    assert ax.get_xlabel() == "cost (minimize)"
    assert ax.get_ylabel() == "gain (maximize)"
    (steps,) = ax.lines
    assert steps.get_xdata().tolist() == [0.5, 1.0, 2.0]


def test_infeasible_trials_are_hollow_and_not_on_the_front():
    points = shown(plots([[1.0, 1.0], [0.5, 9.0]], constraints={1: {"c": 1.0}}).pareto_front())
    assert points["on the front"] == [[1.0, 1.0]]
    assert points["infeasible"] == [[0.5, 9.0]]


def test_two_of_three_goals_can_be_chosen():
    three = plots([[1.0, 1.0, 5.0], [2.0, 0.5, 1.0]], goals=3)
    assert shown(three.pareto_front("size"))["on the front"] == [[5.0, 1.0], [1.0, 2.0]]
    assert shown(three.pareto_front(y="cost"))["on the front"] == [[1.0, 1.0], [0.5, 2.0]]
    assert not three.pareto_front().lines
    with pytest.raises(ArgumentError, match="'speed' must be a goal: one of cost, gain, size"):
        three.pareto_front("speed")


def test_without_completed_trials_a_message_is_shown(tmp_path):
    ax = plots([]).pareto_front(save=tmp_path / "front.png")
    assert "no completed trial yet" in [text.get_text() for text in ax.texts]
    assert (tmp_path / "front.png").exists()
    alone = plots([[1.0]], goals=1).pareto_front()
    assert "a best trial, not a front" in alone.texts[0].get_text()
