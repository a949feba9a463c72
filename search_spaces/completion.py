"""Complete declared defaults to a point that satisfies the constraints of a space."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tuner.errors import SpaceError
from tuner.search_spaces.categorical import Listed

if TYPE_CHECKING:
    from tuner.search_spaces.space import Params, Space

CANDIDATES = 200
"""Number of random points of which the nearest one is the start of the completion."""

HALVINGS = 30
"""Number of bisection steps for each parameter."""


def complete(space: Space, fixed: Mapping[str, Any]) -> Params | None:
    """Return a feasible point with fixed values, near the center in all other parameters.

    An unordered parameter keeps its first option if a feasible point has it. Each other parameter
    is as near to its central value as the constraints allow, given the parameters before it.

    Parameters
    ----------
    space
        The space, with constraints.
    fixed
        Values by path.

    Returns
    -------
    The point, or None if no point with these values is found.
    """
    try:
        rest = space.freeze(fixed)
        points = rest.sample(np.random.default_rng(0), CANDIDATES)
    except SpaceError:
        return None
    center = central(rest)
    listed = np.array([isinstance(column.domain, Listed) for column in rest.columns])
    (goal,), _ = rest.encode([center])
    X, _ = rest.encode(points)
    away = np.where(listed, goal != X, np.abs(X - goal)).sum(axis=1)
    return _pulled(rest, X[away.argmin()], goal, listed)


def central(space: Space) -> Params:
    """Return the point of the defaults, the first options and the central values."""
    flat = {}
    for column in space.columns:
        domain = column.domain
        first = domain.options[0] if isinstance(domain, Listed) else domain.middle
        flat[column.path] = first if domain.default is None else domain.default
    return space.unflatten(flat)


def _pulled(
    space: Space, row: NDArray[np.float64], goal: NDArray[np.float64], listed: NDArray[np.bool_]
) -> Params:
    """Move a feasible row of the unit cube towards a goal, column by column."""

    def moved(j: int, value: float) -> NDArray[np.float64] | None:
        trial = row.copy()
        trial[j] = value
        return trial if space.feasible(*space.decode([trial])) else None

    for j, target in enumerate(goal):
        if (whole := moved(j, target)) is not None:
            row = whole
            continue
        near, far = row[j], target
        for _ in range(0 if listed[j] else HALVINGS):
            if (part := moved(j, (near + far) / 2)) is not None:
                row, near = part, part[j]
            else:
                far = (near + far) / 2
    (point,) = space.decode([row])
    return point
