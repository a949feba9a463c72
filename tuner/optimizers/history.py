"""The trials of a study as arrays, kept up trial by trial."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tuner.records import Params
from tuner.search_spaces import Space


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

    @property
    def failed(self) -> NDArray[np.bool_]:
        """Which told trials have no loss, shape (n,)."""
        return np.isnan(self.losses)

    @property
    def known(self) -> int:
        """How many trials have been told or are pending."""
        return len(self.losses) + len(self.pending_X)


class Ledger:
    """Told trials in the order of their numbers, however they came.

    Each trial is encoded once, and only when the history is looked at. Trials that come in the
    order of their numbers, as most do, are put behind the others; so a look costs the same however
    many there are, but for a copy of the losses.
    """

    def __init__(self, space: Space) -> None:
        self._space = space
        self._told: set[int] = set()
        self._new: dict[int, tuple[Params, float, bool]] = {}
        X, active = space.encode([])
        self._rows = [np.zeros(0, dtype=int), X, active, np.zeros(0), np.zeros(0, dtype=bool)]
        self._n = 0  # rows in use: of the numbers, X, active, losses, stopped

    def __len__(self) -> int:
        return len(self._told)

    def __contains__(self, number: int) -> bool:
        return number in self._told

    def add(self, number: int, params: Params, loss: float, stopped: bool) -> None:
        """Take in a trial; one that is there already gets the new loss."""
        if number in self._told and number not in self._new:
            numbers, _, _, losses, stops = self._rows
            row = np.searchsorted(numbers[: self._n], number)
            losses[row], stops[row] = loss, stopped
            return
        if number in self._new:
            params = self._new[number][0]
        self._told.add(number)
        self._new[number] = (params, loss, stopped)

    def history(self, pending: Sequence[Params]) -> History:
        """Return everything so far, and `pending` points."""
        if self._new:
            self._take_in_new()
        _, X, active, losses, stopped = (kept[: self._n] for kept in self._rows)
        X.flags.writeable = active.flags.writeable = False
        pending_X, pending_active = self._space.encode(pending)
        return History(
            X=X,
            active=active,
            losses=losses.copy(),  # they may be told anew
            stopped=stopped.copy(),
            pending_X=pending_X,
            pending_active=pending_active,
        )

    def _take_in_new(self) -> None:
        numbers = np.array(sorted(self._new))
        told = [self._new[number] for number in numbers.tolist()]
        self._new.clear()
        X, active = self._space.encode([params for params, _, _ in told])
        losses = np.array([loss for _, loss, _ in told], dtype=float)
        new = [numbers, X, active, losses, np.array([stopped for *_, stopped in told], dtype=bool)]
        old, end = self._rows[0], self._n + len(numbers)
        if self._n and numbers[0] < old[self._n - 1]:
            order = np.argsort(np.concatenate([old[: self._n], numbers]))
            self._rows = [
                np.concatenate([kept[: self._n], rows])[order]
                for kept, rows in zip(self._rows, new, strict=True)
            ]
        else:
            if end > len(old):  # double, so that growing costs little per trial
                self._rows = [np.concatenate([k, np.zeros_like(k), r]) for k, r in
                              zip(self._rows, new, strict=True)]  # fmt: skip
            for kept, rows in zip(self._rows, new, strict=True):
                kept[self._n : end] = rows
        self._n = end
