"""Bayesian optimization that starts from a study of the same space on other data.

The old values are not values of the new objective, so its model never sees them. They guide where
it looks first: the acquisition function is multiplied by a density that falls where the old losses
are high, to a power that decreases with the number of new trials.
"""

from __future__ import annotations

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
"""Number of old trials below which they have no model, and their best points only are used."""

SHARE = 0.1
"""Share of the space that counts as equally good on the old data."""

STRENGTH = 10.0
"""Exponent of the density at the first trial, and number of trials after which it is 1."""


@dataclass(frozen=True, slots=True)
class OldLosses:
    """The log of a density that is constant where the old losses are low, and falls elsewhere.

    Attributes
    ----------
    model : GaussianProcess
        The model of the standardized old losses.
    least : float
        Losses below this one count as equal, since the best point moves with the data.
    exponent : float
        The power of the density (compare piBO, Hvarfner et al. 2022, eq. 6).
    """

    model: GaussianProcess
    least: float
    exponent: float

    def __call__(self, X: Floats, active: Bools) -> Floats:
        """Return the values at `X` (m, d), shape (m,)."""
        return -self.exponent * np.maximum(self.model.mean(X, active), self.least)

    def with_gradient(self, X: Floats, active: Bools) -> tuple[Floats, Floats]:
        """Return the values, shape (m,), and their gradients, shape (m, d), at `X` (m, d)."""
        mean, _, slope, _ = self.model.predict_with_gradient(X, active)
        falls = (mean > self.least)[:, None]
        return -self.exponent * np.maximum(mean, self.least), -self.exponent * slope * falls


class TransferOptimizer(BayesianOptimizer):
    """Bayesian optimization, guided by trials that were measured on other data.

    Trials with negative numbers, as `warm_start` gives them, are the old ones. The first two
    suggestions are their best points. Without old trials, it is `BayesianOptimizer`.
    `tuner.retune` uses it.

    Parameters
    ----------
    noise
        As for `BayesianOptimizer`.

    Examples
    --------
    >>> from tuner.records import Goal, Outcome, State, Trial
    >>> from tuner.search_spaces import Float, Space
    >>> search = TransferOptimizer()
    >>> search.reset(Space({"x": Float(0, 1)}), [Goal()], seed=0)
    >>> for number in range(-9, 0):
    ...     x = -number / 10
    ...     outcome = Outcome(State.COMPLETED, {"value": (x - 0.3) ** 2})
    ...     search.tell(Trial(number, {"x": x}), outcome)
    >>> search.ask(1)
    [{'x': 0.3}]
    """

    name = "transfer"
    multi_objective: ClassVar[bool] = False

    def __init__(self, *, noise: float | None = None) -> None:
        super().__init__(noise=noise)

    def reset(self, space: Space, goals: Sequence[Goal], seed: int) -> None:
        """Start a study with an empty history; see `Optimizer.reset`."""
        super().reset(space, goals, seed)
        self._old: dict[int, tuple[float, Params]] = {}
        self._density: tuple[GaussianProcess, float] | None = None

    def tell(self, trial: Trial, outcome: Outcome) -> None:
        """Record an outcome, or a trial that was measured on other data; see `Optimizer.tell`."""
        if trial.number >= 0:
            super().tell(trial, outcome)
            return
        (loss,) = self.losses(outcome)
        if np.isfinite(loss):
            self._old[trial.number] = loss, trial.params
            self._density = None

    def suggest(self, history: History, rng: np.random.Generator) -> Params:
        """Return the best old points, later the best untried point under the model."""
        if np.sum(~history.failed) + len(history.pending_X) < 2:
            for k in sorted(self._old, key=lambda k: (self._old[k][0], k)):
                if not self.is_repeat(self._old[k][1]):
                    return self._old[k][1]
        return super().suggest(history, rng)

    @property
    def _startup(self) -> int:
        return 0 if len(self._old) >= FEWEST_OLD else super()._startup

    def _acquisition(
        self, history: History, values: Floats, fitted: FittedModels
    ) -> tuple[Acquisition, tuple[Floats, Bools]]:
        found, leaders = super()._acquisition(history, values, fitted)
        if len(self._old) < FEWEST_OLD:
            return found, leaders
        if self._density is None:
            self._density = self._learned()
        model, least = self._density
        return Product([found, OldLosses(model, least, STRENGTH / history.n_seen)]), leaders

    def _learned(self) -> tuple[GaussianProcess, float]:
        """Return the model of the old losses, and the loss below which they count as equal."""
        rows = [self._old[k] for k in sorted(self._old)]
        losses = np.array([loss for loss, _ in rows])
        X, active = self.space.encode([params for _, params in rows])
        embedding = self._cube.embedding
        model = loss_model(learn(embedding, X, active, losses), embedding, X, active, losses)
        X, active, feasible = self._cube.snap(self._cube.spread(np.random.default_rng(0), 500))
        return model, float(np.quantile(model.mean(X[feasible], active[feasible]), SHARE))
