"""Rounding that makes a model-based search repeat on another type of CPU.

Linear algebra libraries and NumPy choose other code for other CPUs. Their results differ in the
last digits, and a search multiplies such differences: after a few steps of an optimizer, two
searches with one seed are in different places. So the numbers on which a decision is based are
rounded to a grid that is far coarser than those differences and far finer than what matters for
the search. Two CPUs then go on with equal numbers, unless a number lies just between two points of
its grid: that is improbable, not impossible.
"""

from __future__ import annotations

import numpy as np

from tuner.optimizers.embedding import Floats

MEAN_BITS = 18
"""Predicted means that go on as if they had been observed are multiples of 2**-bits."""


def to_grid(values: Floats, bits: int) -> Floats:
    """Return the nearest multiples of ``2**-bits``; what is not finite stays.

    Examples
    --------
    >>> to_grid(np.array([0.3, -np.inf]), 2).tolist()
    [0.25, -inf]
    """
    return np.asarray(np.ldexp(np.rint(np.ldexp(values, bits)), -bits))


def to_bits(values: Floats, bits: int) -> Floats:
    """Return the nearest numbers with so many significant bits; what is not finite stays.

    Examples
    --------
    >>> to_bits(np.array([1000.3, 0.3]), 4).tolist()
    [1024.0, 0.3125]
    """
    mantissa, exponent = np.frexp(values)
    return np.asarray(np.ldexp(np.rint(np.ldexp(mantissa, bits)), exponent - bits))
