"""Exact arithmetic on numbers as they are written: 0.1 counts as one tenth."""

from __future__ import annotations

import math
from fractions import Fraction
from functools import lru_cache
from typing import Any

_LARGEST_POWER = 1024
"""Maximum bits of an exact power; larger powers, such as 9 ** 9 ** 9, use floats."""


def exact(value: Any) -> Any:
    """Return the fraction that the shortest decimal form of a float means; others unchanged.

    Examples
    --------
    >>> exact(0.2) + exact(0.7) + exact(0.1) == 1
    True
    """
    if isinstance(value, float) and math.isfinite(value):
        return _fraction(value)
    return value


@lru_cache(maxsize=4096)
def _fraction(value: float) -> Fraction:
    return Fraction(float.__repr__(value))


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
