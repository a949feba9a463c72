"""Rank trials by their values, with several goals, constraints and early stopping."""

from __future__ import annotations

import numpy as np

from tuner.optimizers.bayesian.embedding import Bools, Floats
from tuner.optimizers.history import History
from tuner.optimizers.pareto import Places, hypervolume_subset, ranks


def best_first(history: History, count: int) -> Places:
    """Return the indices of the `count` best told trials with a value, best first.

    Completed, feasible trials come first, sorted by value; ties by number. With several goals, they
    are sorted by nondomination rank (Deb et al. 2002, NSGA-II, section III.A), and the last front
    is reduced to the trials that cover most hypervolume (Ozaki et al. 2020, "Multiobjective
    tree-structured Parzen estimator", section 4.2). Infeasible trials follow, sorted by total
    constraint violation (Deb et al. 2002, section VI). Stopped trials come after all completed
    trials: they were stopped for bad values, even if an early value looks good.
    """
    violation = history.violation
    known = ~history.failed
    order: list[Places] = []
    room = count
    for group in (
        known & ~history.stopped & (violation == 0.0),
        known & ~history.stopped & (violation > 0.0),
        known & history.stopped,
    ):
        rows = np.flatnonzero(group)
        if len(rows) and room > 0:
            if violation[rows].any():
                chosen = lowest(violation, rows, room)
            elif history.values.shape[1] == 1:
                chosen = lowest(history.losses, rows, room)
            else:
                chosen = rows[_best_of_fronts(history.values[rows], room)]
            order.append(chosen)
            room -= len(chosen)
    return np.concatenate([np.zeros(0, dtype=np.intp), *order])


def lowest(losses: Floats, rows: Places, count: int) -> Places:
    """Return the `count` of `rows` with the lowest losses, in ascending order; ties by position.

    Examples
    --------
    >>> lowest(np.array([2.0, 1.0, 3.0, 2.0]), np.array([0, 1, 2, 3]), 2).tolist()
    [1, 0]
    """
    if count < len(rows):  # linear time: the other rows need no sorting
        bar = np.partition(losses[rows], count)[count]
        rows = rows[losses[rows] <= bar]
    return np.asarray(rows[np.argsort(losses[rows], kind="stable")[:count]])


def reference_point(values: Floats) -> Floats:
    """Return a reference point 10% of the range beyond the worst of `values` (n, g), shape (g,)."""
    low, high = values.min(axis=0), values.max(axis=0)
    return np.asarray(high + 0.1 * np.where(high > low, high - low, 1.0))


def feasible(history: History) -> Bools:
    """Return a mask of the told trials with a final value and no violation, shape (n,)."""
    return np.asarray(~history.failed & ~history.stopped & (history.violation == 0.0))


def _best_of_fronts(values: Floats, count: int) -> Places:
    """Return `count` rows of `values` (n, g): whole fronts, then the best subset of the last."""
    rank = ranks(values, count)
    order = np.argsort(rank, kind="stable")
    if count >= len(values):
        return order
    last = rank[order[count - 1]]
    whole = order[rank[order] < last]
    split = np.flatnonzero(rank == last)
    subset = hypervolume_subset(values[split], reference_point(values), count - len(whole))
    return np.concatenate([whole, split[subset]])
