"""Failures of a request, as HTTP answers."""

from __future__ import annotations

from typing import Any

from tuner.errors import SignatureError


class RequestFailure(Exception):
    """A request that is answered with an error.

    Attributes
    ----------
    status : int
        The HTTP status.
    detail : dict
        The message and, for data that does not match the signature, column, row, value and allowed.
    headers : dict
        Further headers of the answer.
    """

    def __init__(self, status: int, message: str, **headers: str) -> None:
        super().__init__(message)
        self.status, self.headers = status, headers
        self.detail: dict[str, Any] = {"message": message}


def mismatch(error: SignatureError) -> RequestFailure:
    """Return the failure for rows that do not match the signature."""
    failure = RequestFailure(422, str(error))
    failure.detail |= {
        "column": error.column,
        "row": error.row,
        "value": error.value,
        "allowed": error.allowed,
    }
    return failure
