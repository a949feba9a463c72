"""Names of models, versions and aliases, and references to them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tuner.errors import ArgumentError
from tuner.records.bounds import LONGEST_TITLE, is_title

CHAMPION = "champion"
"""The alias of the best version so far."""

CHALLENGER = "challenger"
"""The alias of the last version that the rules did not make champion."""

REFIT = "refit"
"""The artifact of a model that was fitted to be registered; it is deleted with its version."""

_ALIAS = re.compile(r"[^\W_][\w. -]{0,199}")
_DIGITS = 9
"""Digits of the largest version; a database counts to 2³¹."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A model's name, with the version or the alias that the reference names."""

    name: str
    version: int | None = None
    alias: str | None = None


def parse_reference(ref: Any) -> Reference:
    """Parse ``"name"``, ``"name@alias"`` or ``"name@3"``.

    A name alone refers to its champion.

    Raises
    ------
    ArgumentError
        If `ref` has another form.

    Examples
    --------
    >>> parse_reference("digits@3")
    Reference(name='digits', version=3, alias=None)
    >>> parse_reference("digits").alias
    'champion'
    """
    name, at, which = ref.partition("@") if isinstance(ref, str) else ("", "", "")
    if not name or (at and not which):
        raise ArgumentError(f"model {ref!r}: write 'name', 'name@alias' or 'name@3'")
    if which.isdecimal() and len(which) <= _DIGITS:
        return Reference(name, version=int(which))
    return Reference(name, alias=which or CHAMPION)


def validate_model_name(name: Any) -> str:
    """Return `name` if it is a valid model name.

    Every valid study name is valid here, because the winner of a study is registered under the
    study's name.

    Raises
    ------
    ArgumentError
        If the name is invalid; see `tuner.records.bounds.is_title`.
    """
    if not isinstance(name, str) or not name.strip():
        raise ArgumentError(f"model name {name!r}: write a non-empty string")
    if not is_title(name):
        raise ArgumentError(
            f"model name {name[:LONGEST_TITLE]!r}: a name has at most {LONGEST_TITLE} characters, "
            f"and no '/', '@', line break or half of a surrogate pair; an alias or a version is "
            f"written on loading: 'name@champion', 'name@3'"
        )
    return name


def validate_alias(alias: Any) -> str:
    """Return `alias` if it is a valid alias of a version.

    Raises
    ------
    ArgumentError
        If it is not 1 to 200 letters, digits, ``. _ -`` or spaces that start with a letter or a
        digit, or if it is a number, which would be read as a version.
    """
    if not isinstance(alias, str) or not _ALIAS.fullmatch(alias) or alias.isdecimal():
        raise ArgumentError(
            f"alias {alias!r}: write letters, digits, '.', '_' or '-', not a number alone, "
            f"such as 'staging'"
        )
    return alias


def as_ranges(numbers: Sequence[int]) -> str:
    """Return ascending numbers as text.

    >>> as_ranges([1, 2, 3, 5, 8, 9])
    '1 to 3, 5, 8 to 9'
    """
    ranges: list[list[int]] = []
    for number in numbers:
        if ranges and number == ranges[-1][-1] + 1:
            ranges[-1].append(number)
        else:
            ranges.append([number])
    if len(ranges) == 1:
        return f"{numbers[0]} to {numbers[-1]}"
    return ", ".join(f"{r[0]} to {r[-1]}" if len(r) > 1 else str(r[0]) for r in ranges)
