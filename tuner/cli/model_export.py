"""The command that exports a registered model as a package."""

from __future__ import annotations

from pathlib import Path

import click

import tuner
from tuner.cli.arguments import store_option
from tuner.cli.models import json_option
from tuner.cli.output import echo, print_json


@click.command("export")
@click.argument("ref", metavar="MODEL[@ALIAS|@VERSION]")
@click.option("--to", required=True, type=click.Path(path_type=Path), help="The folder to write.")
@click.option("--force", is_flag=True, help="Replace an earlier package in the folder.")
@click.option(
    "--code",
    multiple=True,
    metavar="PATH",
    type=click.Path(path_type=Path),
    help="Python file or package with classes of the model; repeatable.",
)
@click.option("--allow-pickle", is_flag=True, help="Export a pickle, whose loading runs code.")
@click.option("--trust", multiple=True, metavar="TYPE", help="A type to allow; repeatable.")
@json_option
@store_option
def export_model(
    ref: str,
    to: Path,
    force: bool,
    code: tuple[Path, ...],
    allow_pickle: bool,
    trust: tuple[str, ...],
    in_json: bool,
    store: str | None,
) -> None:
    """Write a version into a folder that predicts without tuner, and that MLflow loads.

    \b
    Example:
      tuner models export digits@champion --to digits-package
    """  # noqa: D301 (click keeps the lines after a backspace as they are)
    done = tuner.export_model(
        ref, to, force=force, code=code, allow_pickle=allow_pickle, trusted=trust, store=store
    )
    if in_json:
        print_json(done.to_json())
        return
    echo(f"exported: {done.model}@{done.version} to {done.path}, {done.files} files")
