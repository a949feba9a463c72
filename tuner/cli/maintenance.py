"""Commands that tidy a store: its database, artifacts and studies."""

from __future__ import annotations

from pathlib import Path

import click

import tuner
from tuner.cli.arguments import store_option
from tuner.cli.output import echo


@click.group()
def db() -> None:
    """Maintain the database of a store."""


@db.command()
@store_option
def upgrade(store: str | None) -> None:
    """Migrate the store to the schema of this version. Back it up first."""
    from tuner.tracking.database.migrate import upgrade as migrate

    steps = migrate(store)
    echo(f"upgraded: {', '.join(steps)}" if steps else "the store is up to date")


@db.command()
@click.option("--no-artifacts", is_flag=True, help="Do not verify the checksums of artifacts.")
@store_option
def check(no_artifacts: bool, store: str | None) -> None:
    """Check the integrity of the store; the exit code is 1 if it is damaged."""
    from tuner.tracking.database.maintenance import check as problems_of

    found = 0
    for problem in problems_of(store, artifacts=not no_artifacts):
        found += 1
        echo(problem)
    if found:
        raise SystemExit(1)
    echo("the store is intact")


@db.command()
@click.argument("folder", type=click.Path(path_type=Path))
@store_option
def backup(folder: Path, store: str | None) -> None:
    """Copy the database into a new store at FOLDER; other processes can write meanwhile."""
    from tuner.tracking.database.maintenance import backup as copy

    echo(f"copied to {copy(folder, store)}; artifacts are not copied")


@db.command()
@store_option
def compact(store: str | None) -> None:
    """Pack the metrics of finished runs, and release free space."""
    from tuner.tracking.database.maintenance import compact as pack

    done = pack(store)
    echo(f"packed {done.values} values; {done.before:,} bytes before, {done.after:,} now")


@click.command()
@click.option(
    "--keep-best",
    nargs=2,
    type=(click.IntRange(min=1), str),
    metavar="K STUDY",
    multiple=True,
    help="Remove the models of all trials of a study except the K best; repeatable.",
)
@click.option(
    "--older-than",
    type=click.FloatRange(min=0),
    default=60.0,
    show_default=True,
    metavar="MINUTES",
    help="Delete only files older than this. A smaller value is safe only without writers.",
)
@click.option("--dry-run", is_flag=True, help="Print what would be deleted, and change nothing.")
@click.option(
    "--alone",
    is_flag=True,
    help="No other store uses these artifacts: also delete artifacts of earlier versions.",
)
@store_option
def gc(
    keep_best: tuple[tuple[int, str], ...],
    older_than: float,
    dry_run: bool,
    alone: bool,
    store: str | None,
) -> None:
    """Delete the files of artifacts that no record refers to."""
    from tuner.study.registration import models_to_forget
    from tuner.tracking import open_store
    from tuner.tracking.artifacts.retention import collect

    forgotten: list[int] = []
    for k, name in keep_best:
        study = tuner.load_study(name, store=store)
        if dry_run:
            unwanted = models_to_forget(study, k)
            forgotten += unwanted.ids
            echo(f"would forget: {unwanted.count} models of {name}")
        else:
            echo(f"forgot: {study.keep_models(k)} models of {name}")
    done = collect(
        open_store(store),
        older_than=60 * older_than,
        dry_run=dry_run,
        alone=alone,
        forgotten=forgotten,
    )
    would = "would be deleted" if dry_run else "deleted"
    echo(f"{would}: {done.artifacts} artifacts, {done.size} bytes")
    for note in done.notes:
        echo(f"note: {note}", err=True)


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
