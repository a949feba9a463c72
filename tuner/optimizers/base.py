"""The base of optimizers that learn from arrays: one method to write, the rest is kept here."""

from __future__ import annotations

import bisect
import inspect
import math
from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from tuner.errors import ArgumentError
from tuner.optimizers.sobol import SobolDesign
from tuner.records import Goal, Outcome, Params, State, Trial
from tuner.search_spaces import Space

ENUMERABLE = 100_000
"""Finite spaces of up to this many points are searched for one that is left."""

TRIES = 200
"""Random points drawn in place of one that was tried already."""


@dataclass(frozen=True, slots=True)
class History:
    """What an optimizer may learn from, as arrays.

    Attributes
    ----------
    X, active
        The told trials by number, shape (n, d), as `Space.encode` gives them.
    losses
        Shape (n,): the first goal's values, lower is better; NaN where a trial failed or was
        stopped without a value.
    stopped
        Shape (n,): whether the loss is an early one, of a trial that was stopped.
    pending_X, pending_active
        The trials that have no outcome yet, shape (m, d).
    """

    X: NDArray[np.float64]
    active: NDArray[np.bool_]
    losses: NDArray[np.float64]
    stopped: NDArray[np.bool_]
    pending_X: NDArray[np.float64]
    pending_active: NDArray[np.bool_]

    @property
    def size(self) -> int:
        """How many trials have been told."""
        return len(self.losses)


class SpaceOptimizer(ABC):
    """Keeps the history of one study as arrays and asks `suggest` for one point at a time.

    A new optimizer is a class with `name` and `suggest`; what the protocol promises comes from
    here: the same seed and history give the same points in whatever order trials were told,
    ``ask(n)`` is n times ``ask(1)``, and nothing is suggested twice while something is left.

    Examples
    --------
    >>> from tuner.search_spaces import Float, Space
    >>> class NearTheBest(SpaceOptimizer):
    ...     name = "near-the-best"
    ...     def suggest(self, history, rng):
    ...         if history.size < 3:
    ...             return self.space.sample(rng)
    ...         best = history.X[np.nanargmin(history.losses)]
    ...         near = np.clip(best + rng.normal(0, 0.1, best.shape), 0, 1)
    ...         (point,) = self.space.decode([near])
    ...         return point if self.space.feasible(point) else self.space.sample(rng)
    >>> search = NearTheBest()
    >>> search.reset(Space({"x": Float(0, 1)}), [Goal()], seed=1)
    >>> [sorted(point) for point in search.ask(2)]
    [['x'], ['x']]
    """

    name: ClassVar[str]
    independent: ClassVar[bool] = False
    """Whether suggestions need no outcomes, so that they can be made ahead."""

    space: Space
    goals: tuple[Goal, ...]
    seed: int

    @abstractmethod
    def suggest(self, history: History, rng: np.random.Generator) -> Params:
        """Return one point of the space that satisfies the constraints.

        All randomness must come from `rng`, and nothing may be kept that `history` does not say.
        """

    def reset(self, space: Space, goals: Sequence[Goal], seed: int) -> None:
        """Begin a study with an empty history; see `Optimizer.reset`."""
        if len(goals) != 1:
            raise ArgumentError(
                f"optimizer={self.name!r} optimizes one metric, the study has {len(goals)}: "
                f"{', '.join(g.metric for g in goals)}; return a weighted sum as one"
            )
        self.space, self.goals, self.seed = space, tuple(goals), seed
        self.design = SobolDesign(space, seed)
        self._numbers: list[int] = []
        self._told: dict[int, tuple[Params, float, bool]] = {}
        self._rows: dict[int, tuple[NDArray[np.float64], NDArray[np.bool_]]] = {}
        self._tried: dict[Hashable, int] = {}

    def tell(self, trial: Trial, outcome: Outcome) -> None:
        """Take in an outcome; see `Optimizer.tell`."""
        goal = self.goals[0]
        value = outcome.metrics.get(goal.metric, math.nan)
        loss = math.nan if outcome.state is State.FAILED else goal.direction.sign * value
        if trial.number not in self._told:
            bisect.insort(self._numbers, trial.number)
            key = self.space.key(trial.params)
            self._tried[key] = self._tried.get(key, 0) + 1
        self._rows.pop(trial.number, None)
        self._told[trial.number] = (trial.params, loss, outcome.state is State.STOPPED)

    def ask(self, n: int, pending: Sequence[Trial] = ()) -> list[Params]:
        """Return `n` points; see `Optimizer.ask`."""
        others = [trial.params for trial in sorted(pending, key=lambda t: t.number)]
        taken = {self.space.key(point) for point in others}
        points: list[Params] = []
        for _ in range(n):
            rng = np.random.default_rng([self.seed, len(self._told) + len(others)])
            point = self._untried(self.suggest(self._history(others), rng), taken, rng)
            taken.add(self.space.key(point))
            points.append(point)
            others.append(point)
        return points

    def describe(self) -> dict[str, Any]:
        """Return the name and the options, each kept under its own name by the constructor."""
        options = inspect.signature(type(self)).parameters
        return {"name": self.name} | {option: getattr(self, option) for option in options}

    def _history(self, pending: Sequence[Params]) -> History:
        self._encode_new()
        d = len(self.space.columns)
        rows = [self._rows[number] for number in self._numbers]
        told = [self._told[number] for number in self._numbers]
        pending_X, pending_active = self.space.encode(pending)
        return History(
            X=np.array([x for x, _ in rows]).reshape(-1, d),
            active=np.array([a for _, a in rows], dtype=bool).reshape(-1, d),
            losses=np.array([loss for _, loss, _ in told], dtype=float),
            stopped=np.array([stopped for *_, stopped in told], dtype=bool),
            pending_X=pending_X,
            pending_active=pending_active,
        )

    def _encode_new(self) -> None:
        new = [number for number in self._numbers if number not in self._rows]
        X, active = self.space.encode([self._told[number][0] for number in new])
        self._rows.update(zip(new, zip(X, active, strict=True), strict=True))

    # --- nothing twice ------------------------------------------------------------------------

    def _untried(self, point: Params, taken: set[Hashable], rng: np.random.Generator) -> Params:
        """Return `point`, or another one if it was tried already and something is left."""
        if self._is_new(point, taken):
            return point
        if self.space.size <= len(self._tried.keys() | taken):
            return point
        for other in self.space.sample(rng, TRIES):
            if self._is_new(other, taken):
                return dict(other)
        if self.space.size > ENUMERABLE:
            return point
        left = [p for p in self.space.grid() if self._is_new(p, taken)]
        return left[rng.integers(len(left))] if left else point

    def _is_new(self, point: Params, taken: set[Hashable]) -> bool:
        key = self.space.key(point)
        return key not in self._tried and key not in taken
