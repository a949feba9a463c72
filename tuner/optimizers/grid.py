"""Grid search: every point of a finite space once, in order."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Sequence
from copy import deepcopy
from typing import Any, ClassVar

from tuner.errors import ArgumentError
from tuner.records import Goal, Outcome, Params, Trial
from tuner.search_spaces import Space


class GridOptimizer:
    """Every point of the grid of a space once, the last parameter varying fastest.

    When all points were suggested, the search ends. Without `n_trials`, a search tries the whole
    grid. The order depends on the space alone, so a resumed study continues where it ended, and
    points that were already tried, such as the defaults, are left out.

    Parameters
    ----------
    levels
        Number of evenly spaced values of each continuous parameter. None refuses such parameters.

    Raises
    ------
    ArgumentError
        If `levels` is not a positive integer.

    Examples
    --------
    >>> from tuner.search_spaces import Choice, Int
    >>> search = GridOptimizer()
    >>> search.reset(Space({"kind": Choice("a", "b"), "n": Int(1, 2)}), [Goal()], seed=0)
    >>> [tuple(point.values()) for point in search.ask(9)]
    [('a', 1), ('a', 2), ('b', 1), ('b', 2)]
    """

    name: ClassVar[str] = "grid"
    history_free: ClassVar[bool] = True
    multi_objective: ClassVar[bool] = True
    ends: ClassVar[bool] = True
    """`ask` returns fewer points once all were suggested; the search then ends."""

    def __init__(self, levels: int | None = None) -> None:
        is_count = isinstance(levels, int) and not isinstance(levels, bool) and levels > 0
        if levels is not None and not is_count:
            raise ArgumentError(f"levels={levels!r}: write a positive integer, or None")
        self.levels = levels

    def reset(self, space: Space, goals: Sequence[Goal], seed: int) -> None:  # noqa: ARG002
        """Start a study with an empty history; see `Optimizer.reset`.

        Raises
        ------
        ArgumentError
            If a parameter is continuous and `levels` is None.
        """
        for column in space.columns if self.levels is None else ():
            if math.isinf(column.domain.size):
                raise ArgumentError(
                    f"optimizer='grid': {column.path!r} is {column.domain!r}, which has infinitely "
                    f"many values; give it a step, list its values as in Ordinal(0.1, 1.0, 10.0), "
                    f"or write optimizer=GridOptimizer(levels=5)"
                )
        self.space = space
        self._rest = self._enumerated()
        self._open: list[tuple[Hashable, Params]] = []
        self._tried: set[Hashable] = set()

    def tell(self, trial: Trial, outcome: Outcome) -> None:  # noqa: ARG002
        """Record that a point was tried; the outcome has no effect."""
        self._tried.add(self.space.key(trial.params))

    def ask(self, n: int, pending: Sequence[Trial] = ()) -> list[Params]:
        """Return the next `n` points, or fewer at the end of the grid."""
        taken = {self.space.key(trial.params) for trial in pending}
        self._open = [entry for entry in self._open if entry[0] not in self._tried]
        points = [point for key, point in self._open if key not in taken][:n]
        while len(points) < n and (entry := next(self._rest, None)) is not None:
            if entry[0] in self._tried:
                continue
            self._open.append(entry)
            if entry[0] not in taken:
                points.append(entry[1])
        return deepcopy(points)

    def describe(self) -> dict[str, Any]:
        """Return the name and the options."""
        return {"name": self.name} | ({} if self.levels is None else {"levels": self.levels})

    def _enumerated(self) -> Iterator[tuple[Hashable, Params]]:
        """Yield the points that satisfy the constraints, with their keys."""
        for point in self.space.grid() if self.levels is None else self.space.grid(self.levels):
            yield self.space.key(point), point

    def __deepcopy__(self, memo: Any) -> GridOptimizer:
        """Return an optimizer with the same options; a generator cannot be copied."""
        return GridOptimizer(self.levels)

    def __reduce__(self) -> tuple[Any, ...]:
        return GridOptimizer, (self.levels,)
