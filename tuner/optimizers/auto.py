"""Picks the optimizer by what the space is and how much is known."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tuner.optimizers.base import History, SpaceOptimizer
from tuner.optimizers.bayesian import BayesianOptimizer
from tuner.optimizers.random import RandomOptimizer
from tuner.optimizers.tpe import TPEOptimizer
from tuner.records import Params

MODEL_UP_TO = 200
"""Trials after which a suggestion of the Gaussian process costs more than it gains."""

MODEL_COLUMNS = 40
"""Columns up to which the Gaussian process is trusted."""


class AutoOptimizer(SpaceOptimizer):
    """Bayesian optimization while trials are few, TPE in large spaces and after 200 trials.

    A space of at most 16 points is tried at random, as a model has no time to learn. The choice
    depends on the space and on how many trials there are, so a study that is taken up again goes
    on as it would have; `describe` says what was chosen and why.
    """

    name = "auto"

    def __init__(self) -> None:
        self._random = RandomOptimizer()
        self._tpe = TPEOptimizer()
        self._bayesian = BayesianOptimizer()

    def reset(self, space: Any, goals: Any, seed: int) -> None:
        """Begin a study; see `Optimizer.reset`."""
        super().reset(space, goals, seed)
        for optimizer in (self._random, self._tpe, self._bayesian):
            optimizer.reset(space, goals, seed)

    def suggest(self, history: History, rng: np.random.Generator) -> Params:
        """Return what the chosen optimizer suggests."""
        chosen, _ = self._choice(history.size)
        return chosen.suggest(history, rng)

    def describe(self) -> dict[str, Any]:
        """Return the name, what it chose last and why."""
        if not hasattr(self, "space"):
            return {"name": self.name}
        chosen, why = self._choice(len(self._ledger))
        return {"name": self.name, "chose": chosen.name, "why": why}

    def _choice(self, told: int) -> tuple[SpaceOptimizer, str]:
        size, d = self.space.size, len(self.space.columns)
        if not math.isinf(size) and size <= 16:
            return self._random, f"the space has {int(size)} points: all of them can be tried"
        if d > MODEL_COLUMNS:
            return self._tpe, f"{d} columns are more than {MODEL_COLUMNS}"
        if told > MODEL_UP_TO:
            return self._tpe, f"{told} trials are more than {MODEL_UP_TO}"
        return self._bayesian, f"{d} columns and {told} trials: a model learns most from each"
