"""Points to try first that a study has not tried yet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from tuner.records import Params, Trial
from tuner.search_spaces import Space


def untried(space: Space, points: Sequence[Params], trials: Iterable[Trial]) -> list[Params]:
    """Return the points beyond those that the trials of a study have, in order.

    A point that is given twice is tried twice, so a call that is repeated adds nothing.

    Examples
    --------
    >>> from tuner.search_spaces import Int
    >>> space = Space({"x": Int(0, 9)})
    >>> untried(space, [{"x": 1}, {"x": 1}, {"x": 2}], [Trial(0, {"x": 1}), Trial(1, {"x": 5})])
    [{'x': 1}, {'x': 2}]
    """
    if not points:
        return []
    have = Counter(space.key(trial.params) for trial in trials)
    left: list[Params] = []
    for point in points:
        key = space.key(point)
        if have[key]:
            have[key] -= 1
        else:
            left.append(point)
    return left
