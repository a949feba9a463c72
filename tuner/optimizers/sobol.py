"""The scrambled Sobol sequence over a space: points that cover it more evenly than chance."""

from __future__ import annotations

import numpy as np

from tuner.records import Params
from tuner.search_spaces import Space

LENGTH = 64
"""Points of the design; a power of two, for which Sobol points are balanced."""


class SobolDesign:
    """The first points of a search (Sobol 1967, scrambled after Owen 1998 by SciPy).

    Point k depends on the space, the seed and k alone. Points are laid over all columns of the
    unit cube, those of inactive parameters included.
    """

    def __init__(self, space: Space, seed: int) -> None:
        self._space = space
        self._seed = seed
        self._points: list[Params] | None = None

    def point(self, k: int) -> Params | None:
        """Return point `k`, None past the end or where it breaks a constraint."""
        if k >= LENGTH:
            return None
        if self._points is None:
            self._points = self._space.decode(self._cube())
        point = self._points[k]
        return point if self._space.feasible(point) else None

    def _cube(self) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
        from scipy.stats import qmc

        rng = np.random.default_rng([self._seed, len(self._space.columns)])
        sobol = qmc.Sobol(len(self._space.columns), scramble=True, rng=rng)
        return np.asarray(sobol.random_base2(LENGTH.bit_length() - 1))
