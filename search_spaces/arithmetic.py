"""Arithmetic with known results: exact fractions, portable logarithms, floats with error bounds.

- Exact arithmetic takes numbers as they are written: 0.1 counts as one tenth, 1 / 3 as one third.
- `exp` and `log` have bit-identical results on every processor. NumPy uses different instructions
  on processors with AVX-512, and C libraries differ too, so the values for a seed would differ in
  the last digit. These functions use only additions, multiplications, divisions and scalings by
  powers of two, whose results IEEE 754 defines exactly. The error is at most three units in the
  last place. Small arrays are computed one number at a time, by the same operations, because this
  is faster.
- `Bounded` holds arrays of floats with a bound of the rounding error.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuner.search_spaces.values import Array

# --- exact arithmetic -----------------------------------------------------------------------------

_LARGEST_POWER = 1024
"""Maximum bits of an exact power; larger powers, such as 9 ** 9 ** 9, use floats."""


_MOST_DIGITS = 15
"""Number of decimal digits that every float keeps; a longer form is the result of a calculation."""

_LARGEST_DIVISOR = 1000
"""Largest denominator of a fraction that a float with a longer form can mean."""


def exact(value: Any) -> Any:
    """Return the fraction that a float means; other values unchanged.

    A float means its shortest decimal form. If this form has more than 15 digits, and the float is
    the nearest one to a fraction with a denominator of at most 1000, it means this fraction.

    Examples
    --------
    >>> exact(0.2) + exact(0.7) + exact(0.1) == 1, exact(2 / 3)
    (True, Fraction(2, 3))
    """
    if isinstance(value, float) and math.isfinite(value):
        return _fraction(value)
    return value


@lru_cache(maxsize=4096)
def _fraction(value: float) -> Fraction:
    text = float.__repr__(value)
    if len(text.partition("e")[0]) > _MOST_DIGITS:  # rarely true of a number that a person writes
        simple = Fraction(value).limit_denominator(_LARGEST_DIVISOR)
        if simple and float(simple) == value:
            return simple
    return Fraction(text)


def rounded(value: Any) -> Any:
    """Return a fraction as the nearest float; other values unchanged."""
    return float(value) if isinstance(value, Fraction) else value


def divide(left: Any, right: Any) -> Fraction:
    """Return the exact quotient."""
    return Fraction(left) / Fraction(right)


def power(base: Any, exponent: Any) -> Any:
    """Return an exact power for integer exponents of moderate size, else the nearest float's."""
    if exponent == int(exponent):
        whole = int(exponent)
        size = max(Fraction(base).numerator.bit_length(), Fraction(base).denominator.bit_length())
        if size * abs(whole) <= _LARGEST_POWER:
            return base**whole if whole >= 0 else Fraction(base) ** whole
    return exact(float(base) ** float(exponent))


# --- exponential and logarithm --------------------------------------------------------------------

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


# --- floats with bounds of their rounding errors --------------------------------------------------

EPSILON = 2.0**-52
"""Relative error of a float operation, twice the rounding error of one operation."""

LARGEST_WHOLE = 2.0**53
"""Magnitude up to which floats represent all integers."""

MAX_EXPONENT = 8
"""Largest power that is computed as a product; larger ones are left to exact evaluation."""


@dataclass(frozen=True, slots=True)
class Bounded:
    """The values of an expression at n points.

    Attributes
    ----------
    values
        Shape (n,).
    errors
        The largest difference from the exact values, shape (n,); 0 only for integers.
    known
        Mask of the points where the expression has a value.
    doubtful
        Mask of the points that need exact evaluation.
    """

    values: Array
    errors: Array
    known: NDArray[np.bool_]
    doubtful: NDArray[np.bool_]

    @classmethod
    def of(cls, values: Array, known: NDArray[np.bool_], *, whole: bool) -> Bounded:
        """Create the values of a parameter; `whole` states that they are exact integers."""
        errors = np.zeros_like(values) if whole else EPSILON * np.abs(values)
        return cls(values, errors, known, ~np.isfinite(values) & known)

    @classmethod
    def constant(cls, value: Any, n: int) -> Bounded | None:
        """Create n times a constant; None if it is not a number."""
        if not isinstance(value, int | float) or abs(value) > LARGEST_WHOLE:
            return None
        known = np.ones(n, dtype=bool)
        return cls.of(np.full(n, float(value)), known, whole=value == int(value))


