"""Random search with a Sobol start."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Any, ClassVar

import numpy as np

from tuner.optimizers.base import History, SpaceOptimizer
from tuner.records import Params, Trial

BLOCK = 256
"""Uniform points drawn at once: a tenth of the time of drawing them one by one."""


class RandomOptimizer(SpaceOptimizer):
    """Independent points: the first 64 of a scrambled Sobol sequence, then uniform ones.

    The baseline, and the one to take where a trial costs milliseconds: as its points need no
    outcomes, workers never wait for them. A finite space is tried whole before anything repeats.

    Examples
    --------
    >>> from tuner.records import Goal
    >>> from tuner.search_spaces import Int, Space
    >>> search = RandomOptimizer()
    >>> search.reset(Space({"n": Int(1, 4)}), [Goal()], seed=0)
    >>> sorted(point["n"] for point in search.ask(4))
    [1, 2, 3, 4]
    """

    name = "random"
    history_free: ClassVar[bool] = True
    multi_objective: ClassVar[bool] = True

    def reset(self, space: Any, goals: Any, seed: int) -> None:
        """Begin a study with an empty history; see `Optimizer.reset`."""
        super().reset(space, goals, seed)
        self._block: tuple[int, list[Params]] = (-1, [])
        self._pending: dict[int, Any] = {}

    def suggest(self, history: History, rng: np.random.Generator) -> Params:  # noqa: ARG002
        """Return the point that belongs to this number of trials."""
        return self._point(history.known)

    def ask(self, n: int, pending: Sequence[Trial] = ()) -> list[Params]:
        """Return `n` points, without a look at the history."""
        # Many are handed out ahead, so most of these were pending the last time, too.
        before, key = self._pending, self.space.key
        self._pending = {
            t.number: before[t.number] if t.number in before else key(t.params) for t in pending
        }
        self._taken = set(self._pending.values())
        first = len(self._table) + len(pending)
        return [self._fresh(k) for k in range(first, first + n)]

    def _fresh(self, k: int) -> Params:
        point = self._point(k)
        if self.is_repeat(point):
            return self.replaced(point, np.random.default_rng([self.seed, k]))
        self._taken.add(self.space.key(point))
        return point

    def _point(self, k: int) -> Params:
        point = self.design.point(k)
        if point is not None:
            return point
        number, place = divmod(k, BLOCK)
        if self._block[0] != number:
            rng = np.random.default_rng([self.seed, number, BLOCK])
            self._block = number, self.space.sample(rng, BLOCK)
        return deepcopy(self._block[1][place])
