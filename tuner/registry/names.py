"""How models, versions and aliases are named, and how a reference to one reads."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from tuner.errors import ArgumentError

CHAMPION = "champion"
"""The alias of the best version so far."""

_NAME = re.compile(r"[^\W_][\w. -]{0,199}")


@dataclass(frozen=True, slots=True)
class Reference:
    """A model's name, with the version or the alias that is meant."""

    name: str
    version: int | None = None
    alias: str | None = None


def parse_reference(ref: Any) -> Reference:
    """Return what ``"name"``, ``"name@alias"`` or ``"name@3"`` refers to.

    A name alone is its champion.

    Raises
    ------
    ArgumentError
        If `ref` is none of these.

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
    if which.isdecimal():
        return Reference(name, version=int(which))
    return Reference(name, alias=which or CHAMPION)


def validate_model_name(name: Any) -> str:
    """Return `name` if a model can have it.

    Raises
    ------
    ArgumentError
        If it is not 1 to 200 letters, digits, ``. _ -`` or spaces, the first a letter or digit.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ArgumentError(
            f"model name {name!r}: write up to 200 letters, digits, '.', '_', '-' or spaces, the "
            f"first a letter or a digit"
        )
    return name


def validate_alias(alias: Any) -> str:
    """Return `alias` if a version can have it.

    Raises
    ------
    ArgumentError
        If it is no name, or a number, which would be a version.
    """
    if not isinstance(alias, str) or not _NAME.fullmatch(alias) or alias.isdecimal():
        raise ArgumentError(
            f"alias {alias!r}: write a name that is not a number, such as 'staging'"
        )
    return alias
