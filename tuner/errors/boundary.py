"""The boundary of the public calls: what they cannot handle leaves them as a `TunerError`."""

from __future__ import annotations

import functools
import inspect
import sqlite3
import struct
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, ParamSpec, TypeVar, cast

from tuner.errors import ArgumentError, StoreError, TunerError
from tuner.errors.credentials import hide_in

_P = ParamSpec("_P")
_R = TypeVar("_R")

_DATABASES = {"sqlalchemy", "psycopg", "alembic"}
_SERVICES = {"mlflow", "requests", "urllib3", "fsspec", "s3fs", "gcsfs", "adlfs", "botocore"}

_LIBRARIES = {
    *sys.stdlib_module_names,
    *_DATABASES,
    *_SERVICES,
    *("tuner", "aiobotocore", "aiohttp", "sqlite3", "yaml", "msgspec", "click", "rich", "jinja2"),
    *("numpy", "scipy", "pandas", "pyarrow", "matplotlib", "PIL", "optuna", "tensorboardX"),
    *("google", "markupsafe", "ray", "cloudpickle", "skops", "sklearn", "joblib"),
} - {"__main__"}
"""Packages whose frames are no user's code."""


_DATA = (
    *(LookupError, TypeError, ValueError, AttributeError, ArithmeticError, AssertionError),
    *(RecursionError, struct.error, zlib.error),
)
"""Exceptions of code that reads a record and meets what it cannot be."""


def translate(
    error: BaseException,
    what: str,
    *,
    files: type[TunerError] = StoreError,
    data: type[TunerError] | None = None,
) -> TunerError | None:
    """Return the `TunerError` for an exception that a public call met, None if it is to pass.

    Exceptions of databases and services, of the operating system, and those about text, sizes and
    depth that cannot be handled have one. None have `TunerError`, ``KeyboardInterrupt``, the
    exceptions of a closed output, and those that point to a bug, such as ``AttributeError``.

    Parameters
    ----------
    error
        The exception.
    what
        What was called, for the message.
    files
        The kind for files and services that fail.
    data
        The kind for a record that is damaged or odd, such as one that lacks a key; None lets such
        exceptions pass, which in a call that reads no record point to a bug.
    """
    if isinstance(error, TunerError | BrokenPipeError | InterruptedError):
        return None
    package = type(error).__module__.partition(".")[0]
    reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    if package == "ray":
        return None
    if isinstance(error, sqlite3.Error) or package in _DATABASES:
        return StoreError(f"{what}: the database cannot be read or written ({reason})")
    if isinstance(error, OSError):
        place = f" {error.filename!r}" if error.filename else ""
        return files(
            f"{what}: the system refuses{place} ({error.strerror or reason}); check that the path "
            f"exists, and that this user may read and write it"
        )
    if package in _SERVICES:
        return files(f"{what}: the service failed ({reason}); check its address and that it runs")
    if data is not None and isinstance(error, _DATA):
        return data(f"{what}: the record is damaged, or holds what no version writes ({reason})")
    if isinstance(error, UnicodeError):
        return ArgumentError(f"{what}: a text is not valid Unicode ({reason}); write it in UTF-8")
    if isinstance(error, OverflowError | struct.error):
        return ArgumentError(f"{what}: a number is too large ({reason}); give a smaller one")
    if isinstance(error, RecursionError):
        return ArgumentError(f"{what}: a value is nested too deeply; give a flatter one")
    return None


@contextmanager
def translated(
    what: str, *, files: type[TunerError] = StoreError, data: type[TunerError] | None = None
) -> Iterator[None]:
    """Raise what `translate` knows as a `TunerError`, with the exception as its cause.

    What code of the user raises in between, such as a callback or an objective, passes as it is.
    """
    try:
        yield
    except TunerError as error:
        hide_in(error)
        raise
    except Exception as error:
        # The first two frames are this one's and the caller's with statement.
        ours = None
        if not _by_user(error.__traceback__, skip=2):
            ours = translate(error, what, files=files, data=data)
        if ours is None:
            raise
        ours.__cause__ = error
        hide_in(ours)
        raise ours from ours.__cause__


def public(
    *, files: type[TunerError] = StoreError, data: type[TunerError] | None = None
) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """Decorate a public function: what leaves it is a `TunerError` or an exception of the user's.

    Parameters
    ----------
    files, data
        The kinds for files and services that fail, and for records; see `translate`.
    """

    def decorate(function: Callable[_P, _R]) -> Callable[_P, _R]:
        what = function.__name__

        if inspect.isgeneratorfunction(function):

            @functools.wraps(function)
            def generate(*args: _P.args, **kwargs: _P.kwargs) -> Iterator[Any]:
                iterator = cast("Iterator[Any]", function(*args, **kwargs))
                while True:
                    # Not around the yield: what the caller raises there is not ours.
                    with translated(what, files=files, data=data):
                        try:
                            item = next(iterator)
                        except StopIteration:
                            return
                    yield item

            return cast("Callable[_P, _R]", generate)

        @functools.wraps(function)
        def call(*args: _P.args, **kwargs: _P.kwargs) -> _R:
            with translated(what, files=files, data=data):
                return function(*args, **kwargs)

        return call

    return decorate


_C = TypeVar("_C")


def public_methods(made: type[_C]) -> type[_C]:
    """Decorate a class: its public methods and properties behave as `public` functions do."""
    for name, member in list(vars(made).items()):
        if name.startswith("_") and name != "__iter__":
            continue
        if isinstance(member, property) and member.fget is not None:
            setattr(made, name, property(public()(member.fget), doc=member.__doc__))
        elif isinstance(member, functools.cached_property):
            member.func = public()(member.func)
        elif inspect.isfunction(member):
            setattr(made, name, public()(member))
    return made


def _by_user(trace: TracebackType | None, skip: int) -> bool:
    """Whether a frame below the first `skip` runs code that is neither ours nor a library's."""
    while trace is not None:
        if skip <= 0:
            module = str(trace.tb_frame.f_globals.get("__name__", ""))
            if module.partition(".")[0] not in _LIBRARIES:
                return True
        skip -= 1
        trace = trace.tb_next
    return False
