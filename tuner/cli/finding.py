"""``tuner find``: search a store with the query language."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

import tuner
from tuner.cli.options import store_option
from tuner.cli.output import echo, write_bytes
from tuner.cli.text import when, write_table
from tuner.study.export import FORMATS, format_table
from tuner.study.export import write_table as write_table_file

SHOWN = 100
"""Lines of a table whose query has no limit."""

_LEAD = {
    "trials": ("study", "number", "state", "value"),
    "runs": ("study", "trial", "attempt", "state"),
    "studies": ("study", "direction", "metric", "created"),
    "models": ("model", "version", "aliases", "value", "study", "trial"),
}
"""The columns that a table begins with."""

_TIMES = ("created", "started", "ended")


@click.command()
@click.argument("query", default="")
@click.option(
    "--what",
    type=click.Choice(list(_LEAD)),
    default="trials",
    help="What to search for.",
    show_default=True,
)
@click.option("--study", metavar="NAME", help="Search in one study alone.")
@click.option("--count", is_flag=True, help="Only say how many there are.")
@click.option("--to", type=click.Choice(FORMATS), help="Every column, in this format.")
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A file for --to; else to the screen.",
)
@store_option
def find(
    query: str,
    what: str,
    study: str | None,
    count: bool,
    to: str | None,
    output: Path | None,
    store: str | None,
) -> None:
    """Find trials, runs, studies or models by a query.

    A query without a limit shows the first 100. The language is described in docs/find.md.

    \b
    Examples:
      tuner find "metrics.accuracy > 0.95 and params.model == 'svm' order by value limit 20"
      tuner find "state = 'failed' and started > -1d" --what runs
      tuner find "alias = 'champion' and tags.team = 'x'" --what models
    """  # noqa: D301 (click keeps the lines after a backspace as they are)
    if study is None:
        found = tuner.find(query, what=what, store=store)
    else:
        found = tuner.load_study(study, store=store).find(query, what=what)
    if count:
        echo(found.count())
    elif to is not None or output is not None:
        _export(found.to_rows(), to, output)
    else:
        _show(found)


def _export(rows: Sequence[dict[str, Any]], to: str | None, output: Path | None) -> None:
    if output is not None:
        echo(write_table_file(rows, output, to))
        return
    if to == "parquet" and sys.stdout.isatty():
        raise click.UsageError("parquet is no text: give --output FILE")
    write_bytes(format_table(rows, to or "csv"))


def _show(found: tuner.query.QueryResult) -> None:
    """Print matches as a table: their names, and the queried fields or else the params."""
    unlimited = found.query.limit is None
    if unlimited:
        found = replace(found, query=replace(found.query, limit=SHOWN + 1))
    rows = found.to_rows()
    asked = [".".join(field.path) for field in found.query.fields]
    names = dict.fromkeys([*_LEAD[found.what], *asked])
    if not any(name.startswith("params.") for name in names):
        names |= dict.fromkeys(name for row in rows[:1] for name in row if "params." in name)
    table = [{name: _shown(name, row) for name in names if name in row} for row in rows[:SHOWN]]
    write_table(table, nothing=f"no {found.what} found")
    if unlimited and len(rows) > SHOWN:
        echo(f"the first {SHOWN}; write a limit into the query for more, or --to", err=True)


def _shown(name: str, row: Mapping[str, Any]) -> Any:
    value = row[name]
    return when(value) if name in _TIMES and value is not None else value
