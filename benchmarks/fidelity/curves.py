"""Recorded learning curves as objectives: a point has the curve of the nearest configuration."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.fidelity.record import FOLDER, TASKS, configurations
from tuner.records import Params
from tuner.search_spaces import Space


@dataclass(frozen=True)
class Curves:
    """The curves of one task.

    Attributes
    ----------
    name
        The name of the task.
    losses
        Shape (configurations, seeds, steps).
    """

    name: str
    losses: NDArray[np.float64]

    @property
    def space(self) -> Space:
        """The space of the task."""
        return TASKS[self.name].space

    @property
    def steps(self) -> int:
        """Number of steps of a whole training."""
        return int(self.losses.shape[2])

    @cached_property
    def rows(self) -> NDArray[np.float64]:
        """The configurations as rows of the space, shape (n, d)."""
        points = configurations(self.space, len(self.losses))
        return np.array(self.space.encode(points)[0])

    @cached_property
    def scale(self) -> tuple[float, float]:
        """The best final loss, and the distance of the median final loss from it."""
        final = self.losses.mean(axis=1)[:, -1]
        return float(final.min()), float(np.median(final) - final.min())

    def nearest(self, params: Params) -> int:
        """Return the recorded configuration nearest to a point."""
        X = np.array(self.space.encode([params])[0])
        return int(np.argmin(np.sum((self.rows - X) ** 2, axis=1)))

    def regret(self, row: int) -> float:
        """Return the normalized regret of a configuration at its full length, over the seeds."""
        best, unit = self.scale
        return float((self.losses[row, :, -1].mean() - best) / unit)


@cache
def load(name: str) -> Curves:
    """Return the curves of a task."""
    with np.load(FOLDER / f"{name}.npz") as file:
        losses: NDArray[Any] = file["losses"].astype(float)
    return Curves(name, losses)
