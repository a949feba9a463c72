"""Options and arguments that several commands share."""

from __future__ import annotations

import click

from tuner.errors import ArgumentError

store_option = click.option(
    "--store",
    metavar="FOLDER|URL",
    help="Where the record is; ./.tuner or $TUNER_STORE if not given.",
)


def as_pair(text: str) -> tuple[str, str]:
    """Return the key and value of ``KEY=VALUE``; the value may be empty or have further ``=``.

    >>> as_pair("filter=a=b")
    ('filter', 'a=b')
    """
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise ArgumentError(f"{text!r}: write KEY=VALUE")
    return key, value
