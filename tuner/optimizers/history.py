"""The trials of a study as arrays, and state derived from them, updated incrementally."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from tuner.records import Params
from tuner.search_spaces import Space


@dataclass(frozen=True, slots=True)
class HistoryRow:
    """One told trial of a `History`, with the fields of its row.

    Attributes
    ----------
    x, active, constraints
        Shape (d,), (d,) and (c,).
    values
        Shape (g,): the values of the goals, lower is better; NaN without a value.
    stopped
        Whether the trial was stopped early.
    """

    x: NDArray[np.float64]
    active: NDArray[np.bool_]
    values: NDArray[np.float64]
    stopped: bool
    constraints: NDArray[np.float64]

    @property
    def loss(self) -> float:
        """The value of the first goal; NaN without a value."""
        return float(self.values[0])


@dataclass(frozen=True, slots=True)
class History:
    """The observed and pending trials of a study, as arrays.

    Attributes
    ----------
    X, active
        The told trials by number, shape (n, d), as encoded by `Space.encode`.
    values
        Shape (n, g): the values of the goals, lower is better; NaN if a trial failed or was
        stopped without a value.
    stopped
        Shape (n,): whether the trial was stopped early, so its values are intermediate.
    constraints
        Shape (n, c): the values of the outcome constraints, in alphabetical order of their names;
        at most 0 if satisfied, NaN if the trial lacks this constraint.
    pending_X, pending_active
        The trials without an outcome, shape (m, d).
    """

    X: NDArray[np.float64]
    active: NDArray[np.bool_]
    values: NDArray[np.float64]
    stopped: NDArray[np.bool_]
    constraints: NDArray[np.float64]
    pending_X: NDArray[np.float64]
    pending_active: NDArray[np.bool_]

    @property
    def size(self) -> int:
        """The number of told trials."""
        return len(self.values)

    @property
    def losses(self) -> NDArray[np.float64]:
        """The values of the first goal, shape (n,)."""
        return self.values[:, 0]

    @property
    def failed(self) -> NDArray[np.bool_]:
        """Whether each told trial lacks a value, shape (n,)."""
        return np.asarray(np.isnan(self.values).any(axis=1))

    @property
    def violation(self) -> NDArray[np.float64]:
        """The total constraint violation of each trial, shape (n,); 0 if it is feasible."""
        return np.asarray(np.nansum(np.maximum(self.constraints, 0.0), axis=1))

    @property
    def n_seen(self) -> int:
        """The number of told and pending trials."""
        return len(self.values) + len(self.pending_X)

    @property
    def known(self) -> int:
        """The name of `n_seen` in tuner 0.1."""
        return self.n_seen

    def row(self, k: int) -> HistoryRow:
        """Return told trial `k` in the order of trial numbers, from 0."""
        return HistoryRow(
            self.X[k], self.active[k], self.values[k], bool(self.stopped[k]), self.constraints[k]
        )

    def common_rows(self, other: History) -> int:
        """Return the number of leading told trials that two histories share, in O(n d)."""
        n = min(self.size, other.size)
        if n == 0 or self.constraints.shape[1] != other.constraints.shape[1]:
            return 0
        same = np.ones(n, dtype=bool)
        for name in ("X", "active", "values", "stopped", "constraints"):
            one, two = getattr(self, name)[:n], getattr(other, name)[:n]
            equal = (one == two) | ((one != one) & (two != two))  # NaN equals NaN
            same &= equal.reshape(n, -1).all(axis=1)
        return n if same.all() else int(np.argmin(same))


@dataclass(frozen=True, slots=True)
class Observation:
    """The outcome of one trial; see `History` for the meaning of the fields."""

    params: Params
    values: Sequence[float]
    stopped: bool = False
    constraints: Mapping[str, float] = field(default_factory=dict)


class TrialTable:
    """The told trials, sorted by number, as growing arrays.

    Each trial is encoded once, when `history` is next called. Trials that arrive in the order of
    their numbers, the usual case, are appended in amortized constant time. Apart from a copy of the
    values, the cost of `history` does not depend on the number of trials.
    """

    def __init__(self, space: Space, goals: int = 1) -> None:
        self._space = space
        self._told: set[int] = set()
        self._new: dict[int, Observation] = {}
        self._names: list[str] = []
        X, active = space.encode([])
        # Rows of the numbers, X, active, values, stopped and constraints; `_n` are in use.
        self._rows = [
            np.zeros(0, dtype=int), X, active, np.zeros((0, goals)), np.zeros(0, dtype=bool),
            np.zeros((0, 0)),
        ]  # fmt: skip
        self._n = 0

    def __len__(self) -> int:
        return len(self._told)

    def __contains__(self, number: int) -> bool:
        return number in self._told

    def add(self, number: int, told: Observation) -> None:
        """Add a trial, or replace the outcome of an existing one."""
        if number in self._told and number not in self._new:
            self._name(told.constraints)
            row = np.searchsorted(self._rows[0][: self._n], number)
            for kept, new in zip(self._rows[3:], self._outcomes([told]), strict=True):
                kept[row] = new[0]
            return
        if number in self._new:
            told = replace(told, params=self._new[number].params)
        self._told.add(number)
        self._new[number] = told

    def history(self, pending: Sequence[Params]) -> History:
        """Return the history with the given `pending` points."""
        if self._new:
            self._take_in_new()
        _, X, active, values, stopped, constraints = (kept[: self._n] for kept in self._rows)
        X.flags.writeable = active.flags.writeable = False
        pending_X, pending_active = self._space.encode(pending)
        by_name = sorted(range(len(self._names)), key=self._names.__getitem__)
        return History(
            X=X,
            active=active,
            values=values.copy(),  # `add` can replace them later
            stopped=stopped.copy(),
            constraints=constraints[:, by_name],
            pending_X=pending_X,
            pending_active=pending_active,
        )

    def _take_in_new(self) -> None:
        numbers = np.array(sorted(self._new))
        told = [self._new[number] for number in numbers.tolist()]
        self._new.clear()
        for one in told:
            self._name(one.constraints)
        X, active = self._space.encode([one.params for one in told])
        new = [numbers, X, active, *self._outcomes(told)]
        old, end = self._rows[0], self._n + len(numbers)
        if self._n and numbers[0] < old[self._n - 1]:
            order = np.argsort(np.concatenate([old[: self._n], numbers]))
            self._rows = [
                np.concatenate([kept[: self._n], rows])[order]
                for kept, rows in zip(self._rows, new, strict=True)
            ]
        else:
            if end > len(old):  # doubling gives amortized constant cost per trial
                self._rows = [np.concatenate([k, np.zeros_like(k), r]) for k, r in
                              zip(self._rows, new, strict=True)]  # fmt: skip
            for kept, rows in zip(self._rows, new, strict=True):
                kept[self._n : end] = rows
        self._n = end

    def _name(self, constraints: Mapping[str, float]) -> None:
        """Add a column for each new constraint."""
        new = [name for name in constraints if name not in self._names]
        if new:
            self._names += new
            kept = self._rows[5]
            self._rows[5] = np.hstack([kept, np.full((len(kept), len(new)), np.nan)])

    def _outcomes(self, told: Sequence[Observation]) -> list[Any]:
        """Return the rows of values, stopped and constraints."""
        return [
            np.array([one.values for one in told], dtype=float),
            np.array([one.stopped for one in told], dtype=bool),
            np.array(
                [[one.constraints.get(name, np.nan) for name in self._names] for one in told],
                dtype=float,
            ).reshape(len(told), len(self._names)),
        ]


State = TypeVar("State")

RECENT = 256
"""Number of rows before the last one whose states are kept."""


class DerivedState(Generic[State]):
    """A fold over the rows of a history that computes each state once.

    The state after row k is ``update(state after row k - 1, row k)``. If rows change in the past,
    because a late outcome arrives or an outcome is replaced, the states after the first changed
    row are dropped. The result therefore equals the result of a fold over the whole history.

    Parameters
    ----------
    initial
        Returns the state of an empty history.
    update
        Returns the state after one more row, and leaves the given state unchanged.

    Examples
    --------
    >>> from tuner.optimizers.history import Observation, TrialTable
    >>> from tuner.search_spaces import Float, Space
    >>> best = DerivedState(lambda: float("inf"), lambda state, row: min(state, row.loss))
    >>> table = TrialTable(Space({"x": Float(0, 1)}))
    >>> table.add(0, Observation({"x": 0.5}, [2.0]))
    >>> best.at(table.history([]))
    2.0
    """

    def __init__(
        self, initial: Callable[[], State], update: Callable[[State, HistoryRow], State]
    ) -> None:
        self._initial, self._update = initial, update
        self._states: deque[tuple[int, State]] = deque(maxlen=RECENT)
        self._seen: History | None = None

    def at(self, history: History) -> State:
        """Return the state after all rows of `history`."""
        unchanged = self._seen.common_rows(history) if self._seen else 0
        while self._states and self._states[-1][0] > unchanged:
            self._states.pop()
        done, state = self._states[-1] if self._states else (0, self._initial())
        for k in range(done, history.size):
            state = self._update(state, history.row(k))
            self._states.append((k + 1, state))
        self._seen = history
        return state
