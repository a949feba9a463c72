"""A new optimizer is one short class; the one here passes the whole conformance suite."""

import inspect
import re

import numpy as np
import pytest

from tuner.errors import ArgumentError
from tuner.optimizers import SpaceOptimizer
from tuner.records import Goal
from tuner.search_spaces import Choice, Float, Space
from tuner.testing import OptimizerConformance


class HillClimb(SpaceOptimizer):
    """Takes random steps of decreasing length from the best point."""

    name = "hill-climb"

    def __init__(self, startup=8, shrink=0.9):
        self.startup = startup
        self.shrink = shrink

    def suggest(self, history, rng):
        if history.size < self.startup or history.failed.all():
            return self.start(history, rng)
        best = int(np.nanargmin(history.losses))
        X, active = history.X[best], history.active[best]
        width = max(0.3 * self.shrink ** (history.size - self.startup), 0.01)
        steps = rng.normal(0.0, width, (20, len(X)))
        rows = np.where(active, np.clip(X + steps, 0.0, 1.0), rng.random((20, len(X))))
        jumps = rng.random(rows.shape) < 0.1  # or a category would never change
        for point in self.space.decode(np.where(jumps, rng.random(rows.shape), rows)):
            if self.space.feasible(point) and not self.is_repeat(point):
                return point
        return self.space.sample(rng)


class TestHillClimb(OptimizerConformance):
    def make(self):
        return HillClimb()


def test_the_example_optimizer_is_short():
    assert len(inspect.getsource(HillClimb).splitlines()) < 200


SPACE = Space({"x": Float(0.0, 1.0), "m": Choice(a={}, b={"y": Float(0.0, 1.0)})})


@pytest.mark.parametrize(
    "value", [None, [0.5, 0.5], {"x": 0.5}, {"x": 0.5, "m": "b"}, {"x": 0.5, "m": ("c", {})}]
)
def test_a_suggestion_that_is_not_a_point_is_reported_with_the_optimizer_and_the_value(value):
    class Broken(SpaceOptimizer):
        name = "broken"

        def suggest(self, history, rng):
            return value

    optimizer = Broken()
    optimizer.reset(SPACE, [Goal()], 0)
    message = f"optimizer='broken': suggest() returned {value!r}, which is not a point"
    with pytest.raises(ArgumentError, match=re.escape(message)):
        optimizer.ask(1)


def test_the_suite_detects_an_update_that_modifies_the_given_state():
    class InPlace(HillClimb):
        def initial_state(self):
            return np.zeros(len(self.space.columns))

        def update(self, state, row):
            state += row.x
            return state.copy()

        def suggest(self, history, rng):
            self.state(history)
            return super().suggest(history, rng)

    class Suite(OptimizerConformance):
        def make(self):
            return InPlace()

    with pytest.raises(AssertionError, match="modified its argument"):
        Suite().test_update_leaves_the_given_state_unchanged()
