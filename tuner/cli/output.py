"""The one way out of the command line: text that is safe to show in any terminal."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import IO, Any, TextIO

import click

from tuner.credentials import hide
from tuner.printable import printable

_LAYOUT = "\n\t"
"""Control characters that lay a text out."""


def echo(text: Any = "", *, err: bool = False, nl: bool = True) -> None:
    r"""Print a text; what in it steers a terminal is shown as escapes, such as ``\x1b``.

    What goes to standard error is a message, and without credentials.
    """
    shown = hide(str(text)) if err else str(text)
    click.echo(printable(shown, keep=_LAYOUT), err=err, nl=nl)


def echo_log(text: str) -> None:
    """Print a piece of another program's output; carriage returns stay, too."""
    click.echo(printable(text, keep=_LAYOUT + "\r"), nl=False)


def echo_error(message: str) -> None:
    """Print an error on standard error."""
    echo(f"tuner: error: {message}", err=True)


def write_bytes(content: bytes) -> None:
    """Write the content of a file to standard output: as it is, but for a terminal printable."""
    if sys.stdout.isatty():
        echo(content.decode("utf-8", "replace"), nl=False)
        return
    sys.stdout.flush()
    stream: IO[bytes] = sys.stdout.buffer
    stream.write(content)
    stream.flush()


def tolerate_any_text() -> None:
    """Have both streams escape what their encoding lacks, instead of raising an error."""
    for stream in (sys.stdout, sys.stderr):
        _tolerate(stream)


def _tolerate(stream: TextIO | None) -> None:
    # A stream that a caller put in place may be of any kind, or closed.
    with suppress(AttributeError, ValueError, OSError):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
