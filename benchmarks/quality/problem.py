"""A benchmark problem: a space, a loss, and the scale to compare regrets across problems."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tuner.records import Params
from tuner.search_spaces import Space

RANDOM_POINTS = 1001
"""Uniform points whose median loss is the unit of normalised regret."""


@dataclass(frozen=True)
class Problem:
    """One problem of a family.

    `loss` is noise-free and defines the regret. `observe`, if given, replaces it in the search: a
    draw that depends on the point and on a generator. `known_best` is the smallest possible or
    known loss.
    """

    name: str
    family: str
    space: Space
    loss: Callable[[Params], float]
    known_best: float
    observe: Callable[[Params, np.random.Generator], float] | None = None

    @cached_property
    def random_median(self) -> float:
        """The median loss of uniform points."""
        points = self.space.sample(np.random.default_rng(0), RANDOM_POINTS)
        return float(np.median([self.loss(point) for point in points]))

    def normalised(self, losses: np.ndarray) -> np.ndarray:
        """Return losses as shares of the way from the known best (0) to random's median (1)."""
        return (losses - self.known_best) / (self.random_median - self.known_best)
