"""Random points of a space."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tuner.errors import SpaceError

if TYPE_CHECKING:
    from tuner.search_spaces.space import Space

BATCH = 1_000
"""Points drawn at once while constraints reject some."""

PATIENCE = 1_000
"""Batches without a single feasible point after which sampling gives up."""


def sample(space: Space, rng: np.random.Generator, n: int) -> list[dict[str, Any]]:
    """Return `n` independent points of the priors, over what the constraints leave.

    Without priors they are uniform.

    Raises
    ------
    SpaceError
        If a million points in a row break the constraints.
    """
    d = len(space.columns)
    prior = space.prior
    if not space.constraints:
        return space.decode(prior.places(rng.random((n, d))))
    found: list[dict[str, Any]] = []
    fruitless = 0
    size = min(BATCH, max(8, 2 * n))
    while len(found) < n:
        points = [p for p in space.decode(prior.places(rng.random((size, d)))) if space.feasible(p)]
        found += points
        fruitless = 0 if points else fruitless + 1
        size = BATCH
        if fruitless >= PATIENCE:
            rules = " and ".join(repr(str(c)) for c in space.constraints)
            raise SpaceError(
                f"search space: none of {PATIENCE * BATCH} random points satisfies {rules}; "
                f"narrow the domains to where it holds"
            )
    return found[:n]
