"""Random search with a Sobol start."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import ClassVar

import numpy as np

from tuner.optimizers.base import History, SpaceOptimizer
from tuner.records import Params, Trial


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
    independent: ClassVar[bool] = True

    def suggest(self, history: History, rng: np.random.Generator) -> Params:
        """Return the next Sobol point, or a uniform one."""
        return self._point(history.size + len(history.pending_X), rng)

    def ask(self, n: int, pending: Sequence[Trial] = ()) -> list[Params]:
        """Return `n` points; the history is looked at only where points can run out."""
        taken: set[Hashable] = {self.space.key(trial.params) for trial in pending}
        points: list[Params] = []
        first = len(self._told) + len(pending)
        for k in range(first, first + n):
            rng = np.random.default_rng([self.seed, k])
            point = self._untried(self._point(k, rng), taken, rng)
            taken.add(self.space.key(point))
            points.append(point)
        return points

    def _point(self, k: int, rng: np.random.Generator) -> Params:
        point = self.design.point(k)
        if point is not None:
            return point
        sampled: Params = self.space.sample(rng)
        return sampled
