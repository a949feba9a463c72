"""The feasible region of a space with constraints: test and sample points as rows.

Sampling is rejection sampling, so points are independent and follow the priors. If few random
points are feasible, columns with linear constraints are drawn from `proposals` instead, which cover
the feasible set closely. A branch whose parameters are drawn so keeps its probability.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tuner.errors import SpaceError
from tuner.search_spaces.evaluation import Feasibility
from tuner.search_spaces.expressions import Expression
from tuner.search_spaces.linear import LinearRule, conjuncts, linear_rule
from tuner.search_spaces.points import Column, activity
from tuner.search_spaces.priors import SpacePrior
from tuner.search_spaces.proposals import (
    Proposal,
    SumBounds,
    sorted_proposal,
    sum_proposal,
    tree_proposal,
)
from tuner.search_spaces.values import Array

BATCH = 1_000
"""Number of points per batch in rejection sampling."""

MAX_EMPTY_BATCHES = 1_000
"""Number of consecutive batches without a feasible point after which sampling fails."""

N_TRIED = 10_000
"""Number of random points by which the feasible share is estimated."""

N_HALVINGS = 30
"""Number of bisection steps for each parameter in `nearest_row`."""

COMMON = 1 / 16
"""Feasible share of random points from which plain rejection sampling is fast enough."""


class Region:
    """The points of a space that satisfy its constraints.

    Parameters
    ----------
    columns
        The columns of the space.
    constraints
        The constraints, at least one.
    prior
        The joint prior of the columns.
    """

    def __init__(
        self, columns: Sequence[Column], constraints: Sequence[Expression], prior: SpacePrior
    ) -> None:
        self._columns, self._constraints, self._prior = columns, constraints, prior
        self._feasibility = Feasibility(columns, constraints)

    def contains(self, X: Array, active: NDArray[np.bool_] | None = None) -> NDArray[np.bool_]:
        """Return the mask of the feasible rows of `X` (n, d)."""
        return self._feasibility(X, activity(self._columns, X) if active is None else active)

    def sample(self, rng: np.random.Generator, n: int) -> Array:
        """Draw `n` independent feasible rows, shape (n, d), that follow the prior.

        Raises
        ------
        SpaceError
            If a million consecutive points violate the constraints.
        """
        parts: list[Array] = []
        found = empty = 0
        size = min(BATCH, max(8, 2 * n))
        while found < n:
            if self.proposals:
                size = min(BATCH, 8 + int((n - found) / max(self._share, 1e-3)))
            rows = self._draw(rng, size)
            rows = rows[self.contains(rows)]
            parts.append(rows)
            found += len(rows)
            empty = 0 if len(rows) else empty + 1
            size = BATCH
            if empty >= MAX_EMPTY_BATCHES:
                rules = " and ".join(repr(str(c)) for c in self._constraints)
                raise SpaceError(
                    f"search space: none of {MAX_EMPTY_BATCHES * BATCH} random points satisfies "
                    f"{rules}; narrow the domains to the feasible region"
                )
        return np.concatenate(parts)[:n] if parts else np.zeros((0, len(self._columns)))

    @property
    def empty(self) -> bool:
        """Whether no feasible point was found among `N_TRIED` random points and the proposals."""
        return self._share == 0.0

    @cached_property
    def proposals(self) -> tuple[Proposal, ...]:
        """The distributions that replace uniform columns; none if feasible points are common."""
        if self._plain_share >= COMMON:
            return ()
        return tuple(_disjoint(self._candidates()))

    @cached_property
    def _plain_share(self) -> float:
        """The feasible share of random points."""
        return self._estimate(())

    @cached_property
    def _share(self) -> float:
        """The feasible share of the points that are drawn."""
        return self._estimate(self.proposals) if self.proposals else self._plain_share

    def _estimate(self, proposals: tuple[Proposal, ...]) -> float:
        """Return the feasible share, by as few batches as a share of `COMMON` needs."""
        rng = np.random.default_rng(0)
        found = tried = 0
        while tried < N_TRIED and found < BATCH * COMMON:
            found += int(self.contains(self._draw_with(proposals, rng, BATCH)).sum())
            tried += BATCH
        return found / tried

    def _draw(self, rng: np.random.Generator, n: int) -> Array:
        return self._draw_with(self.proposals, rng, n)

    def _draw_with(
        self, proposals: tuple[Proposal, ...], rng: np.random.Generator, n: int
    ) -> Array:
        rows = rng.random((n, len(self._columns)))
        for proposal in proposals:
            rows[:, proposal.columns] = proposal.draw(rng, n)
        return self._prior.places(rows)

    def _in_one_branch(self, bounds: SumBounds) -> bool:
        """Return whether all columns of a sum are active in the same points."""
        return len({self._columns[j].parents for j in bounds.weights}) == 1

    def _candidates(self) -> Iterable[Proposal]:
        """Yield proposals for the bounded sums, and for the trees of bounded pairs."""
        index = {column.path: j for j, column in enumerate(self._columns)}
        domains = {j: self._columns[j].domain for j in index.values()}
        sums: dict[tuple[tuple[int, Fraction], ...], SumBounds] = {}
        for part in conjuncts(self._constraints):
            rule = linear_rule(part)
            bounds = None if rule is None else _bounds(rule, index)
            if bounds is not None and self._in_one_branch(bounds):
                key = tuple(sorted(bounds.weights.items()))
                sums[key] = bounds.within(sums[key]) if key in sums else bounds
        own = {next(iter(b.weights)): b for b in sums.values() if len(b.weights) == 1}
        made: list[Proposal | None] = []
        pairs = [bounds for bounds in sums.values() if len(bounds.weights) == 2]
        for bounds in sums.values():
            found = sum_proposal(domains, bounds, own) if len(bounds.weights) > 1 else None
            if found is not None:
                made += [found, sorted_proposal(domains, found, bounds, pairs, own)]
        made += [tree_proposal(domains, group, pairs, own) for group in _groups(pairs, own)]
        return [proposal for proposal in made if proposal is not None]


def _bounds(rule: LinearRule, index: dict[str, int]) -> SumBounds | None:
    """Return a rule as bounds of a sum whose first weight is 1; None if it does not bound."""
    weights = {path: weight for path, weight in rule.total.weights.items() if weight}
    if not weights or rule.operation == "!=" or not weights.keys() <= index.keys():
        return None
    first = next(iter(sorted((index[path], weight) for path, weight in weights.items())))[1]
    limit = -rule.total.constant / first
    scaled = {index[path]: weight / first for path, weight in weights.items()}
    above = rule.operation in (">=", ">") if first > 0 else rule.operation in ("<=", "<")
    if rule.operation == "==":
        return SumBounds(scaled, limit, limit)
    return SumBounds(scaled, low=limit) if above else SumBounds(scaled, high=limit)


def _groups(pairs: Sequence[SumBounds], own: Iterable[int]) -> list[list[int]]:
    """Return the columns that pairs connect, as one list for each connected set."""
    sets: list[set[int]] = [{j} for j in own]
    for pair in pairs:
        linked = [s for s in sets if s & pair.weights.keys()]
        sets = [s for s in sets if s not in linked]
        sets.append(set(pair.weights).union(*linked))
    return [sorted(s) for s in sets]


def _disjoint(proposals: Iterable[Proposal]) -> Iterable[Proposal]:
    """Select proposals for different columns, those that exclude most first."""
    taken: set[int] = set()
    for proposal in sorted(proposals, key=lambda p: p.mass):
        if 0 < proposal.mass < 1 and taken.isdisjoint(proposal.columns):
            taken.update(proposal.columns)
            yield proposal


def nearest_row(
    X: Array, goal: Array, listed: NDArray[np.bool_], is_feasible: Callable[[Array], bool]
) -> Array:
    """Return a feasible row near a goal.

    An unordered parameter keeps the option of the goal if a feasible row has it. Each other
    parameter is as near to the goal as the constraints allow, given the parameters before it.

    Parameters
    ----------
    X
        Feasible rows to start from, shape (n, d).
    goal
        The row to approach, shape (d,).
    listed
        Whether the options of each column are unordered, shape (d,).
    is_feasible
        Returns whether a row is feasible.
    """
    away = np.where(listed, goal != X, np.abs(X - goal)).sum(axis=1)
    row: Array = X[away.argmin()]

    def moved(j: int, value: float) -> Array | None:
        trial = row.copy()
        trial[j] = value
        return trial if is_feasible(trial) else None

    for j, target in enumerate(goal):
        if (whole := moved(j, target)) is not None:
            row = whole
            continue
        near, far = row[j], target
        for _ in range(0 if listed[j] else N_HALVINGS):
            if (part := moved(j, (near + far) / 2)) is not None:
                row, near = part, part[j]
            else:
                far = (near + far) / 2
    return row
