"""A new optimizer is one short class: this one goes through the whole suite."""

import inspect

import numpy as np

from tuner.optimizers import SpaceOptimizer
from tuner.testing import OptimizerConformance


class HillClimb(SpaceOptimizer):
    """Steps at random from the best point so far, shorter and shorter."""

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


def test_it_is_short():
    assert len(inspect.getsource(HillClimb).splitlines()) < 200
