"""Embed mixed, conditional points in a Euclidean space, for kernels based on distances.

Each column of the unit-cube encoding becomes a block of coordinates, scaled so that the squared
distance between two points is a sum of one term in [0, 1] per column:

===========================  ====================================  ========================
column                       coordinates                           squared distance
===========================  ====================================  ========================
numeric, always active       ``x``                                 ``(x - x')**2``
numeric, conditional         ``(sin x, cos x)``, inactive (0, 0)   ``2 - 2 cos(x - x')``
categorical                  one-hot over the options / sqrt(2)    0 if equal, else 1
===========================  ====================================  ========================

A conditional numeric column lies on an arc of the unit circle, with the inactive value at the
center. The distance between an active and an inactive value is 1; two inactive values have distance
0. This is the arc kernel of Swersky et al. (2014, "Raiders of the Lost Architecture",
arXiv:1409.4011) with radius 1. An arc of one radian is almost straight: its ends have distance
0.96. A conditional categorical column has "inactive" as an additional option. Every kernel that is
positive definite in Euclidean space remains positive definite under an embedding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Bools: TypeAlias = NDArray[np.bool_]


class Embedding:
    """Maps unit-cube encodings to coordinates.

    Parameters
    ----------
    options
        The number of options of each categorical column; 0 for a numeric column.
    conditional
        Whether each column can be inactive.

    Examples
    --------
    >>> embedding = Embedding(options=[0, 2], conditional=[False, False])
    >>> Z = embedding(np.array([[0.3, 0.25], [0.7, 0.75]]), np.ones((2, 2), dtype=bool))
    >>> embedding.squared_distances(Z, Z)[:, 0, 1].round(2).tolist()
    [0.16, 1.0]
    """

    def __init__(self, options: Sequence[int], conditional: Sequence[bool]) -> None:
        if len(options) != len(conditional):
            raise ValueError(
                f"embedding: {len(options)} entries in options, {len(conditional)} in conditional"
            )
        self.options = np.asarray(options, dtype=int)
        self.conditional = np.asarray(conditional, dtype=bool)
        widths = [_width(k, c) for k, c in zip(options, conditional, strict=True)]
        self._starts = np.concatenate([[0], np.cumsum(widths)[:-1]]).astype(int)
        self.column = np.repeat(np.arange(len(widths)), widths)
        """The column of each coordinate, shape (e,)."""
        self._place = np.arange(len(self.column)) - self._starts[self.column]
        categorical, arc = self.options[self.column] > 0, self.conditional[self.column]
        self._categorical = np.flatnonzero(categorical)
        self._plain = np.flatnonzero(~categorical & ~arc)
        self._sines = np.flatnonzero(~categorical & arc & (self._place == 0))
        self._numeric = np.flatnonzero(self.options == 0)
        self._center = np.where(categorical | arc, 0.0, 0.5)
        self._share = 1.0 / np.sqrt(max(self.columns, 1))

    @property
    def columns(self) -> int:
        """The number of columns, d."""
        return len(self.options)

    def __call__(self, X: Floats, active: Bools) -> Floats:
        """Return the coordinates, shape (n, e), of the points `X` (n, d) with mask `active`."""
        Z = np.empty((len(X), len(self.column)))
        Z[:, self._plain] = X[:, self.column[self._plain]]
        if len(self._sines):
            here = self.column[self._sines]
            x, on = X[:, here], active[:, here]
            Z[:, self._sines], Z[:, self._sines + 1] = on * np.sin(x), on * np.cos(x)
        if len(self._categorical):
            here = self.column[self._categorical]
            options, x, on = self.options[here], X[:, here], active[:, here]
            level = np.where(on, np.minimum((x * options).astype(int), options - 1), options)
            Z[:, self._categorical] = (level == self._place[self._categorical]) * np.sqrt(0.5)
        return Z

    def effects(self, X: Floats, active: Bools, Z: Floats) -> Floats:
        """Return univariate features of the points `X` (n, d), shape (n, f).

        The features are the coordinates `Z` (n, e) and, for each numeric column, the halved
        Legendre polynomials of degree 2 and 3. A weighted sum is a sum of one smooth curve or step
        function per column. Features are scaled by 1 / sqrt(d).
        """
        t, on = X[:, self._numeric] - 0.5, active[:, self._numeric]
        parabolas, cubics = on * (2.0 * t * t - 1.0 / 6.0), on * (5.0 * t**3 - 0.75 * t)
        features = np.concatenate([Z - self._center, parabolas, cubics], axis=1)
        return np.asarray(features * self._share)

    def derivative(self, X: Floats, active: Bools) -> tuple[Floats, Floats]:
        """Return the derivatives of the coordinates (n, e) and effects (n, f) by their column.

        They are zero for categorical and inactive columns.
        """
        slope = np.zeros((len(X), len(self.column)))
        slope[:, self._plain] = active[:, self.column[self._plain]]
        if len(self._sines):
            here = self.column[self._sines]
            x, on = X[:, here], active[:, here]
            slope[:, self._sines], slope[:, self._sines + 1] = on * np.cos(x), on * -np.sin(x)
        t, on = X[:, self._numeric] - 0.5, active[:, self._numeric]
        curves = [on * 4.0 * t, on * (15.0 * t * t - 0.75)]
        return slope, np.concatenate([slope, *curves], axis=1) * self._share

    def sum_by_column(self, values: Floats, effects: Floats) -> Floats:
        """Sum `values` of coordinates (..., e) and `effects` (..., f) by column (..., d)."""
        e, k = len(self.column), len(self._numeric)
        total = np.add.reduceat(values + effects[..., :e], self._starts, axis=-1)
        total[..., self._numeric] += effects[..., e : e + k] + effects[..., e + k :]
        return np.asarray(total)

    def squared_distances(self, A: Floats, B: Floats) -> Floats:
        """Return the squared distances by column, shape (d, n, m), of coordinates A and B."""
        result = np.empty((self.columns, len(A), len(B)))
        for j in range(self.columns):
            block = slice(self._starts[j], self._starts[j] + int(np.sum(self.column == j)))
            result[j] = squared_distances(A[:, block], B[:, block])
        return result


def squared_distances(A: Floats, B: Floats) -> Floats:
    """Return the squared Euclidean distances, shape (n, m), between the rows of A and of B."""
    if A.shape[1] == 1:
        return np.asarray((A - B.T) ** 2)
    squares = np.sum(A**2, axis=1)[:, None] + np.sum(B**2, axis=1)[None, :]
    squares -= (2.0 * A) @ B.T
    return np.asarray(np.maximum(squares, 0.0, out=squares))


def _width(options: int, conditional: bool) -> int:
    """Return the number of coordinates of a column."""
    if options:
        return options + conditional
    return 1 + conditional
