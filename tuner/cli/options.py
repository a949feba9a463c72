"""Options and arguments that several commands share."""

from __future__ import annotations

from typing import Any

import click

from tuner.errors import ArgumentError
from tuner.plugins import Plugins


class NameOption(click.Option):
    """An option that takes a registered name; its help and completion list the names."""

    def __init__(self, *args: Any, plugins: Plugins, summary: str, **options: Any) -> None:
        super().__init__(*args, **options)
        self.plugins, self.summary = plugins, summary

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """Return the help of the option; reads the names only when help is shown."""
        self.help = f"{self.summary}: {', '.join(self.plugins.names)}."
        return super().get_help_record(ctx)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[Any]:  # noqa: ARG002
        """Return the names that begin with `incomplete`."""
        names = (name for name in self.plugins.names if name.startswith(incomplete))
        return [click.shell_completion.CompletionItem(name) for name in names]


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
