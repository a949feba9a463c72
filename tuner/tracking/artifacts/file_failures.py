"""Translate errors of the file system, local or behind a URL, into errors of the store."""

from __future__ import annotations

import errno

from tuner.errors import StoreError, StoreReadOnly, StoreUnavailable

_PASSING = {
    getattr(errno, name)
    for name in (
        # The device is full or failing.
        "ENOSPC", "EDQUOT", "EFBIG", "EIO", "EREMOTEIO", "ENOMEM",
        # Too much is open or busy at the moment.
        "EAGAIN", "EBUSY", "EDEADLK", "EINTR", "EMFILE", "ENFILE", "ENOLCK", "ETXTBSY",
        # A server cannot be reached.
        "ECONNABORTED", "ECONNREFUSED", "ECONNRESET", "EHOSTDOWN", "EHOSTUNREACH", "ENETDOWN",
        "ENETRESET", "ENETUNREACH", "ENOTCONN", "EPIPE", "ESHUTDOWN", "ESTALE", "ETIMEDOUT",
    )
    if hasattr(errno, name)
}  # fmt: skip
"""Error numbers of conditions that can end without a change of configuration."""

_RETRIED_STATUS = {408, 425, 429}
"""HTTP statuses below 500 after which a request is worth repeating."""

_REFUSALS = (
    PermissionError,
    FileNotFoundError,
    NotADirectoryError,
    IsADirectoryError,
    NotImplementedError,
    ImportError,
    TypeError,
    ValueError,
)
"""Exceptions of an fsspec file system that mean that a request can never succeed."""


def of_writing(what: str, place: object, error: BaseException) -> StoreError:
    """Return the `StoreError` for a file that cannot be written.

    It is a `StoreUnavailable` if the same write can succeed later: the disk is full or fails, a
    quota is reached, the connection is lost. Otherwise it is a `StoreReadOnly`.

    Parameters
    ----------
    what
        The subject of the message, such as ``"artifact 'model' of run 0af3"``.
    place
        The folder or URL.
    error
        The error of the operating system or of an fsspec file system.
    """
    if is_passing(error):
        return StoreUnavailable(
            f"{what} cannot be written below {place} just now: {_line(error)}; make room, or see "
            f"that it can be reached, and run the call again"
        )
    return StoreReadOnly(
        f"{what} cannot be written below {place}: {_line(error)}; set TUNER_ARTIFACTS or store= "
        f"to a place that can be written"
    )


def of_reading(what: str, place: object, error: BaseException) -> StoreError:
    """Return the `StoreError` for a file that exists and cannot be read.

    It is a `StoreUnavailable` if the same read can succeed later.
    """
    if is_passing(error):
        return StoreUnavailable(
            f"{what} in {place} cannot be read just now: {_line(error)}; see that the disk works "
            f"or the server can be reached, and run the call again"
        )
    return StoreError(
        f"{what} in {place} cannot be read: {_line(error)}; give yourself the right to read it"
    )


def is_passing(error: BaseException) -> bool:
    """Return whether the cause of an error can end without a change of configuration.

    Errors of a protocol's own types count as passing unless they state a refusal: a repeated
    request costs little, while a search that ends because of a lost connection costs much.
    """
    status = _http_status(error)
    if status is not None:
        return status >= 500 or status in _RETRIED_STATUS
    if isinstance(error, TimeoutError | ConnectionError):
        return True
    if isinstance(error, _REFUSALS):
        return False
    if isinstance(error, OSError):
        # Libraries raise connection errors as an OSError without a number, and errors of name
        # servers have negative numbers.
        return error.errno is None or error.errno < 0 or error.errno in _PASSING
    return "Credential" not in type(error).__name__


def _http_status(error: BaseException) -> int | None:
    """Return the HTTP status in an error of an S3 or Google Cloud Storage client."""
    cause: BaseException | None = error
    while cause is not None:
        response = getattr(cause, "response", None)
        metadata = response.get("ResponseMetadata") if isinstance(response, dict) else None
        found = metadata.get("HTTPStatusCode") if isinstance(metadata, dict) else None
        for status in (found, getattr(cause, "code", None), getattr(cause, "status", None)):
            if str(status).isdigit() and 400 <= int(str(status)) < 600:
                return int(str(status))
        cause = cause.__cause__
    return None


def _line(error: BaseException) -> str:
    """Return the first line of an error's message."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
