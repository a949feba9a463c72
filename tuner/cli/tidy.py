"""``tuner study`` and ``tuner model``: delete, rename, archive, alias."""

from __future__ import annotations

import click

import tuner
from tuner.cli.arguments import store_option
from tuner.cli.output import echo


@click.group()
def study() -> None:
    """Delete, rename or archive studies."""


@study.command("delete")
@click.argument("studies", nargs=-1, required=True, metavar="STUDY...")
@store_option
def delete_study(studies: tuple[str, ...], store: str | None) -> None:
    """Delete studies with their trials, runs, metrics and artifacts.

    Registered models keep their files and lineage. `tuner gc` frees the files of artifacts.
    """
    for name in studies:
        kept = tuner.delete_study(name, store=store)
        needed = f"; kept the trials of {', '.join(kept)}" if kept else ""
        echo(f"deleted: {name}{needed}")


@study.command("rename")
@click.argument("study")
@click.argument("name")
@store_option
def rename_study(study: str, name: str, store: str | None) -> None:
    """Give a study another NAME."""
    tuner.rename_study(study, name, store=store)
    echo(f"renamed: {study} is {name}")


@study.command("archive")
@click.argument("studies", nargs=-1, required=True, metavar="STUDY...")
@store_option
def archive_study(studies: tuple[str, ...], store: str | None) -> None:
    """Hide studies from `tuner studies` and `tuner find`."""
    for name in studies:
        tuner.archive_study(name, store=store)
        echo(f"archived: {name}")


@study.command("unarchive")
@click.argument("studies", nargs=-1, required=True, metavar="STUDY...")
@store_option
def unarchive_study(studies: tuple[str, ...], store: str | None) -> None:
    """Show archived studies again."""
    for name in studies:
        tuner.unarchive_study(name, store=store)
        echo(f"unarchived: {name}")


force_option = click.option("--force", is_flag=True, help="Delete even the champion.")


@click.group()
def model() -> None:
    """Delete models and versions, set and delete aliases."""


@model.command("delete")
@click.argument("refs", nargs=-1, required=True, metavar="MODEL[@VERSION]...")
@force_option
@store_option
def delete_model(refs: tuple[str, ...], force: bool, store: str | None) -> None:
    """Delete versions of models, or whole models.

    `tuner gc` frees the files that only they used.

    \b
    Examples:
      tuner model delete digits@3
      tuner model delete digits --force
    """  # noqa: D301 (click keeps the lines after a backspace as they are)
    for ref in refs:
        tuner.delete_model(ref, force=force, store=store)
        echo(f"deleted: {ref}")


@model.command("alias")
@click.argument("ref", metavar="MODEL@VERSION")
@click.argument("alias")
@store_option
def set_alias(ref: str, alias: str, store: str | None) -> None:
    """Point an ALIAS to a version of a model.

    \b
    Example:
      tuner model alias digits@3 staging
    """  # noqa: D301 (click keeps the lines after a backspace as they are)
    tuner.set_alias(ref, alias, store=store)
    echo(f"alias: {alias} is {ref}")


@model.command("delete-alias")
@click.argument("ref", metavar="MODEL@ALIAS")
@force_option
@store_option
def delete_alias(ref: str, force: bool, store: str | None) -> None:
    """Delete an alias of a model; the version stays."""
    tuner.delete_alias(ref, force=force, store=store)
    echo(f"deleted: {ref}")
