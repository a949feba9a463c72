"""How many points a space has, and all of them in order."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from tuner.errors import ArgumentError
from tuner.search_spaces.categorical import Choice
from tuner.search_spaces.domains import Domain
from tuner.search_spaces.numeric import Numeric

if TYPE_CHECKING:
    from tuner.search_spaces.space import Space

ENUMERABLE = 100_000
"""Finite spaces of up to this many points are counted one by one under constraints."""


def size(space: Space) -> float:
    """Return how many points there are; see `Space.size`."""
    whole = product_size(space.params)
    if not space.constraints or whole > ENUMERABLE:
        return whole
    return sum(1 for _ in points(space, 1))


def product_size(domains: Mapping[str, Domain]) -> float:
    """Return how many points there are without constraints."""
    total: float = 1
    for domain in domains.values():
        if isinstance(domain, Choice) and domain.branches is not None:
            total *= sum(map(product_size, domain.branches.values()))
        else:
            total *= domain.size
    return total if math.isinf(total) else int(total)


def points(space: Space, levels: int) -> Iterator[dict[str, Any]]:
    """Return the points that satisfy the constraints, one at a time; see `Space.grid`.

    Raises
    ------
    ArgumentError
        If `levels` is no positive whole number.
    """
    if isinstance(levels, bool) or not isinstance(levels, int) or levels < 1:
        raise ArgumentError(f"levels={levels!r}: write a whole number of 1 or more")
    return filter(space.feasible, _product(space.params, levels))


def _product(domains: Mapping[str, Domain], levels: int) -> Iterator[dict[str, Any]]:
    """Yield every combination, the last parameter changing fastest."""
    if not domains:
        yield {}
        return
    (name, domain), *rest = domains.items()
    for value in _values(domain, levels):
        for point in _product(dict(rest), levels):
            yield {name: value, **point}


def _values(domain: Domain, levels: int) -> Iterator[Any]:
    if isinstance(domain, Numeric) and domain.size < math.inf:
        yield from domain.values()
        return
    if not isinstance(domain, Choice) or domain.branches is None:
        yield from domain.grid(levels)
        return
    for option, branch in domain.branches.items():
        yield from zip(itertools.repeat(option), _product(branch, levels), strict=False)
