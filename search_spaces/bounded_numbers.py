"""Arithmetic on arrays of floats with bounds of the rounding error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuner.search_spaces.values import Array

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
