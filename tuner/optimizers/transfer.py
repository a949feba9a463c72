"""Bayesian optimization that starts from a study of the same space on other data.

The old values are not those of the new objective, so they never enter its model. They guide where
the model looks first: the acquisition function is multiplied by a density that is high where the
old losses are low, to a power that decreases with the number of new trials.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tuner.optimizers.base import History
from tuner.optimizers.bayesian.acquisition import Acquisition, Product
from tuner.optimizers.bayesian.embedding import Bools, Floats
from tuner.optimizers.bayesian.gaussian_process import GaussianProcess
from tuner.optimizers.bayesian.optimizer import BayesianOptimizer, FittedModels
from tuner.optimizers.bayesian.surrogate import learn, loss_model
from tuner.records import Goal, Outcome, Params, Trial
from tuner.search_spaces import Space

FEWEST_OLD = 4
"""Number of old trials below which they tell nothing but their best point."""


@dataclass(frozen=True, slots=True)
class OldLosses:
    """The log of a density that decreases with the losses of an old study.

    The density is ``exp(-weight * loss)`` with the standardized loss that the model of the old
    study expects (compare piBO, Hvarfner et al. 2022, eq. 6).
    """

    model: GaussianProcess
    weight: float
    least: float

    def __call__(self, X: Floats, active: Bools) -> Floats:
        """Return the values at `X` (m, d), shape (m,)."""
        return -self.weight * np.maximum(self.model.mean(X, active), self.least)

    def with_gradient(self, X: Floats, active: Bools) -> tuple[Floats, Floats]:
        """Return the values, shape (m,), and their gradients, shape (m, d), at `X` (m, d)."""
        mean, _, slope, _ = self.model.predict_with_gradient(X, active)
        worse = mean > self.least
        return -self.weight * np.maximum(mean, self.least), -self.weight * slope * worse[:, None]


class TransferOptimizer(BayesianOptimizer):
    name = "transfer"
    multi_objective: ClassVar[bool] = False

    def __init__(self, *, noise: float | None = None, beta: float = 5.0, share: float = 0.2) -> None:
        super().__init__(noise=noise)
        self.beta, self.share = beta, share

    def reset(self, space: Space, goals: Sequence[Goal], seed: int) -> None:
        super().reset(space, goals, seed)
        self._old: dict[int, tuple[Params, float]] = {}
        self._old_model: GaussianProcess | None = None

    def tell(self, trial: Trial, outcome: Outcome) -> None:
        if trial.number >= 0:
            super().tell(trial, outcome)
            return
        goal = self.goals[0]
        self._old[trial.number] = trial.params, goal.direction.sign * outcome.metrics[goal.metric]
        self._old_model = None

    @property
    def _startup(self) -> int:
        return 0 if len(self._old) >= FEWEST_OLD else super()._startup

    def suggest(self, history: History, rng: np.random.Generator) -> Params:
        if self._old and history.size + len(history.pending_X) == 0:
            return min(self._old.items(), key=lambda t: (t[1][1], t[0]))[1][0]
        if len(self._old) >= FEWEST_OLD and np.sum(~history.failed) < 2:
            # rank old points by model, take the next
            ranked = sorted(self._old.items(), key=lambda t: (t[1][1], t[0]))
            for _, (p, _) in ranked:
                if not self.is_repeat(p):
                    return p
        return super().suggest(history, rng)

    def _acquisition(self, history: History, values: Floats, fitted: FittedModels):
        found, leaders = super()._acquisition(history, values, fitted)
        if len(self._old) < FEWEST_OLD:
            return found, leaders
        model = self._model_of_old()
        return Product([found, OldLosses(model, self.beta / history.n_seen, self._least)]), leaders

    def _model_of_old(self) -> GaussianProcess:
        if self._old_model is None:
            rows = [self._old[k] for k in sorted(self._old)]
            X, active = self.space.encode([params for params, _ in rows])
            losses = np.array([loss for _, loss in rows])
            learned = learn(self._cube.embedding, X, active, losses)
            self._old_model = loss_model(learned, self._cube.embedding, X, active, losses)
            Y, on, ok = self._cube.snap(self._cube.spread(np.random.default_rng(0), 500))
            self._least = (
                float(np.quantile(self._old_model.mean(Y[ok], on[ok]), self.share))
                if self.share
                else -np.inf
            )
        return self._old_model
