"""Random search that starts with a Sobol sequence."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Any, ClassVar

import numpy as np

from tuner.optimizers.base import History, SpaceOptimizer
from tuner.records import Params, Trial

BLOCK = 256
"""Number of uniform points per batch; ten times faster than drawing them one by one."""


class RandomOptimizer(SpaceOptimizer):
    """Independent points: the first 64 points of a scrambled Sobol sequence, then uniform points.

    The baseline, and the best choice for trials that take milliseconds: its points do not depend
    on outcomes, so workers never wait. In a finite space, no point repeats before all were tried.

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
        """Start a study with an empty history; see `Optimizer.reset`."""
        super().reset(space, goals, seed)
        self._block: tuple[int, list[Params]] = (-1, [])
        self._pending: dict[int, Any] = {}

    def suggest(self, history: History, rng: np.random.Generator) -> Params:  # noqa: ARG002
        """Return the point with the index ``history.n_seen``."""
        return self._point(history.n_seen)

    def ask(self, n: int, pending: Sequence[Trial] = ()) -> list[Params]:
        """Return `n` points; the history is not used."""
        # Points are made ahead, so most pending trials were already pending in the last call.
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
