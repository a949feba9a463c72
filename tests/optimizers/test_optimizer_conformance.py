"""The conformance suite applied to every built-in optimizer."""

import pytest

from tuner.optimizers import (
    AutoOptimizer,
    BayesianOptimizer,
    GridOptimizer,
    OptunaOptimizer,
    RandomOptimizer,
    TPEOptimizer,
)
from tuner.testing import OptimizerConformance


class TestRandom(OptimizerConformance):
    centered = False
    learns = False

    def make(self):
        return RandomOptimizer()


class TestGrid(OptimizerConformance):
    centered = False
    ends = True
    learns = False
    seeded = False

    def make(self):
        return GridOptimizer(levels=25)


class TestTPE(OptimizerConformance):
    def make(self):
        return TPEOptimizer()


@pytest.mark.slow
class TestBayesian(OptimizerConformance):
    trials = 12
    regret = 1e-4

    def make(self):
        return BayesianOptimizer()


@pytest.mark.slow
class TestAuto(OptimizerConformance):
    trials = 11
    regret = 1e-4

    def make(self):
        return AutoOptimizer()


@pytest.mark.slow
class TestOptunaTPE(OptimizerConformance):
    centered = False

    def make(self):
        return OptunaOptimizer("TPESampler", multivariate=True)


class TestOptunaRandom(OptimizerConformance):
    centered = False
    learns = False

    def make(self):
        return OptunaOptimizer("RandomSampler")


class TestOptunaNSGAII(OptimizerConformance):
    centered = False
    learns = False  # slower than random search at first: a population is 50 trials
    rebuilds = False

    def make(self):
        return OptunaOptimizer("NSGAIISampler", population_size=5)


class TestOptunaQMC(OptimizerConformance):
    centered = False
    learns = False
    rebuilds = False  # the place in the sequence is kept beside the trials

    def make(self):
        return OptunaOptimizer("QMCSampler", scramble=True)
