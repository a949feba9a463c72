"""The base class of the built-in optimizers: it implements the protocol around one method."""

from __future__ import annotations

import inspect
import math
from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from tuner.errors import ArgumentError, InvalidParams
from tuner.optimizers.history import DerivedState, History, HistoryRow, Observation, TrialTable
from tuner.optimizers.sobol import SobolDesign
from tuner.records import Goal, Outcome, Params, State, Trial
from tuner.search_spaces import Space
from tuner.search_spaces.values import shown

__all__ = ["History", "HistoryRow", "SpaceOptimizer"]

ENUMERABLE = 100_000
"""Maximum size of a finite space that is enumerated to find an untried point."""

TRIES = 200
"""Number of random points drawn to replace a repeated point."""


class SpaceOptimizer(ABC):
    """Maintains the history of one study as arrays and calls `suggest` for one point at a time.

    A new optimizer defines `name` and `suggest`. This class implements the contract of the
    protocol: the same seed and history give the same points in any order of `tell`, ``ask(n)`` is
    n times ``ask(1)``, and no point is suggested twice while untried points are left.

    Examples
    --------
    >>> from tuner.search_spaces import Float, Space
    >>> class NearTheBest(SpaceOptimizer):
    ...     name = "near-the-best"
    ...     def suggest(self, history, rng):
    ...         if history.size < 3:
    ...             return self.start(history, rng)
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
    history_free: ClassVar[bool] = False
    """Whether suggestions do not depend on outcomes, so they can be made ahead."""
    multi_objective: ClassVar[bool] = False
    """Whether the optimizer searches for the Pareto front of several goals; else it accepts one."""

    space: Space
    goals: tuple[Goal, ...]
    seed: int
    design: SobolDesign

    def __init_subclass__(cls, **options: Any) -> None:
        """Map the names that tuner 0.1 documented for user-defined optimizers to the new names."""
        super().__init_subclass__(**options)
        for former, name in (("independent", "history_free"), ("many_goals", "multi_objective")):
            if former in cls.__dict__:
                setattr(cls, name, cls.__dict__[former])

    @abstractmethod
    def suggest(self, history: History, rng: np.random.Generator) -> Params:
        """Return one point of the space that satisfies the constraints.

        All randomness must come from `rng`, and all state from `history`; ``self.state(history)``
        returns state that is expensive to derive. The caller replaces a point that was already
        tried by a random untried one.
        """

    def initial_state(self) -> Any:
        """Return the derived state of an empty history; see `state`."""
        raise NotImplementedError(f"{type(self).__name__} defines no initial_state()")

    def update(self, state: Any, row: HistoryRow) -> Any:
        """Return the derived state after one more told trial; must not change `state`."""
        raise NotImplementedError(f"{type(self).__name__} defines no update()")

    def state(self, history: History) -> Any:
        """Return the derived state: `update` applied to each row of `history` in order.

        Each row is processed once. After a change in the past, such as a late outcome in a parallel
        search, only the rows from the change on are processed again. The state is never stored: a
        resumed study derives it from its trials. An optimizer that calls this method defines
        `initial_state` and `update`; both may use the space, the goals and the seed.

        Examples
        --------
        >>> from tuner.search_spaces import Float, Space
        >>> class NearTheMean(SpaceOptimizer):
        ...     name = "near-the-mean"
        ...     def initial_state(self):
        ...         return np.full(len(self.space.columns), 0.5)
        ...     def update(self, state, row):
        ...         return state if np.isnan(row.loss) else 0.9 * state + 0.1 * row.x
        ...     def suggest(self, history, rng):
        ...         near = rng.normal(self.state(history), 0.1).clip(0, 1)
        ...         return self.space.decode([near])[0]
        >>> search = NearTheMean()
        >>> search.reset(Space({"x": Float(0, 1)}), [Goal()], seed=1)
        >>> len(search.ask(2))
        2
        """
        return self._state.at(history)

    def start(self, history: History, rng: np.random.Generator) -> Params:
        """Return a start-up point: the next one of the Sobol sequence, then random points."""
        point = self.design.point(history.n_seen)
        return dict(self.space.sample(rng)) if point is None else point

    def reset(self, space: Space, goals: Sequence[Goal], seed: int) -> None:
        """Start a study with an empty history; see `Optimizer.reset`."""
        if len(goals) != 1 and not self.multi_objective:
            raise ArgumentError(
                f"optimizer={self.name!r} optimizes one metric, but the study has {len(goals)}: "
                f"{', '.join(g.metric for g in goals)}; use a multi-objective optimizer, or "
                f"return a weighted sum"
            )
        self.space, self.goals, self.seed = space, tuple(goals), seed
        self.design = SobolDesign(space, seed, centered=not self.history_free)
        self._table = TrialTable(space, len(goals))
        self._state = DerivedState(self.initial_state, self.update)
        self._tried: set[Hashable] = set()
        self._taken: set[Hashable] = set()
        self._listed: list[tuple[Hashable, Params]] | None = None

    def tell(self, trial: Trial, outcome: Outcome) -> None:
        """Record an outcome; see `Optimizer.tell`."""
        self._tried.add(self.space.key(trial.params))
        stopped = outcome.state is State.STOPPED
        told = Observation(trial.params, self.losses(outcome), stopped, outcome.constraints)
        self._table.add(trial.number, told)

    def losses(self, outcome: Outcome) -> list[float]:
        """Return the values of the goals, lower is better; all NaN if a value is missing."""
        values = [outcome.metrics.get(goal.metric, math.nan) for goal in self.goals]
        if outcome.state is State.FAILED or not all(map(math.isfinite, values)):
            return [math.nan] * len(values)
        return [g.direction.sign * v for g, v in zip(self.goals, values, strict=True)]

    def ask(self, n: int, pending: Sequence[Trial] = ()) -> list[Params]:
        """Return `n` points; see `Optimizer.ask`."""
        others = [trial.params for trial in sorted(pending, key=lambda t: t.number)]
        self._taken = set(map(self.space.key, others))
        points: list[Params] = []
        for _ in range(n):
            history = self._table.history(others)
            rng = np.random.default_rng([self.seed, history.n_seen])
            point = self.suggest(history, rng)
            try:
                points.append(self.replaced(point, rng))
            except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
                self._require_point(point, error)
                raise
            others.append(points[-1])
        return points

    def _require_point(self, point: Any, cause: Exception) -> None:
        """Raise if `suggest` returned a value that is not a point of the space."""
        try:
            self.space.validate(point)
        except InvalidParams as error:
            raise ArgumentError(
                f"optimizer={self.name!r}: suggest() returned {shown(point)}, which is not a point "
                f"of the space ({error}); return a dict such as self.space.sample(rng), or an item "
                f"of self.space.decode(rows)"
            ) from cause

    def describe(self) -> dict[str, Any]:
        """Return the name and the options, read from the attributes of the same names."""
        return {"name": self.name} | options_of(self)

    # --- repeated points ----------------------------------------------------------------------

    def is_repeat(self, point: Params) -> bool:
        """Return whether a point was told, is pending or was suggested in the same ask."""
        key = self.space.key(point)
        return key in self._tried or key in self._taken

    @property
    def exhausted(self) -> bool:
        """Whether every point of a finite space was tried or is pending."""
        tried = len(self._tried) + len(self._taken)  # an upper bound that is cheap to compute
        return self.space.size <= tried and self.space.size <= len(self._tried | self._taken)

    def replaced(self, point: Params, rng: np.random.Generator) -> Params:
        """Return `point`, or a random untried point if it is a repeat; mark it as taken."""
        if self.is_repeat(point) and not self.exhausted:
            point = self._new_point(rng) or point
        self._taken.add(self.space.key(point))
        return point

    def _new_point(self, rng: np.random.Generator) -> Params | None:
        for n in (8, TRIES - 8):  # a few points usually suffice
            for other in self.space.sample(rng, n):
                if not self.is_repeat(other):
                    return dict(other)
        if self.space.size > ENUMERABLE:
            return None
        left = self._left()
        return dict(left[rng.integers(len(left))]) if left else None

    def _left(self) -> list[Params]:
        """Return the untried points of a finite space, in the order of its grid."""
        listed = self._listed
        if listed is None:
            listed = [(self.space.key(point), point) for point in self.space.grid()]
        self._listed = [entry for entry in listed if entry[0] not in self._tried]
        return [point for key, point in self._listed if key not in self._taken]


def options_of(optimizer: object) -> dict[str, Any]:
    """Return the attributes named like the arguments of the constructor, as JSON values."""
    names = inspect.signature(type(optimizer)).parameters
    return {name: as_json(getattr(optimizer, name)) for name in names if hasattr(optimizer, name)}


def as_json(value: Any) -> Any:
    """Convert an option to a JSON value; other types become their ``repr``.

    Examples
    --------
    >>> as_json({"gamma": (0.1, None), "kind": complex(1, 2)})
    {'gamma': [0.1, None], 'kind': '(1+2j)'}
    """
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else repr(value)
    if isinstance(value, Mapping):
        return {str(k): as_json(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(v) for v in value]
    return repr(value)
