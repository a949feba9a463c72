"""Errors of a package."""

from __future__ import annotations

from typing import Any


class PackageError(Exception):
    """A package or an input that cannot be used; the message says why."""


class ArgumentError(PackageError, ValueError):
    """A wrong signature file."""


class SignatureError(ArgumentError):
    """Data that does not match the signature; it has the attributes of tuner's error."""

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        for name, value in details.items():
            setattr(self, name, value)
