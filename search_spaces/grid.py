"""Count and enumerate the points of a product of domains."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from typing import Any

from tuner.errors import ArgumentError
from tuner.search_spaces.categorical import Choice
from tuner.search_spaces.domains import Domain
from tuner.search_spaces.numeric import Numeric


def size(domains: Mapping[str, Domain]) -> float:
    """Return the number of points; ``math.inf`` with a continuous parameter."""
    total: float = 1
    for domain in domains.values():
        if isinstance(domain, Choice) and domain.branches is not None:
            total *= sum(map(size, domain.branches.values()))
        else:
            total *= domain.size
    return total if math.isinf(total) else int(total)


def points(domains: Mapping[str, Domain], levels: int) -> Iterator[dict[str, Any]]:
    """Iterate over all points; see `Space.grid`.

    Raises
    ------
    ArgumentError
        If `levels` is not a positive integer.
    """
    if isinstance(levels, bool) or not isinstance(levels, int) or levels < 1:
        raise ArgumentError(f"levels={levels!r} must be a positive integer")
    return _product(domains, levels)


def _product(domains: Mapping[str, Domain], levels: int) -> Iterator[dict[str, Any]]:
    """Yield all combinations; the last parameter varies fastest."""
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
