"""Options that several commands share."""

from __future__ import annotations

import click

store_option = click.option(
    "--store",
    metavar="FOLDER|URL",
    help="Where the record is; ./.tuner or $TUNER_STORE if not given.",
)
