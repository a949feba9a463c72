"""Proposals for a bounded sum of parameters that are also in a given order."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from tuner.search_spaces.domains import Domain
from tuner.search_spaces.proposals import SumBounds, SumProposal
from tuner.search_spaces.values import Array


class SortedProposal:
    """Boxes of a sum whose columns are interchangeable, with the positions sorted.

    Each sorted point has equally many permutations in the boxes, so the sorted points are uniform.
    On a grid this does not hold, because equal values have fewer permutations.
    """

    def __init__(self, proposal: SumProposal, order: Sequence[int]) -> None:
        self.columns = tuple(order)
        self.mass = proposal.mass / math.factorial(len(order))
        self._proposal = proposal

    def draw(self, rng: np.random.Generator, n: int) -> Array:
        """Return `n` rows; see `Proposal`."""
        return np.sort(self._proposal.draw(rng, n), axis=1)


def sorted_proposal(
    domains: Mapping[int, Domain],
    proposal: SumProposal,
    bounds: SumBounds,
    pairs: Sequence[SumBounds],
    own: Mapping[int, SumBounds],
) -> SortedProposal | None:
    """Return a proposal for a sum in the order of `pairs`; None if the columns differ."""
    columns = set(proposal.columns)
    kinds = {domains[j] for j in columns}
    domain = next(iter(kinds))
    alike = len(kinds) == 1 and len(set(bounds.weights.values())) == 1 and not columns & own.keys()
    if not alike or domain.size < math.inf or domain.prior is not None:
        return None
    following: dict[int, int] = {}
    for pair in pairs:
        (a, first), (b, second) = pair.weights.items()
        if not {a, b} <= columns or first != -second:
            continue
        if pair.high == 0:
            following[a if first > 0 else b] = b if first > 0 else a
        elif pair.low == 0:
            following[b if first > 0 else a] = a if first > 0 else b
    starts = columns - set(following.values())
    if len(starts) != 1:
        return None
    order = list(starts)
    while order[-1] in following and len(order) <= len(columns):
        order.append(following[order[-1]])
    complete = len(order) == len(columns) and set(order) == columns
    return SortedProposal(proposal, order) if complete else None
