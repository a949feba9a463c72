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

    Each trial is encoded once, and only when the history is looked at.
    """

    def __init__(self, space: Space) -> None:
        self._space = space
        self._rows: dict[int, int] = {}
        self._new: list[Params] = []
        self._losses: list[float] = []
        self._stopped: list[bool] = []
        self._X, self._active = space.encode([])
        self._encoded = 0

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, number: int) -> bool:
        return number in self._rows

    def add(self, number: int, params: Params, loss: float, stopped: bool) -> None:
        """Take in a trial; one that is there already gets the new loss."""
        if number in self._rows:
            row = self._rows[number]
            self._losses[row], self._stopped[row] = loss, stopped
            return
        self._rows[number] = len(self._losses)
        self._new.append(params)
        self._losses.append(loss)
        self._stopped.append(stopped)

    def history(self, pending: Sequence[Params]) -> History:
        """Return everything so far, and `pending` points."""
        self._encode_new()
        n = len(self._losses)
        order = np.fromiter((self._rows[number] for number in sorted(self._rows)), int, n)
        pending_X, pending_active = self._space.encode(pending)
        return History(
            X=self._X[:n][order],
            active=self._active[:n][order],
            losses=np.array(self._losses, dtype=float)[order],
            stopped=np.array(self._stopped, dtype=bool)[order],
            pending_X=pending_X,
            pending_active=pending_active,
        )

    def _encode_new(self) -> None:
        X, active = self._space.encode(self._new)
        end = self._encoded + len(X)
        if end > len(self._X):  # double, so that growing costs little per trial
            spare = np.zeros((end, X.shape[1]))
            self._X = np.concatenate([self._X, spare])
            self._active = np.concatenate([self._active, spare.astype(bool)])
        self._X[self._encoded : end] = X
        self._active[self._encoded : end] = active
        self._encoded = end
        self._new.clear()