def unary(operation: str, inner: Bounded) -> Bounded:
    """Apply ``-`` or ``abs``."""
    values = -inner.values if operation == "-" else np.abs(inner.values)
    return Bounded(values, inner.errors, inner.known, inner.doubtful)


def binary(operation: str, left: Bounded, right: Bounded) -> Bounded:
    """Apply an arithmetic operation."""
    known, doubtful = left.known & right.known, left.doubtful | right.doubtful
    if operation == "**":
        return _power(left, right, known, doubtful)
    if operation in ("/", "//", "%"):
        return _division(operation, left, right, known, doubtful)
    a, b, ea, eb = left.values, right.values, left.errors, right.errors
    if operation == "*":
        values, errors = a * b, np.abs(a) * eb + np.abs(b) * ea + ea * eb
    else:
        values, errors = (a + b if operation == "+" else a - b), ea + eb
    whole = (ea == 0) & (eb == 0) & (np.abs(values) < LARGEST_WHOLE)
    return _checked(values, np.where(whole, 0.0, _widened(errors, values, a, b)), known, doubtful)


def _widened(errors: Array, values: Array, *parts: Array) -> Array:
    """Add the rounding error of one more operation; the result is above 0."""
    size = np.abs(values) + sum((np.abs(part) for part in parts), np.zeros_like(values))
    return np.asarray(1.01 * errors + EPSILON * size + 1e-300)


def _division(
    operation: str,
    left: Bounded,
    right: Bounded,
    known: NDArray[np.bool_],
    doubtful: NDArray[np.bool_],
) -> Bounded:
    a, b, ea, eb = left.values, right.values, left.errors, right.errors
    known = known & ~((b == 0) & (eb == 0))
    doubtful = doubtful | ((np.abs(b) <= eb) & (eb > 0))
    quotient = a / b
    errors = _widened((ea + np.abs(quotient) * eb) / (np.abs(b) - eb), quotient)
    if operation == "/":
        return _checked(quotient, errors, known, doubtful)
    whole = (ea == 0) & (eb == 0)
    near = np.abs(quotient - np.rint(quotient)) <= errors
    doubtful = doubtful | (near & ~whole)
    floor = np.where(whole, np.floor_divide(a, b), np.floor(quotient))
    if operation == "//":
        return _checked(floor, np.zeros_like(floor), known, doubtful)
    rest = np.where(whole, np.mod(a, b), a - b * floor)
    wide = _widened(ea + eb * np.abs(floor), rest, a, b * floor)
    return _checked(rest, np.where(whole, 0.0, wide), known, doubtful)


def _power(
    base: Bounded, exponent: Bounded, known: NDArray[np.bool_], doubtful: NDArray[np.bool_]
) -> Bounded:
    """Multiply repeatedly for a small constant exponent; leave others to exact evaluation."""
    times = exponent.values[:1]
    constant = len(times) and exponent.errors[0] == 0 and (exponent.values == times).all()
    if not constant or not 1 <= times[0] <= MAX_EXPONENT:
        return Bounded(base.values, base.errors, known, doubtful | known)
    result = base
    for _ in range(int(times[0]) - 1):
        result = binary("*", result, base)
    return Bounded(result.values, result.errors, known, doubtful | result.doubtful)


def _checked(
    values: Array, errors: Array, known: NDArray[np.bool_], doubtful: NDArray[np.bool_]
) -> Bounded:
    finite = np.isfinite(values) & np.isfinite(errors)
    return Bounded(values, errors, known, (doubtful | ~finite) & known)
