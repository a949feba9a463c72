"""Exact arithmetic on numbers as they are written: 0.1 counts as one tenth, 1 / 3 as one third."""

from __future__ import annotations

import math
from fractions import Fraction
from functools import lru_cache
from typing import Any

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
