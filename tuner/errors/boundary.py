"""The boundary of the public calls, which turns exceptions of libraries into a `TunerError`."""

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
"""Packages whose frames do not count as user code."""


_DATA = (
    *(LookupError, TypeError, ValueError, AttributeError, ArithmeticError, AssertionError),
    *(RecursionError, struct.error, zlib.error),
)
"""Exceptions that a damaged record can raise."""


def translate(
    error: BaseException,
    what: str,
    *,
    files: type[TunerError] = StoreError,
    data: type[TunerError] | None = None,
) -> TunerError | None:
    """Return the `TunerError` for an exception of a public call, or None to let it pass.

    Exceptions of databases, services and the operating system are translated, and errors about
    invalid text, large numbers and deep nesting. `TunerError`, ``KeyboardInterrupt``, the
    exceptions of a closed output and signs of a bug, such as ``AttributeError``, pass.

    Parameters
    ----------
    error
        The exception.
    what
        The called function, for the message.
    files
        The exception type for failures of files and services.
    data
        The exception type for a damaged record, such as one with a missing key. None lets such
        exceptions pass: in a call that does not read records, they are bugs.
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
        return data(f"{what}: the record is damaged or has an unknown format ({reason})")
    if isinstance(error, UnicodeError):
        return ArgumentError(f"{what}: a string is not valid Unicode ({reason}); use UTF-8")
    if isinstance(error, OverflowError | struct.error):
        return ArgumentError(f"{what}: a number is too large ({reason}); pass a smaller one")
    if isinstance(error, RecursionError):
        return ArgumentError(f"{what}: a value is nested too deeply; pass a flatter one")
    return None


@contextmanager
def translated(
    what: str, *, files: type[TunerError] = StoreError, data: type[TunerError] | None = None
) -> Iterator[None]:
    """Raise the `TunerError` of `translate`, with the exception as its cause.

    Exceptions of user code, such as a callback or an objective, pass unchanged.
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
    """Decorate a public function to raise a `TunerError` or exceptions of user code only.

    Parameters
    ----------
    files, data
        Exception types; see `translate`.
    """

    def decorate(function: Callable[_P, _R]) -> Callable[_P, _R]:
        what = function.__name__

        if inspect.isgeneratorfunction(function):

            @functools.wraps(function)
            def generate(*args: _P.args, **kwargs: _P.kwargs) -> Iterator[Any]:
                iterator = cast("Iterator[Any]", function(*args, **kwargs))
                while True:
                    # The yield is outside: exceptions of the caller are not translated.
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
    """Whether a frame below the first `skip` runs user code."""
    while trace is not None:
        if skip <= 0:
            module = str(trace.tb_frame.f_globals.get("__name__", ""))
            if module.partition(".")[0] not in _LIBRARIES:
                return True
        skip -= 1
        trace = trace.tb_next
    return False
