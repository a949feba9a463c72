"""The only output functions of the commands: text that is safe to show in any terminal."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import IO, Any, TextIO

import click

from tuner.errors.credentials import hide
from tuner.errors.printable import printable

_LAYOUT = "\n\t"
"""Control characters that lay a text out."""


def echo(text: Any = "", *, err: bool = False, nl: bool = True) -> None:
    r"""Print a text, with terminal control characters as escapes, such as ``\x1b``.

    Text for standard error is a message: credentials are removed from it.
    """
    shown = hide(str(text)) if err else str(text)
    click.echo(printable(shown, keep=_LAYOUT), err=err, nl=nl)


def echo_log(text: str) -> None:
    """Print a piece of another program's output, and keep its carriage returns."""
    click.echo(printable(text, keep=_LAYOUT + "\r"), nl=False)


def echo_error(message: str) -> None:
    """Print an error on standard error."""
    echo(f"tuner: error: {message}", err=True)


def write_bytes(content: bytes) -> None:
    """Write a file's content to standard output: unchanged, or made printable for a terminal."""
    if sys.stdout.isatty():
        echo(content.decode("utf-8", "replace"), nl=False)
        return
    sys.stdout.flush()
    stream: IO[bytes] = sys.stdout.buffer
    stream.write(content)
    stream.flush()


def tolerate_any_text() -> None:
    """Make both streams escape characters that their encoding lacks, instead of raising."""
    for stream in (sys.stdout, sys.stderr):
        _tolerate(stream)


def _tolerate(stream: TextIO | None) -> None:
    # A caller may have replaced the stream by one of any type, or closed it.
    with suppress(AttributeError, ValueError, OSError):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
