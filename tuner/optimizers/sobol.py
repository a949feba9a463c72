"""A scrambled Sobol sequence over a space, which covers it more evenly than random points."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
from numpy.typing import NDArray

from tuner.optimizers.bayesian.unit_cube import UnitCube
from tuner.records import Params
from tuner.search_spaces import Space

BITS = 6
"""Number of structured binary digits of a point; lower digits are random."""

LENGTH = 2**BITS
"""Number of points of the design: the full period of `BITS` digits, which is balanced."""

# The numbers m_1 ... m_6 of each column of the sequence, from Joe and Kuo (2008, "Constructing
# Sobol sequences with better two-dimensional projections", set new-joe-kuo-6).
# fmt: off
_M = np.array([
    [1, 1, 1, 1, 1, 1], [1, 3, 5, 15, 17, 51], [1, 3, 3, 9, 29, 23], [1, 3, 1, 5, 31, 29],
    [1, 1, 1, 11, 31, 55], [1, 1, 3, 3, 25, 9], [1, 3, 5, 13, 11, 37], [1, 1, 5, 5, 17, 9],
    [1, 1, 5, 5, 5, 53], [1, 1, 7, 11, 19, 37], [1, 1, 5, 1, 1, 27], [1, 1, 1, 3, 11, 43],
    [1, 3, 5, 5, 31, 35], [1, 3, 3, 9, 7, 49], [1, 1, 1, 15, 21, 21], [1, 3, 1, 13, 27, 49],
    [1, 1, 1, 15, 7, 5], [1, 3, 1, 15, 13, 25], [1, 1, 5, 5, 19, 61], [1, 3, 7, 11, 23, 15],
    [1, 3, 7, 13, 13, 15], [1, 1, 3, 13, 7, 35], [1, 3, 5, 9, 1, 25], [1, 3, 1, 13, 9, 35],
    [1, 3, 1, 5, 27, 61], [1, 1, 5, 11, 19, 41], [1, 3, 5, 3, 3, 13], [1, 1, 7, 13, 1, 19],
    [1, 3, 7, 5, 13, 19], [1, 1, 3, 9, 25, 29], [1, 3, 5, 13, 23, 1], [1, 3, 7, 3, 13, 59],
    [1, 3, 1, 3, 5, 53], [1, 1, 5, 5, 23, 33], [1, 1, 7, 7, 1, 61], [1, 1, 7, 9, 13, 61],
    [1, 3, 3, 5, 3, 55], [1, 3, 1, 15, 31, 13], [1, 3, 5, 15, 31, 59], [1, 3, 1, 11, 11, 11],
])
# fmt: on


class SobolDesign:
    """The first points of a search (Sobol 1967, scrambled as in Owen 1998).

    Point k depends only on the space, the seed and k. The points cover all columns of the unit
    cube, including the columns of inactive parameters. SciPy's implementation is not used because
    importing it takes longer than a thousand fast trials.

    Parameters
    ----------
    space
        The space of the points.
    seed
        The seed of the scrambling.
    centered
        Whether to move the first point to the center of all ordered columns with many values. With
        few points in many columns, every other point is close to some bound.
    """

    def __init__(self, space: Space, seed: int, *, centered: bool = False) -> None:
        self._space = space
        self._seed = seed
        self._centered = centered
        self._points: list[Params | None] | None = None

    def point(self, k: int) -> Params | None:
        """Return point `k`; None past the end, or if it violates a constraint."""
        if k >= LENGTH:
            return None
        if self._points is None:
            d = len(self._space.columns)
            rng = np.random.default_rng([self._seed, d])
            rows = scrambled_sobol(d, rng)
            if self._centered:
                rows[0, UnitCube(self._space).columns.smooth] = 0.5
            if self._space.prior:  # every second point follows the prior, the others stay uniform
                rows[::2] = self._space.prior.places(rows[::2])
            points = self._space.decode(rows)
            feasible = self._space.feasible_rows(rows).tolist()
            self._points = [p if ok else None for p, ok in zip(points, feasible, strict=True)]
        return deepcopy(self._points[k])


def sobol_digits(d: int) -> NDArray[np.int64]:
    """Return the unscrambled sequence times `LENGTH`, shape (LENGTH, d), for d up to 40.

    Examples
    --------
    >>> (sobol_digits(2)[:4] / LENGTH).tolist()
    [[0.0, 0.0], [0.5, 0.5], [0.75, 0.25], [0.25, 0.75]]
    """
    directions = _M[:d] << np.arange(BITS)[::-1]
    digits = np.zeros((LENGTH, d), dtype=np.int64)
    for k in range(1, LENGTH):
        changed = (k & -k).bit_length() - 1  # Gray code: one digit changes per step
        digits[k] = digits[k - 1] ^ directions[:, changed]
    return digits


def scrambled_sobol(d: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return `LENGTH` points of the unit cube, shape (LENGTH, d).

    Each digit is flipped at random, independently for each value of the preceding digits (Owen's
    nested scrambling). Columns beyond the 40 of the table form a Latin hypercube.
    """
    digits = np.empty((LENGTH, d), dtype=np.int64)
    known = min(d, len(_M))
    digits[:, :known] = sobol_digits(known)
    scrambled = digits.copy()
    columns = np.arange(known)
    for bit in range(BITS):
        flips = rng.integers(2, size=(2**bit, known))
        before = digits[:, :known] >> (BITS - bit)
        scrambled[:, :known] ^= flips[before, columns] << (BITS - 1 - bit)
    for j in range(known, d):
        scrambled[:, j] = rng.permutation(LENGTH)
    return np.asarray((scrambled + rng.random((LENGTH, d))) / LENGTH)
