"""Rounding that makes a model-based search reproducible on another type of CPU.

Linear algebra libraries and NumPy select code by the type of CPU. The results differ in the last
digits, and a search amplifies such differences: after a few steps of an optimizer, two searches
with the same seed diverge. Therefore, the numbers that determine a decision are rounded to a grid.
The grid is far coarser than these differences, and far finer than the search needs. Two CPUs then
continue with equal numbers, unless a number lies almost exactly between two grid points, which is
improbable but possible.
"""

from __future__ import annotations

import numpy as np

from tuner.optimizers.bayesian.embedding import Floats

MEAN_BITS = 18
"""Predicted means that are used as observations are rounded to multiples of 2**-bits."""


def to_grid(values: Floats, bits: int) -> Floats:
    """Round to multiples of ``2**-bits``; infinite values and NaN are unchanged.

    Examples
    --------
    >>> to_grid(np.array([0.3, -np.inf]), 2).tolist()
    [0.25, -inf]
    """
    return np.asarray(np.ldexp(np.rint(np.ldexp(values, bits)), -bits))


def to_bits(values: Floats, bits: int) -> Floats:
    """Round to `bits` significant bits; infinite values and NaN are unchanged.

    Examples
    --------
    >>> to_bits(np.array([1000.3, 0.3]), 4).tolist()
    [1024.0, 0.3125]
    """
    mantissa, exponent = np.frexp(values)
    return np.asarray(np.ldexp(np.rint(np.ldexp(mantissa, bits)), exponent - bits))
