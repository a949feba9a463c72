"""Exponential and logarithm with bit-identical results on every processor.

NumPy uses different instructions on processors with AVX-512, and C libraries differ too, so the
values for a seed would differ in the last digit. These functions use only additions,
multiplications, divisions and scalings by powers of two, whose results IEEE 754 defines exactly.
The error is at most three units in the last place.

Small arrays are computed one number at a time, by the same operations, because this is faster.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.float64]

SMALL = 16
"""Maximum size of an array for which Python floats are faster than NumPy."""

_LN2_HIGH, _LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10
"""Their sum is log(2); the first times the exponent of a float is exact (fdlibm, s_exp)."""

_LOG2_E = 1.4426950408889634
_EXP = [1.0 / math.factorial(n) for n in range(13, -1, -1)]
_LOG = [1.0 / n for n in range(23, 0, -2)]
_SQRT_HALF = 0.7071067811865476


def exp(t: Array) -> Array:
    """Return the exponential of `t`, of any shape; values are finite and below log(1.8e308).

    Examples
    --------
    >>> exp(np.array([0.0, 1.0])).round(12).tolist()
    [1.0, 2.718281828459]
    """
    if t.size <= SMALL:
        return _each(_exp_of, t)
    k = np.floor(t * _LOG2_E + 0.5)
    r = (t - k * _LN2_HIGH) - k * _LN2_LOW
    p = np.full_like(t, _EXP[0])
    for coefficient in _EXP[1:]:
        p = p * r + coefficient
    half = np.where(k > 1000, 1.0, 0.0)
    with np.errstate(over="ignore"):
        return np.asarray(np.ldexp(p, (k - half).astype(np.int64)) * (1.0 + half))


def log(x: Array) -> Array:
    """Return the natural logarithm of `x`, of any shape; values are positive and finite.

    Examples
    --------
    >>> log(np.array([1.0, 10.0])).tolist()
    [0.0, 2.302585092994046]
    """
    if x.size <= SMALL:
        return _each(log_of, x)
    m, e = np.frexp(x)
    small = m < _SQRT_HALF
    m = np.where(small, m * 2.0, m)
    k = np.where(small, e - 1.0, e)
    z = (m - 1.0) / (m + 1.0)
    s = z * z
    p = np.full_like(z, _LOG[0])
    for coefficient in _LOG[1:]:
        p = p * s + coefficient
    return np.asarray(k * _LN2_HIGH + (2.0 * z * p + k * _LN2_LOW))


def log_of(x: float) -> float:
    """Return the natural logarithm of a positive, finite number; identical to `log`."""
    m, e = math.frexp(x)
    k = float(e)
    if m < _SQRT_HALF:
        m, k = m * 2.0, k - 1.0
    z = (m - 1.0) / (m + 1.0)
    s = z * z
    p = _LOG[0]
    for coefficient in _LOG[1:]:
        p = p * s + coefficient
    return k * _LN2_HIGH + (2.0 * z * p + k * _LN2_LOW)


def _exp_of(t: float) -> float:
    k = math.floor(t * _LOG2_E + 0.5)
    r = (t - k * _LN2_HIGH) - k * _LN2_LOW
    p = _EXP[0]
    for coefficient in _EXP[1:]:
        p = p * r + coefficient
    return math.ldexp(p, k - 1) * 2.0 if k > 1000 else math.ldexp(p, k)


def _each(function: Callable[[float], float], values: Array) -> Array:
    flat = [function(value) for value in values.ravel().tolist()]
    return np.array(flat, dtype=float).reshape(values.shape)
