"""Pareto fronts and hypervolumes for any number of goals; lower is better.

A point dominates another if it is at least as good in all goals and better in one. The hypervolume
of a set is the volume that its points dominate within a reference point (Zitzler & Thiele 1998,
"Multiobjective optimization using evolutionary algorithms").
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tuner.errors import ArgumentError

__all__ = [
    "hypervolume",
    "hypervolume_contributions",
    "hypervolume_subset",
    "nondominated",
    "ranks",
]

Floats: TypeAlias = NDArray[np.float64]
Bools: TypeAlias = NDArray[np.bool_]
Places: TypeAlias = NDArray[np.intp]


def nondominated(values: ArrayLike) -> Bools:
    """Return a mask of the nondominated rows, shape (n,).

    Equal rows do not dominate each other, so all of them are kept. A row with a NaN is excluded
    and dominates no other row.

    Parameters
    ----------
    values
        One row per point, one column per goal, shape (n, g); lower is better.

    Examples
    --------
    >>> nondominated([[1.0, 2.0], [2.0, 1.0], [2.0, 2.0], [1.0, 2.0]]).tolist()
    [True, True, False, True]
    """
    values = _matrix(values)
    known = ~np.isnan(values).any(axis=1)
    unique, inverse = np.unique(values[known], axis=0, return_inverse=True)
    kept = np.zeros(len(values), dtype=bool)
    kept[known] = _front(unique)[inverse.reshape(-1)]
    return kept


def ranks(values: ArrayLike, enough: int | None = None) -> Places:
    """Return the nondomination rank of each row, shape (n,): 0 for nondominated rows.

    Front k consists of the rows that are nondominated after removing the earlier fronts (Deb et
    al. 2002, "A fast and elitist multiobjective genetic algorithm: NSGA-II", section III.A). Rows
    with a NaN share one rank, after all others.

    Parameters
    ----------
    values
        Shape (n, g); lower is better.
    enough
        Stop after ranking this many rows; the others get the next rank. None ranks all rows.

    Examples
    --------
    >>> ranks([[1.0, 2.0], [2.0, 1.0], [2.0, 2.0], [3.0, 3.0]]).tolist()
    [0, 0, 1, 2]
    """
    values = _matrix(values)
    rank = np.zeros(len(values), dtype=np.intp)
    known = np.flatnonzero(~np.isnan(values).any(axis=1))
    unique, inverse = np.unique(values[known], axis=0, return_inverse=True)
    inverse = inverse.reshape(-1)
    copies = np.bincount(inverse, minlength=len(unique))
    ranked = np.zeros(len(unique), dtype=np.intp)
    left, front, total = np.arange(len(unique)), 0, 0
    while left.size and (enough is None or total < enough):
        kept = _front(unique[left])
        ranked[left[kept]] = front
        total += int(copies[left[kept]].sum())
        left, front = left[~kept], front + 1
    ranked[left] = front
    rank[:] = front + (1 if left.size else 0)
    rank[known] = ranked[inverse]
    return rank


def hypervolume(values: ArrayLike, reference: ArrayLike) -> float:
    """Compute the exact hypervolume that the rows dominate within `reference`.

    Rows that are not better than the reference in every goal, and rows with a NaN, contribute
    nothing. Two goals use a sweep in O(n log n). Three goals use a sweep over the third with the
    staircase of the other two (Beume et al. 2009, "On the complexity of computing the hypervolume
    indicator"). More goals use the recursion of While et al. (2012), "A fast way of calculating
    exact hypervolumes".

    Parameters
    ----------
    values
        Shape (n, g); lower is better.
    reference
        Shape (g,), finite.

    Raises
    ------
    ArgumentError
        If the shapes do not match or the reference is not finite.

    Examples
    --------
    >>> hypervolume([[1.0, 2.0], [2.0, 1.0]], [3.0, 3.0])
    3.0
    """
    points, corner = _checked(values, reference)
    inside = points[(points < corner).all(axis=1)]  # excludes rows with NaN
    if not len(inside):
        return 0.0
    if np.isneginf(inside).any():
        return float("inf")
    unique = np.unique(inside, axis=0)
    return _volume(unique[_front(unique)], corner)


def hypervolume_contributions(values: ArrayLike, reference: ArrayLike) -> Floats:
    """Return the exclusive hypervolume contribution of each row, shape (n,).

    It is 0 for a row that is dominated, duplicated or outside the reference point.

    Parameters
    ----------
    values, reference
        See `hypervolume`.

    Examples
    --------
    >>> hypervolume_contributions([[1.0, 2.0], [2.0, 1.0], [2.0, 2.0]], [3.0, 3.0]).tolist()
    [1.0, 1.0, 0.0]
    """
    points, corner = _checked(values, reference)
    added = np.zeros(len(points))
    inside = np.flatnonzero((points < corner).all(axis=1))
    unique, first, copies = np.unique(points[inside], axis=0, return_index=True, return_counts=True)
    front = np.flatnonzero(_front(unique))
    alone = copies[front] == 1
    added[inside[first[front[alone]]]] = _exclusive(unique, front, corner)[alone]
    return added


def hypervolume_subset(values: ArrayLike, reference: ArrayLike, count: int) -> Places:
    """Greedily select `count` rows with a large hypervolume; return their indices.

    Each step selects the row with the largest increase, which reaches at least 1 - 1/e of the
    optimal volume (Guerreiro et al. 2016, "Greedy hypervolume subset selection in low
    dimensions"). Rows without an increase come last, in their order.

    Parameters
    ----------
    values, reference
        See `hypervolume`.
    count
        The number of rows to select; at most n.

    Examples
    --------
    >>> hypervolume_subset([[0.0, 3.0], [1.0, 1.0], [3.0, 0.0]], [4.0, 4.0], 2).tolist()
    [1, 0]
    """
    points, corner = _checked(values, reference)
    # The increase of a row never rises as others are selected, so an old value is an upper bound
    # (Minoux 1978).
    bound = np.prod(np.fmax(corner - points, 0.0), axis=1)
    bound[~(points < corner).all(axis=1)] = 0.0
    chosen: list[int] = []
    fresh = np.zeros(len(points), dtype=np.intp)
    while len(chosen) < min(count, len(points)):
        row = int(np.argmax(bound))
        if fresh[row] < len(chosen) and bound[row] > 0.0:
            limited = np.maximum(points[chosen], points[row])
            box = float(np.prod(corner - points[row]))
            bound[row] = max(box - hypervolume(limited, corner), 0.0)
            fresh[row] = len(chosen)
            continue
        chosen.append(row)
        bound[row] = -1.0
    return np.array(chosen, dtype=np.intp)


def _matrix(values: ArrayLike) -> Floats:
    array = np.asarray(values, dtype=float)
    if array.ndim != 2 or array.shape[1] < 1:
        raise ArgumentError(
            f"values has shape {array.shape}: it must be (n, g), one row per point and one column "
            f"per goal"
        )
    return array


def _checked(values: ArrayLike, reference: ArrayLike) -> tuple[Floats, Floats]:
    points, corner = _matrix(values), np.asarray(reference, dtype=float)
    if corner.shape != points.shape[1:] or not np.isfinite(corner).all():
        raise ArgumentError(
            f"reference={corner.tolist()} must be {points.shape[1]} finite numbers, one per "
            f"column of values"
        )
    return points, corner


def _front(rows: Floats) -> Bools:
    """Return a mask of the nondominated rows of distinct `rows` in lexicographic order."""
    if rows.shape[1] <= 2:
        last = rows[:, -1] if rows.shape[1] == 2 else np.arange(len(rows), dtype=float)
        before = np.minimum.accumulate(np.concatenate([[np.inf], last[:-1]]))
        kept = last < before
        kept[:1] = True  # also if it is infinite
        return np.asarray(kept)
    kept = np.zeros(len(rows), dtype=bool)
    left = np.arange(len(rows))
    while left.size:
        # Later rows cannot dominate the first row; it does not dominate rows that are better in
        # some goal.
        kept[left[0]] = True
        left = left[(rows[left] < rows[left[0]]).any(axis=1)]
    return kept


def _volume(front: Floats, reference: Floats) -> float:
    """Return the hypervolume of a front in lexicographic order, all within `reference`."""
    goals = front.shape[1]
    if len(front) == 1:
        return float(np.prod(reference - front[0]))
    if goals == 1:
        return float(reference[0] - front[0, 0])
    if goals == 2:  # a staircase: the second goal decreases as the first increases
        upper = np.concatenate([reference[1:], front[:-1, 1]])
        return float((reference[0] - front[:, 0]) @ (upper - front[:, 1]))
    if goals == 3:
        return _volume_of_three(front, reference)
    # Rows are sorted by the first goal, so the rows before a row, limited to it, lie in a plane at
    # its first value, and the recursion has one goal less.
    return sum(
        float(reference[0] - row[0]) * _exclusive_area(row[1:], front[:i, 1:], reference[1:])
        for i, row in enumerate(front)
    )


def _exclusive_area(row: Floats, others: Floats, reference: Floats) -> float:
    """Return the volume within `reference` that `row` dominates and `others` do not."""
    box = float(np.prod(reference - row))
    if not len(others):
        return box
    limited = np.unique(np.maximum(others, row), axis=0)
    return box - _volume(limited[_front(limited)], reference)


def _volume_of_three(front: Floats, reference: Floats) -> float:
    corner_x, corner_y, corner_z = (float(value) for value in reference)
    xs = [-np.inf, corner_x]  # the staircase of the first two goals: x rises, y falls
    ys = [corner_y, -np.inf]
    area = volume = 0.0
    height = 0.0
    for x, y, z in front[np.argsort(front[:, 2], kind="stable")].tolist():
        volume += area * (z - height) if area else 0.0
        height = z
        start = bisect_left(xs, x)
        if ys[bisect_right(xs, x) - 1] <= y:
            continue  # dominated by the staircase
        end = start
        while ys[end] >= y:
            end += 1
        # The new area lies below the steps from `start` to `end`.
        left, top = x, ys[start - 1]
        for k in range(start, end):
            area += (xs[k] - left) * (top - y)
            left, top = xs[k], ys[k]
        area += (xs[end] - left) * (top - y)
        xs[start:end], ys[start:end] = [x], [y]
    return volume + area * (corner_z - height)


def _exclusive(unique: Floats, front: Places, corner: Floats) -> Floats:
    """Return the exclusive contribution of each row of the `front` of distinct, sorted rows."""
    if unique.shape[1] == 2 and len(front) == len(unique):
        right = np.concatenate([unique[1:, 0], corner[:1]])
        upper = np.concatenate([corner[1:], unique[:-1, 1]])
        return np.asarray((right - unique[:, 0]) * (upper - unique[:, 1]))
    return np.array(
        [max(_exclusive_area(unique[i], np.delete(unique, i, axis=0), corner), 0.0) for i in front]
    )
