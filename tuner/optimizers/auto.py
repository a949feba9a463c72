"""Select the optimizer by the size of the space and the number of trials."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tuner.optimizers.base import SpaceOptimizer
from tuner.optimizers.bayesian.optimizer import BayesianOptimizer, as_noise
from tuner.optimizers.random import RandomOptimizer
from tuner.optimizers.tpe import TPEOptimizer
from tuner.records import Goal, Outcome, Params, Trial
from tuner.search_spaces import Space

FEW_POINTS = 16
"""Maximum size of a space that is enumerated."""

MODEL_COLUMNS = 200
"""Maximum number of columns for the Gaussian process."""

MODEL_TRIALS = 1_000
"""Number of trials after which a suggestion of the Gaussian process costs more than it gains."""


class AutoOptimizer:
    """Bayesian optimization for up to 1,000 trials; TPE for large spaces and long searches.

    - A space of at most 16 points is enumerated.
    - A space of more than 200 parameters is searched by TPE.
    - All other spaces are searched by Bayesian optimization for 1,000 trials, then by TPE.

    The choice depends only on the space and on the number of told trials, so a resumed study
    continues as if uninterrupted. `describe` returns the choice and its reason.

    Parameters
    ----------
    noise
        Standard deviation of a value of the first goal, in its units, if it is known; 0 for none.
        None learns it from the values. `Study.winner` uses the same number.

    Examples
    --------
    >>> from tuner.search_spaces import Float, Space
    >>> search = AutoOptimizer()
    >>> search.reset(Space({"x": Float(0, 1)}), [Goal()], seed=0)
    >>> search.describe()["chose"]
    'bayesian'
    """

    name = "auto"

    def __init__(self, *, noise: float | None = None) -> None:
        self.noise = as_noise(noise)
        self._members: dict[str, SpaceOptimizer] = {}

    def reset(self, space: Space, goals: Sequence[Goal], seed: int) -> None:
        """Start a study with an empty history; see `Optimizer.reset`."""
        self._first, self._why = _choice(space)
        self._told: set[int] = set()
        chosen = self._made()
        self._members = {member.name: member for member in chosen}
        for member in chosen:
            member.reset(space, goals, seed)

    def tell(self, trial: Trial, outcome: Outcome) -> None:
        """Record an outcome; see `Optimizer.tell`."""
        self._told.add(trial.number)
        for member in self._members.values():
            member.tell(trial, outcome)

    def ask(self, n: int, pending: Sequence[Trial] = ()) -> list[Params]:
        """Return the suggestions of the chosen optimizer; see `Optimizer.ask`."""
        return self._members[self._chosen].ask(n, pending)

    def describe(self) -> dict[str, Any]:
        """Return the name, the current choice and its reason."""
        options = {"name": self.name} | ({} if self.noise is None else {"noise": self.noise})
        if not self._members:
            return options
        why = self._why
        if self._chosen != self._first:
            why = f"{len(self._told)} trials: a Gaussian process would take too long"
        return options | {"chose": self._chosen, "why": why}

    def _made(self) -> list[SpaceOptimizer]:
        if self._first == "random":
            return [RandomOptimizer()]
        if self._first == "tpe":
            return [TPEOptimizer()]
        return [BayesianOptimizer(noise=self.noise), TPEOptimizer()]

    @property
    def _chosen(self) -> str:
        late = self._first == "bayesian" and len(self._told) >= MODEL_TRIALS
        return "tpe" if late else self._first


def _choice(space: Space) -> tuple[str, str]:
    """Return the name of the first optimizer and the reason for it."""
    if space.size <= FEW_POINTS:
        return "random", f"the space has only {int(space.size)} points: all can be tried"
    d = len(space.columns)
    if d > MODEL_COLUMNS:
        return "tpe", f"{d} parameters: more than {MODEL_COLUMNS}"
    return "bayesian", f"{d} parameters: a Gaussian process needs the fewest trials"
