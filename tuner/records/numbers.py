"""Numbers as text: one format for the command line, plots, reports and notebooks.

Files and JSON keep every digit; this text is for reading.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

DIGITS = 6
"""Significant digits of a number in a table or a sentence."""

WRITTEN_OUT = 1e9
"""Numbers below this one keep their digits before the point, instead of an exponent."""

_NOISE = 4
"""Digits that rounding to 15 digits must save for the others to be a rounding error."""


def number_text(value: float, digits: int | None = DIGITS) -> str:
    """Return a number as text.

    An integer keeps all its digits. Zero has no sign.

    Parameters
    ----------
    value
        The number; NaN and infinities are allowed.
    digits
        Significant digits, at least 1. None keeps all digits of a number that will be copied, but
        not the rounding error of binary arithmetic.

    Examples
    --------
    >>> number_text(0.0010000000000000002), number_text(1 / 3), number_text(-0.0)
    ('0.001', '0.333333', '0')
    >>> number_text(2.5e-7), number_text(1234567.8), number_text(1e10)
    ('2.5e-7', '1234568', '1e10')
    >>> number_text(0.1 + 0.2, digits=None), number_text(0.12345678901234567, digits=None)
    ('0.3', '0.12345678901234566')
    """
    if isinstance(value, int):
        return str(value)
    value = float(value)
    if digits is None:
        exact, rounded = repr(value + 0.0), f"{value:.15g}"
        return _short_exponent(rounded if len(rounded) + _NOISE <= len(exact) else exact)
    text = f"{value + 0.0:.{digits}g}"
    if text.lstrip("-") == "0":
        return "0"
    if "e+" in text and abs(value) < WRITTEN_OUT and float(text) != value:
        return f"{value:.0f}"
    return _short_exponent(text)


def value_text(value: Any, digits: int | None = DIGITS) -> str:
    """Return a value of a record as text: numbers by `number_text`, also within containers.

    Examples
    --------
    >>> value_text(0.30000000000000004), value_text(True), value_text("adam")
    ('0.3', 'True', 'adam')
    >>> value_text(("svm", {"C": 0.0010000000000000002}))
    "('svm', {'C': 0.001})"
    """
    return value if isinstance(value, str) else literal_text(value, digits)


def literal_text(value: Any, digits: int | None = DIGITS) -> str:
    """Return a value as `value_text` does, but texts with quotes, as in code.

    Examples
    --------
    >>> literal_text("1"), literal_text(0.1 + 0.2, None)
    ("'1'", '0.3')
    """
    if type(value) is tuple:
        inner = ", ".join(literal_text(item, digits) for item in value)
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    if type(value) is list:
        return f"[{', '.join(literal_text(item, digits) for item in value)}]"
    if type(value) is dict:
        items = (f"{k!r}: {literal_text(v, digits)}" for k, v in value.items())
        return f"{{{', '.join(items)}}}"
    if isinstance(value, float):
        return number_text(value, digits)
    # A state or a direction is a string by its type, and shown as its word.
    return repr(value) if type(value) is str else str(value)


def distinct_texts(values: Sequence[Any], digits: int = DIGITS) -> list[str]:
    """Return values as texts, with as many digits as the differing ones need to differ.

    Examples
    --------
    >>> distinct_texts([0.5, 0.25]), distinct_texts([0.12345678, 0.12345679])
    (['0.5', '0.25'], ['0.12345678', '0.12345679'])
    >>> distinct_texts([0.1 + 0.2, 0.3]), distinct_texts([1, 1.0]), distinct_texts([2.0, 2.0])
    (['0.30000000000000004', '0.3'], ['1', '1.0'], ['2', '2'])
    """
    different = len({(type(value), repr(value)) for value in values})
    for more in range(digits, 16, 3):
        texts = [value_text(value, more) for value in values]
        if len(set(texts)) == different:
            return texts
    return [repr(value) for value in values]


def count_text(number: int, noun: str) -> str:
    """Return a number of things.

    >>> count_text(1, "trial"), count_text(2, "trial"), count_text(1000, "run")
    ('1 trial', '2 trials', '1,000 runs')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def seconds_text(seconds: float) -> str:
    """Return a duration in units that fit.

    Examples
    --------
    >>> seconds_text(0.25), seconds_text(59.7), seconds_text(75), seconds_text(7300)
    ('0.25 s', '1 min 0 s', '1 min 15 s', '2 h 1 min')
    """
    if not math.isfinite(seconds):
        return f"{number_text(seconds)} s"
    if seconds < 9.95:
        return f"{number_text(seconds, 2)} s"
    whole = round(seconds)
    minutes, rest = divmod(whole, 60)
    if whole < 60:
        return f"{whole} s"
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def moment_text(seconds: float) -> str:
    """Return a time, in seconds since the epoch, in UTC to the minute.

    >>> moment_text(0.0)
    '1970-01-01 00:00 UTC'
    """
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _short_exponent(text: str) -> str:
    mantissa, e, exponent = text.partition("e")
    return f"{mantissa}e{int(exponent)}" if e else text
