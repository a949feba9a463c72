"""``tuner tag`` and ``tuner note``: annotations that people add to the record afterwards."""

from __future__ import annotations

import click

import tuner
from tuner.cli.options import as_pair, store_option
from tuner.cli.text import write_table
from tuner.errors import ArgumentError


@click.command()
@click.argument("study")
@click.argument("tags", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--remove", metavar="KEY", multiple=True, help="A tag to take away.")
@store_option
def tag(study: str, tags: tuple[str, ...], remove: tuple[str, ...], store: str | None) -> None:
    """Set tags of a study, and show them.

    \b
    Example:
      tuner tag digits team=vision stage=review --remove draft
    """  # noqa: D301 (click keeps the lines after a backspace as they are)
    loaded = tuner.load_study(study, store=store)
    changes = {**dict(map(as_pair, tags)), **dict.fromkeys(remove)}
    if changes:
        loaded.set_tags(changes)
    write_table(
        [{"tag": key, "value": value} for key, value in loaded.info.tags.items()],
        nothing="no tags",
    )


@click.command()
@click.argument("trial", metavar="STUDY/TRIAL")
@click.argument("notes", nargs=-1, metavar="[KEY=TEXT]...")
@click.option("--remove", metavar="KEY", multiple=True, help="A note to take away.")
@store_option
def note(trial: str, notes: tuple[str, ...], remove: tuple[str, ...], store: str | None) -> None:
    """Set notes on a trial that has ended, and show them.

    \b
    Example:
      tuner note digits/17 verdict="overfits, do not ship"
    """  # noqa: D301 (click keeps the lines after a backspace as they are)
    name, _, number = trial.rpartition("/")
    if not name or not number.isdecimal():
        raise ArgumentError(f"{trial!r}: write STUDY/TRIAL, such as digits/17")
    loaded = tuner.load_study(name, store=store)
    changes = {**dict(map(as_pair, notes)), **dict.fromkeys(remove)}
    known = loaded.set_notes(int(number), changes)
    write_table(
        [{"note": key, "text": str(value)} for key, value in known.items()], nothing="no notes"
    )
