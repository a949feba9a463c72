"""Errors of a package."""

from __future__ import annotations


class PackageError(Exception):
    """A package or an input that cannot be used; the message says why."""


class ArgumentError(PackageError, ValueError):
    """A signature file with a wrong entry."""


class SignatureError(PackageError, ValueError):
    """Data that does not match the signature; names column, value and allowed values."""
