"""Bounds on the size of recorded values, checked when a value enters."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from typing import Any

from tuner.errors import ArgumentError

MAX_STEP = 2**63 - 1
"""The largest step of a metric: the databases' integers have 64 bits."""

LONGEST_NAME = 500
"""Characters that the name of a study, metric, constraint, artifact, tag or note may have.

PostgreSQL indexes rows of up to 2,704 bytes, and a character takes up to four, or five escaped.
"""

MAX_METRICS = 10_000
"""Different names of metrics, and of constraints, that one trial may have."""

MAX_ANNOTATIONS = 2**20
"""Characters that all tags of a study, or all notes on a trial, may take as JSON."""

LONGEST_PART = 255
"""Bytes that file systems allow for one part of a path."""


LONGEST_TITLE = 200
"""Characters that the name of a study or of a model may have."""

_NOT_IN_TITLES = "/@\n\r\0"


def is_title(value: Any) -> bool:
    """Whether a value can name a study, and therefore a model.

    Such a name is a string that is not blank, has at most `LONGEST_TITLE` characters, and has no
    slash, ``@``, line break, NUL or lone surrogate.

    Examples
    --------
    >>> is_title("digits"), is_title("digits@3"), is_title(" ")
    (True, False, False)
    """
    return (
        isinstance(value, str)
        and bool(value.strip())
        and len(value) <= LONGEST_TITLE
        and not any(character in value for character in _NOT_IN_TITLES)
        and (value.isascii() or not _has_surrogates(value))
    )


def as_name(name: Any, what: str) -> str:
    """Return `name` as a plain string that every store accepts.

    Parameters
    ----------
    name
        A text, or an object whose `str` is the name.
    what
        The kind of name, for the message, such as ``"metric"``.

    Raises
    ------
    ArgumentError
        If it is too long, or holds a NUL or a lone surrogate.

    Examples
    --------
    >>> as_name("loss", "metric")
    'loss'
    """
    text = name if type(name) is str else str.__str__(str(name))
    check_length(text, what)
    if "\x00" in text or (not text.isascii() and _has_surrogates(text)):
        raise ArgumentError(
            f"{what} {text!r} contains a NUL character or a lone surrogate, which a database "
            f"cannot store; remove it"
        )
    return text


def check_length(name: str, what: str) -> None:
    """Raise `ArgumentError` if a name is too long."""
    if len(name) > LONGEST_NAME:
        raise ArgumentError(
            f"{what} {name[:40]!r}...: the name has {len(name)} characters, and at most "
            f"{LONGEST_NAME} are allowed; use a shorter one"
        )


def as_step(step: Any) -> int:
    """Return `step` as an integer from 0 to `MAX_STEP`.

    Raises
    ------
    ArgumentError
        If it is not an integer in this range.
    """
    try:
        number = operator.index(step)
    except TypeError:
        raise ArgumentError(f"trial: step {step!r} is not an integer") from None
    if number < 0:
        raise ArgumentError(f"trial: step {number} is negative; steps count from 0")
    if number > MAX_STEP:
        # An integer of thousands of digits cannot even be shown.
        shown = str(number) if number.bit_length() < 256 else f"of {number.bit_length()} bits"
        raise ArgumentError(
            f"trial: step {shown} is too large: steps are below 2**63; count epochs or iterations"
        )
    return number


def check_count(names: Iterable[str], what: str) -> None:
    """Raise `ArgumentError` if a trial has more different names than `MAX_METRICS`."""
    count = len(names) if isinstance(names, set | dict) else len(set(names))
    if count > MAX_METRICS:
        raise ArgumentError(
            f"trial: {count} different {what} names, and at most {MAX_METRICS} are allowed in one "
            f"trial; give the step to log_metric(name, value, step) instead of a name for each"
        )


def _has_surrogates(text: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in text)
