"""Which trials are best, where there may be several goals, constraints and early stops."""

from __future__ import annotations

import numpy as np

from tuner.optimizers.embedding import Bools, Floats
from tuner.optimizers.history import History
from tuner.optimizers.pareto import Places, hypervolume_subset, ranks


def best_first(history: History, count: int) -> Places:
    """Return the places of the `count` best told trials that have a value, the best first.

    Completed, feasible trials come first: by their value, the earlier of equals, or with several
    goals by the number of their front (Deb et al. 2002, NSGA-II, section III.A) and, of the last
    front that has room, those that cover most hypervolume (Ozaki et al. 2020, "Multiobjective
    tree-structured Parzen estimator", section 4.2). Then come those that break constraints, by how
    much (Deb et al. 2002, section VI). A stopped trial comes after all completed ones: it was
    stopped because it did badly, though an early value of it may look good.
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
    """Return the `count` of `rows` whose losses are lowest, the earlier of equals.

    Examples
    --------
    >>> lowest(np.array([2.0, 1.0, 3.0, 2.0]), np.array([0, 1, 2, 3]), 2).tolist()
    [1, 0]
    """
    if count < len(rows):  # in linear time, as all the others need no order
        bar = np.partition(losses[rows], count)[count]
        rows = rows[losses[rows] <= bar]
    return np.asarray(rows[np.argsort(losses[rows], kind="stable")[:count]])


def reference_point(values: Floats) -> Floats:
    """Return a corner somewhat worse than all `values` (n, g), shape (g,)."""
    low, high = values.min(axis=0), values.max(axis=0)
    return np.asarray(high + 0.1 * np.where(high > low, high - low, 1.0))


def feasible(history: History) -> Bools:
    """Return which told trials have a final value and keep the constraints, shape (n,)."""
    return np.asarray(~history.failed & ~history.stopped & (history.violation == 0.0))


def _best_of_fronts(values: Floats, count: int) -> Places:
    """Return `count` rows of `values` (n, g): whole fronts, then what covers most of the last."""
    rank = ranks(values, count)
    order = np.argsort(rank, kind="stable")
    if count >= len(values):
        return order
    last = rank[order[count - 1]]
    whole = order[rank[order] < last]
    split = np.flatnonzero(rank == last)
    subset = hypervolume_subset(values[split], reference_point(values), count - len(whole))
    return np.concatenate([whole, split[subset]])
