"""Move candidate rows into the feasible region of a space with constraints."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tuner.search_spaces import Bool, Choice, Const, Space

Floats = NDArray[np.float64]

SHARES = (1 / 2, 1 / 4, 1 / 8, 1 / 16)
"""Shares of the way from a feasible point that are tried, largest first."""

MAX_RANDOM = 32
"""Maximum number of rows that are replaced by random feasible points."""


def move_inside(space: Space, rows: Floats, origins: Floats, rng: np.random.Generator) -> Floats:
    """Return rows that satisfy the constraints, close to `rows`.

    An infeasible row moves towards its feasible origin, half of the way or more. If none of the
    points on the way is feasible, a random feasible point replaces it, for up to `MAX_RANDOM` rows;
    further ones are left out. Rows of a space without constraints are unchanged.

    Parameters
    ----------
    space
        The space of the rows.
    rows, origins
        Rows of the unit cube, shape (m, d).
    rng
        The source of the random points.

    Examples
    --------
    >>> from tuner.search_spaces import Float
    >>> space = Space({"a": Float(0, 1), "b": Float(0, 1)}).where("a + b <= 1")
    >>> rng = np.random.default_rng(0)
    >>> move_inside(space, np.array([[0.9, 0.7]]), np.array([[0.1, 0.5]]), rng).round(2).tolist()
    [[0.3, 0.55]]
    """
    if not space.constraints:
        return rows
    outside = np.flatnonzero(~space.feasible_rows(rows))
    if not len(outside):
        return rows
    moved = rows.copy()
    start, end = origins[outside], rows[outside]
    unordered = np.array([isinstance(c.domain, Choice | Bool | Const) for c in space.columns])
    ways = np.where(unordered, 0.0, end - start)
    near = np.stack([start + share * ways for share in SHARES])
    inside = space.feasible_rows(near.reshape(-1, rows.shape[1])).reshape(len(SHARES), -1)
    moved[outside] = near[inside.argmax(axis=0), np.arange(len(outside))]
    places = space.snap(np.concatenate([moved[outside], start]))[0]
    arrived = (places[: len(outside)] == places[len(outside) :]).all(axis=1)
    lost = outside[~inside.any(axis=0) | arrived]
    new = lost[:MAX_RANDOM]
    if len(new):
        moved[new] = space.sample_rows(rng, len(new))
    return np.delete(moved, lost[MAX_RANDOM:], axis=0)
