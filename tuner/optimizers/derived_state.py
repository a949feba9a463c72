"""State derived from a history, updated incrementally."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from tuner.optimizers.history import History, HistoryRow

State = TypeVar("State")

RECENT = 256
"""Number of rows before the last one whose states are kept."""


class DerivedState(Generic[State]):
    """A fold over the rows of a history that computes each state once.

    The state after row k is ``update(state after row k - 1, row k)``. If rows change in the past,
    because a late outcome arrives or an outcome is replaced, the states after the first changed
    row are dropped. The result is therefore the same as that of a fold over the whole history.

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
